// What a record must be, whole: kinds, ranges, names, and that it stands in the file of its name.
// Pure.
//
// Whatever comes from disk may be torn, damaged, or of another podpaced. A record is taken as it is
// or not at all; what it holds beyond what is known here is left out.

import {
  checksumOf,
  podAsWritten,
  RECORD_VERSION,
  recordText,
  sourcesIn,
  withoutExtras,
} from '../protocol/record-text.ts';
import { capSource, capSources } from '../protocol/cap-sources.ts';
import { ATTACHMENT_KINDS, keyOf } from '../protocol/messages.ts';
import { MAX_POD_INTERFACES } from '../protocol/names.ts';
import { NETWORK_SAYS, networkVersions, NEWEST_NETWORK_VERSION } from '../protocol/network-keys.ts';
import { POD_NAMES } from '../protocol/pod-names.ts';
import { printable } from '../protocol/printable.ts';
import {
  ATTACH,
  changesBy,
  cniName,
  DIRECTIONS,
  hardwareAddress,
  HOST_ROUTING,
  interfaceIndex,
  interfaceName,
  interfaces,
  KEY,
  PAIR_BESIDE,
  sandbox,
} from '../protocol/requests.ts';
import {
  anyObject,
  boolean,
  fail,
  integer,
  list,
  matching,
  object,
  oneOf,
  optional,
  ShapeError,
  string,
  text,
  where,
  type Read,
  type Reader,
} from '../protocol/shape.ts';
import { AGGREGATE_ID_MAX, AGGREGATE_ID_MIN } from '../wire/aggregate.ts';

/**
 * Version of a record that tells of several host interfaces, or of ways that cannot be held:
 * releases that know only RECORD_VERSION leave it, and what the kernel holds of it, alone.
 */
const SEVERAL_VERSION = 2;

const KNOWN_VERSION = Math.max(SEVERAL_VERSION, NEWEST_NETWORK_VERSION);

const uuid = matching(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/, 'a UUID');
/** As Date.toISOString prints it. */
const moment = matching(/^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z$/, 'a moment in UTC');
const kind = oneOf(ATTACHMENT_KINDS);
const u32 = integer(0, 0xffff_ffff);

/**
 * Of which boot and which network namespace a device's index is: together they name one device.
 * Absent in records of 23c71bb; the cookie also where the kernel does not tell it
 * (SO_NETNS_COOKIE).
 */
const ORIGIN = {
  bootId: optional(uuid),
  netnsCookie: optional(matching(/^[0-9]{1,20}$/, 'a number in decimal')),
};
const origin = object(ORIGIN);
export type Origin = Read<typeof origin>;

const gsoLimits = object({
  gsoMaxSizeBytes: u32,
  gsoMaxSegs: u32,
  /** Absent before Linux 6.3. */
  gsoIpv4MaxSizeBytes: optional(u32),
});

/** Largest GSO packets of an interface. */
export type GsoLimits = Read<typeof gsoLimits>;

const limitedGso = object({
  /** As they stood there before, to be given back. */
  former: gsoLimits,
  /** As podpace set them: what stands there otherwise is somebody's later choice. */
  limited: gsoLimits,
});
export type LimitedGso = Read<typeof limitedGso>;

const routed = object({
  ...HOST_ROUTING,
  /** Of the host interface; absent for a netkit. */
  hostMac: optional(hardwareAddress),
});
export type RoutedRecord = Read<typeof routed>;

const hostInterface = object({
  ...PAIR_BESIDE,
  kind: optional(kind),
  hostRouting: optional(routed),
  gso: optional(limitedGso),
});

/** One way in and out of a pod: the end on the node of a pair whose other end is in the sandbox. */
export type HostInterfaceRecord = Read<typeof hostInterface>;

const changes = changesBy((number) => number);
const aggregateId = integer(AGGREGATE_ID_MIN, AGGREGATE_ID_MAX);

