// What callers ask of the helper, method by method: each parameter, and what it must be. Records
// (helper/shaping/record-schema.ts) keep what was asked for, and are read by the same.

import { isInterfaceName } from '../wire/interface-name.ts';
import { encodeAddress } from '../wire/ip-address.ts';
import { capSource } from './cap-sources.ts';
import { CNI_NAME, MAX_CNI_NAME_LENGTH, MAX_POD_INTERFACES, SANDBOX_PATH } from './names.ts';
import { NETWORK_SAYS } from './network-keys.ts';
import { POD_NAMES } from './pod-names.ts';
import { CAP_RANGES } from './ranges.ts';
import {
  anyObject,
  boolean,
  fail,
  integer,
  list,
  matching,
  nullable,
  object,
  oneOf,
  optional,
  text,
  where,
  type Read,
  type Reader,
} from './shape.ts';

export const cniName = where(
  matching(CNI_NAME, 'a name of letters, digits, "_", "." and "-"'),
  (name) => name.length <= MAX_CNI_NAME_LENGTH,
  `of at most ${MAX_CNI_NAME_LENGTH} characters`,
);

/** With control characters too, as the kernel allows them: who prints it has to escape them. */
export const interfaceName = where(text, isInterfaceName, 'an interface name');

/** Indexes of devices are positive in an int (linux/netdevice.h). */
export const interfaceIndex = integer(1, 0x7fff_ffff);

/** PATH_MAX of linux/limits.h, its NUL included. */
const MAX_PATH_BYTES = 4096;

export const sandbox = where(
  matching(SANDBOX_PATH, 'a path without control characters'),
  (path) => Buffer.byteLength(path) < MAX_PATH_BYTES,
  `a path below ${MAX_PATH_BYTES} bytes`,
);

export const DIRECTIONS = ['egress', 'ingress'] as const;
export type Direction = (typeof DIRECTIONS)[number];

const cap = object({
  /** Bits per second on the wire (layer 2 without preamble and checksum). */
  rateBitsPerSec: integer(...CAP_RANGES.rateBitsPerSec),
  /**
   * Bits that may leave at once after idleness; absent means 1 ms of the rate or a little more
   * (helper/shaping/rates.ts).
   */
  burstBits: optional(integer(0)),
});

/** Caps on one direction of an attachment. */
export type Cap = Read<typeof cap>;

const caps = object({ egress: optional(cap), ingress: optional(cap) });

/** Egress is out of the pod, ingress into it. A direction without a cap is absent. */
export type Caps = Read<typeof caps>;

/** What ADD creates and DEL removes: names one attachment on the node. */
export const KEY = { containerId: cniName, ifname: interfaceName };
const attachmentKey = object(KEY);
export type AttachmentKey = Read<typeof attachmentKey>;

function isAddress(given: string): boolean {
  try {
    return encodeAddress(given).length > 0;
  } catch {
    return false;
  }
}

/** IPAM gives one address of each family, or a few. */
const MAX_POD_ADDRESSES = 16;

export const hardwareAddress = matching(/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/, 'a hardware address');

export const HOST_ROUTING = {
  /** Of the pod's end, without prefix lengths. */
  addresses: list(where(text, isAddress, 'an IP address'), {
    ...{ most: MAX_POD_ADDRESSES, of: 'addresses' },
  }),
  /** Hardware address of the pod's end; absent for a netkit, which has none. */
  mac: optional(hardwareAddress),
};
const hostRouting = object(HOST_ROUTING);

/** What has to be known of a pod whose packets do not pass the node's IP stack. */
export type HostRouting = Read<typeof hostRouting>;

/** A list of a pod's interfaces, each of which has a name of its own. */
export function interfaces<T extends { readonly podInterface: string }>(
  read: Reader<T>,
): Reader<readonly T[]> {
  return where(
    list(read, { least: 1, most: MAX_POD_INTERFACES, of: 'interfaces' }),
    (entries) => new Set(entries.map((entry) => entry.podInterface)).size === entries.length,
    'interfaces of different names',
  );
}

/** A pair that leads from the sandbox to the node beside the one of CNI_IFNAME. */
export const PAIR_BESIDE = {
  /** The pod's end. */
  podInterface: interfaceName,
  hostInterface: interfaceName,
  hostInterfaceIndex: interfaceIndex,
  /** Absent: its packets pass the node's IP stack. */
  hostRouting: optional(hostRouting),
};
const pairBeside = object(PAIR_BESIDE);
export type PairBeside = Read<typeof pairBeside>;

const MAX_CLAUSE_LENGTH = 200;

const unheldInterface = object({
  podInterface: interfaceName,
  /** A clause. */
  reason: where(
    text,
    (reason) => reason.length <= MAX_CLAUSE_LENGTH,
    `a clause of at most ${MAX_CLAUSE_LENGTH} characters`,
  ),
});

/** An interface of the pod whose packets do not pass where podpace could hold them. */
export type UnheldInterface = Read<typeof unheldInterface>;

/** Checksums of records go by the order of former releases. */
const { exempt, ...otherSays } = NETWORK_SAYS;