/** Keys in the order of former releases, which the checksum goes by; what came later comes last. */
const { beside: _beside, capSource: _source, ...FIRST } = ATTACH;
const attachment = object({
  ...FIRST,
  hostInterfaceIndex: interfaceIndex,
  /** Kind of its pair; absent in records of versions that did not ask. */
  kind: optional(kind),
  hostRouting: optional(routed),
  /** What `set` has changed since. */
  changes: optional(object({ egress: optional(changes), ingress: optional(changes) })),
  /** Aggregate of the effective egress cap; absent without one. */
  egressAggregateId: optional(aggregateId),
  ingressAggregateId: optional(aggregateId),
  ...ORIGIN,
  /**
   * Segment offload of the pod's interface while a cap limits it; absent in records of versions
   * that did not keep it.
   */
  gso: optional(limitedGso),
  /**
   * The other end of `hostInterface`, where it is not the interface of CNI_IFNAME: that is gone.
   */
  podInterface: optional(interfaceName),
  /** Further ways, which share its aggregates; absent when there are none. */
  beside: optional(interfaces(hostInterface)),
  addedAt: optional(moment),
  /** Where `caps` come from; absent in records of versions that did not say. */
  capSources: optional(capSources),
});
export type AttachmentRecord = Read<typeof attachment>;

/** A direction has an aggregate of its own when it has a rate, by ADD or `set`, and only then. */
const soundAttachment: Reader<AttachmentRecord> = (value, place) => {
  const record = attachment(value, place);
  const { egressAggregateId, ingressAggregateId } = record;
  if (egressAggregateId !== undefined && egressAggregateId === ingressAggregateId)
    fail('ingressAggregateId', 'another than egressAggregateId', ingressAggregateId);
  for (const direction of DIRECTIONS) {
    const rate = record.caps[direction] ?? record.changes?.[direction]?.rateBitsPerSec;
    const name = `${direction}AggregateId` as const;
    const expected = rate === undefined ? 'absent without a rate' : 'there with a rate';
    if ((rate === undefined) !== (record[name] === undefined)) fail(name, expected, record[name]);
  }
  return record;
};

/**
 * The kernel gives a device 4096 transmit queues at most (net/core/rtnetlink.c), and mq each a
 * leaf.
 */
const MAX_FORMER_QDISCS = 4097;
const MAX_OPTIONS_LENGTH = 65_536;
const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;

const formerQdisc = object({
  /** Names of qdiscs are those of kernel modules. */
  kind: matching(/^[a-z0-9_]{1,15}$/, 'the name of a qdisc'),
  handle: u32,
  parent: integer(1, 0xffff_ffff),
  /** The raw TCA_OPTIONS. */
  options: where(
    string,
    (options) => options.length <= MAX_OPTIONS_LENGTH && BASE64.test(options),
    'bytes in base64',
  ),
});

/** A qdisc as it has to be put back. */
export type FormerQdisc = Read<typeof formerQdisc>;

const exit = object({
  ifindex: interfaceIndex,
  name: matching(/^[^/:\s]{1,15}$/, 'an interface name'),
  /**
   * Empty when the kernel's default stood there: deleting ours brings it back. Root first, then its
   * leaves.
   */
  formerQdiscs: list(formerQdisc, { most: MAX_FORMER_QDISCS, of: 'qdiscs' }),
  ...ORIGIN,
});
export type ExitRecord = Read<typeof exit>;

/** Longer than anything that the helper says of one cap. */
const MAX_REASON_LENGTH = 2000;

const reason: Reader<string> = (value, place) =>
  printable(text(value, place)).slice(0, MAX_REASON_LENGTH);

const wish = object({
  ...ATTACH,
  hostInterfaceIndex: interfaceIndex,
  kind: optional(kind),
  /** Why it was not in force when the pod was added. */
  reason,
  addedAt: optional(moment),
});

/**
 * What a pod was to have that was added without (`onUnenforceable: allow`): nothing of it is in
 * force.
 */
export type Wish = Read<typeof wish>;

/** As stat(2) names a namespace. */
const identity = matching(/^[0-9]{1,20}:[0-9]{1,20}$/, 'a device and an inode');

/** Keys in the order in which the plugin writes them, which the checksum goes by. */
const uncapped = object({
  ...KEY,
  network: cniName,
  /** Path of the pod's network namespace, as CNI_NETNS gave it. */
  sandbox,
  /** That namespace by device and inode; absent where nothing was at the path. */
  sandboxNetns: optional(identity),
  /** Likewise that of the node. */
  nodeNetns: optional(identity),
  bootId: optional(uuid),
  /** Until the kernel was asked, the one that the list's result names, if it names just one. */
  hostInterface: optional(interfaceName),
  /** There with `hostInterface`. */
  hostInterfaceIndex: optional(interfaceIndex),
  kind: optional(kind),
  /** The kernel was asked for the host interface: it is that one, or there is none. */
  isAsked: optional(boolean),
  /** Why there is no host interface: a clause. Only where the kernel was asked. */
  noPair: optional(reason),
  /** Of the network's configuration, for a cap that comes later. */
  ...NETWORK_SAYS,
  /** Further interfaces that the list's result has in the sandbox; absent when there are none. */
  listed: optional(list(interfaceName, { least: 1, most: MAX_POD_INTERFACES, of: 'interfaces' })),
  ...POD_NAMES,
  addedAt: optional(moment),
  /** Who has asked for no cap; absent in records of versions that did not say. */
  capSource: optional(capSource),
});