/** Old plugins give no names of the pod. */
export const ATTACH = {
  ...KEY,
  /** Name of the network in the conflist. */
  network: cniName,
  /** Node-side end of the pod's pair. */
  hostInterface: interfaceName,
  /** Path of the pod's network namespace, as CNI_NETNS gave it. */
  sandbox,
  caps,
  exempt,
  /** Absent: the pod's packets pass the node's IP stack. */
  hostRouting: optional(hostRouting),
  ...otherSays,
  /** Further pairs of the pod, which share the caps; absent when there are none. */
  beside: optional(interfaces(pairBeside)),
  /** Ways out of the pod on which the caps cannot be held; absent when there are none. */
  unheld: optional(interfaces(unheldInterface)),
  ...POD_NAMES,
  /** Who has asked for the caps, or for none. Old plugins do not say. */
  capSource: optional(capSource),
};
const attachParams = object(ATTACH);
export type AttachParams = Read<typeof attachParams>;

const gcParams = object({
  network: cniName,
  valid: list(attachmentKey),
  /** Absent in the first part. */
  from: optional(text),
  /** Absent in the last part. */
  to: optional(text),
});

/**
 * Attachments of a network that are to stay. A long list comes in parts, since a message is
 * limited: then each part speaks of the attachments from `from` up to but not including `to` only,
 * in the order of `keyOf`.
 */
export type GcParams = Read<typeof gcParams>;

/**
 * What `set` may change of one direction of a running attachment. What is absent is as ADD asked,
 * or else as the node is configured.
 */
export type CapChanges = { readonly [K in keyof typeof CAP_RANGES]?: number };

/** A number for each of them, read by itself or with null. */
export function changesBy<T>(
  readerOf: (read: Reader<number>) => Reader<T>,
): Reader<{ readonly [K in keyof CapChanges]?: T }> {
  const readers = Object.entries(CAP_RANGES).map(
    ([name, [least, most]]) => [name, optional(readerOf(integer(least, most)))] as const,
  );
  return object(Object.fromEntries(readers));
}

const wantedChanges = changesBy(nullable);

const setParams = object({
  ...KEY,
  direction: oneOf(DIRECTIONS),
  /** Forget all earlier changes first. */
  reset: optional(boolean),
  /** `null` forgets an earlier change. */
  changes: (value, place) => {
    const isUnknown = (name: string): boolean => !Object.hasOwn(CAP_RANGES, name);
    const unknown = Object.keys(anyObject(value, place)).find(isUnknown);
    if (unknown !== undefined) fail(place, `of ${Object.keys(CAP_RANGES).join(', ')}`, unknown);
    return wantedChanges(value, place);
  },
});
export type SetParams = Read<typeof setParams>;

const PAGE = {
  /** `next` of the page before; absent for the first. */
  after: optional(text),
};
const listParams = object(PAGE);

/** `list` answers in pages, since a message is limited. */
export type ListParams = Read<typeof listParams>;

const countersParams = object({
  ...PAGE,
  /** This attachment only. */
  only: optional(attachmentKey),
  perCpu: optional(boolean),
});

/** `counters` answers in pages, as `list` does. */
export type CountersParams = Read<typeof countersParams>;

/** Steps that are kept of a direction: an hour, of 10 s each. */
export const HISTORY_STEPS = 360;
export const HISTORY_STEP_SECONDS = 10;

const historyParams = object({
  ...KEY,
  /** How many, up to the latest; all when absent. */
  steps: optional(integer(1, HISTORY_STEPS)),
});
export type HistoryParams = Read<typeof historyParams>;

const uninstallParams = object({
  /** Forget also what pods were to have; absent: it is kept for a helper that is started later. */
  forget: optional(boolean),
});

const nothing = (): Record<string, never> => ({});

const PARAMS = {
  attach: attachParams,
  detach: attachmentKey,
  check: attachParams,
  gc: gcParams,
  status: nothing,
  list: listParams,
  set: setParams,
  counters: countersParams,
  /** Helpers of releases that keep no history do not know it. */
  history: historyParams,
  probe: nothing,
  /** Helpers of releases that leave no record of such pods do not know it. */
  uncapped: listParams,
  uninstall: uninstallParams,
  /** Helpers of former releases do not know it. */
  explain: attachmentKey,
};

export type Method = keyof typeof PARAMS;

/** The parameters of each method. */
export type Params = { readonly [M in Method]: Read<(typeof PARAMS)[M]> };

/** A request whose method and parameters belong together. */
export type ParsedRequest = {
  [M in Method]: { readonly method: M; readonly params: Params[M] };
}[Method];

/** Version of a message, which decides whether the rest can be understood at all. */
export function versionOf(message: unknown): number {
  const { version } = anyObject(message, 'message');
  return typeof version === 'number' ? version : fail('version', 'a number', version);
}

/** The request in a message of our own version. Throws ShapeError. */
export function parseRequest(message: unknown): ParsedRequest {
  const fields = anyObject(message, 'message');
  const method = text(fields['method'], 'method');
  if (!Object.hasOwn(PARAMS, method))
    fail('method', `one of ${Object.keys(PARAMS).join(', ')}`, method);
  const params = PARAMS[method as Method](anyObject(fields['params'], 'params'), '');
  return { method, params } as ParsedRequest;
}