/**
 * A pod that was added without a cap: what a cap needs that comes later. The plugin writes it, with
 * or without a helper, and asks the kernel only what it would have asked anyway.
 */
export type UncappedRecord = Read<typeof uncapped>;

const soundUncapped: Reader<UncappedRecord> = (value, place) => {
  const record = uncapped(value, place);
  const { hostInterface: name, hostInterfaceIndex: index } = record;
  return (name === undefined) === (index === undefined)
    ? record
    : fail('hostInterfaceIndex', 'there with hostInterface', index);
};

/** The kinds of records, by the names of their directories. */
export interface Records {
  attachments: AttachmentRecord;
  exits: ExitRecord;
  wishes: Wish;
  uncapped: UncappedRecord;
}

/** Name of the file of a record, without its suffix. */
export const RECORD_NAMES: { readonly [K in keyof Records]: (record: Records[K]) => string } = {
  attachments: keyOf,
  exits: ({ ifindex }) => String(ifindex),
  wishes: keyOf,
  uncapped: keyOf,
};

const READERS: { readonly [K in keyof Records]: Reader<Records[K]> } = {
  attachments: soundAttachment,
  exits: exit,
  wishes: wish,
  uncapped: soundUncapped,
};

function requireVersion(version: unknown): void {
  const known = `this podpaced knows ${KNOWN_VERSION}`;
  if (Number.isSafeInteger(version) && (version as number) > KNOWN_VERSION)
    throw new ShapeError(
      `it is of a newer podpaced: its record version is ${String(version)}, ${known}`,
    );
  integer(RECORD_VERSION, KNOWN_VERSION)(version, 'recordVersion');
}

/**
 * The oldest version that says all of a record: a release that reads less of it would hold less
 * than was asked for.
 */
function versionOf(record: object): number {
  const isSeveral = ['podInterface', 'beside', 'unheld'].some((name) =>
    Object.hasOwn(record, name),
  );
  return Math.max(isSeveral ? SEVERAL_VERSION : RECORD_VERSION, ...networkVersions(record));
}

/**
 * The record that a file holds. `name` is the file's, without its suffix. Throws ShapeError that
 * says in one printable line what is wrong.
 */
export function parseRecord<K extends keyof Records>(
  kind: K,
  name: string,
  content: string,
): Records[K] {
  try {
    const fields = anyObject(JSON.parse(content), 'record');
    requireVersion(fields['recordVersion']);
    const record = READERS[kind](fields, '');
    // Absent in records of 23c71bb.
    if (fields['checksum'] !== undefined)
      requireChecksum(fields['checksum'], withoutExtras(record));
    const sources = sourcesIn(record);
    if (fields['sourcesChecksum'] !== undefined || sources !== undefined)
      requireChecksum(fields['sourcesChecksum'], sources ?? {});
    const pod = podAsWritten(fields);
    if (pod !== undefined || fields['podChecksum'] !== undefined)
      requireChecksum(fields['podChecksum'], pod ?? {});
    const own = RECORD_NAMES[kind](record);
    if (own !== name)
      throw new ShapeError(`it is the record of ${own}, which has a file of its own name`);
    return record;
  } catch (error) {
    // Whatever it is: text that nests too deep has JSON.stringify of the complaint run out of
    // stack, too.
    throw new ShapeError(printable((error as Error).message).slice(0, 300), { cause: error });
  }
}

function requireChecksum(checksum: unknown, said: object): void {
  if (checksum !== checksumOf(said))
    throw new ShapeError(
      'its checksum is not that of what it says: it was damaged, or changed by hand',
    );
}

/** What a file of a record holds. Throws ShapeError for what `parseRecord` would not take. */
export function formatRecord<K extends keyof Records>(kind: K, record: Records[K]): string {
  const own = READERS[kind]({ ...record }, '');
  return recordText(versionOf(own), own);
}
