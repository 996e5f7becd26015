// Is a message what it claims to be? Each function returns the value with its type, or throws
// ShapeError that names the field, what was expected and what came. What is read from disk is
// judged by the same functions (helper/shaping/record-schema.ts), and so is the configuration
// (helper/config.ts).

import { checkExemptions } from '../wire/exemption.ts';
import { encodeAddress } from '../wire/ip-address.ts';
import { isInterfaceName } from '../wire/interface-name.ts';
import { show } from '../wire/show.ts';
import { podNamesOf } from './pod-names.ts';
import { CAP_RANGES } from './ranges.ts';
import type {
  AttachmentKey,
  AttachParams,
  Cap,
  CapChanges,
  Caps,
  CountersParams,
  GcParams,
  HostRouting,
  Method,
  Methods,
  PairBeside,
  SetParams,
  UnheldInterface,
} from './messages.ts';

/** A message with a field that is missing or of the wrong kind. */
export class ShapeError extends Error {
  override readonly name = 'ShapeError';
}

export type Fields = Readonly<Record<string, unknown>>;

export function fail(name: string, expected: string, value: unknown): never {
  const found = value === undefined ? 'nothing' : show(value);
  throw new ShapeError(`"${name}" must be ${expected}, got ${found}`);
}

export function fieldsOf(value: unknown, name: string): Fields {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    fail(name, 'an object', value);
  return value as Fields;
}

/** Reads one field. */
export type Reader<T> = (fields: Fields, name: string) => T;

/** A field that may be absent, and what it is read by: itself, or nothing. */
export function optional<N extends string, T>(
  fields: Fields,
  name: N,
  read: (fields: Fields, name: N) => T,
): { readonly [K in N]?: T } {
  return fields[name] === undefined ? {} : ({ [name]: read(fields, name) } as Record<N, T>);
}

/** One of some words. */
export function oneOf<T extends string>(words: readonly T[]): Reader<T> {
  return (fields, name) =>
    words.find((word) => word === fields[name]) ?? fail(name, words.join(' or '), fields[name]);
}

/** A text of a form; `owner` stands before its name in an error. */
export function matching(pattern: RegExp, expected: string, owner = ''): Reader<string> {
  return (fields, name) => {
    const value = stringOf(fields, name);
    return pattern.test(value) ? value : fail(`${owner}${name}`, expected, value);
  };
}

export function stringOf(fields: Fields, name: string): string {
  const value = fields[name];
  if (typeof value !== 'string' || value === '') fail(name, 'a non-empty string', value);
  return value;
}

/**
 * The characters that CNI allows in container ids and network names; they also become file names
 * here.
 */
const CNI_NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/;

/**
 * What NAME_MAX (255 bytes) leaves to it in the name of a record's file, beside the interface's
 * name and suffixes.
 */
const MAX_CNI_NAME_LENGTH = 200;

export function cniNameOf(fields: Fields, name: string): string {
  const value = stringOf(fields, name);
  if (!CNI_NAME.test(value)) fail(name, 'a name of letters, digits, "_", "." and "-"', value);
  if (value.length > MAX_CNI_NAME_LENGTH)
    fail(name, `of at most ${MAX_CNI_NAME_LENGTH} characters`, value);
  return value;
}

/** With control characters too, as the kernel allows them: who prints it has to escape them. */
export function ifnameOf(fields: Fields, name: string): string {
  const value = stringOf(fields, name);
  if (!isInterfaceName(value)) fail(name, 'an interface name', value);
  return value;
}

/** PATH_MAX of linux/limits.h, its NUL included. */
const MAX_PATH_BYTES = 4096;

/**
 * The path of a namespace: runtimes name it after ids and UUIDs, and none has control characters in
 * it.
 */
export function sandboxOf(fields: Fields): string {
  const value = stringOf(fields, 'sandbox');
  if (/[\p{Cc}\p{Zl}\p{Zp}]/u.test(value))
    fail('sandbox', 'a path without control characters', value);
  if (Buffer.byteLength(value) >= MAX_PATH_BYTES)
    fail('sandbox', `a path below ${MAX_PATH_BYTES} bytes`, value);
  return value;
}

/**
 * TCP_CA_NAME_MAX of linux/tcp.h is 16, its NUL included; BPF algorithms may have dots
 * (bpf_obj_name_cpy).
 */
const CONGESTION_CONTROL = /^[a-zA-Z0-9_.-]{1,15}$/;
export const congestionControlOf = matching(CONGESTION_CONTROL, 'the name of an algorithm of TCP');

export function integerOf(value: unknown, name: string, least: number, most: number): number {
  if (Number.isSafeInteger(value) && (value as number) >= least && (value as number) <= most) {
    return value as number;
  }
  const range =
    most === Number.MAX_SAFE_INTEGER ? `of at least ${least}` : `from ${least} to ${most}`;
  fail(name, `an integer ${range}`, value);
}

function capOf(caps: Fields, direction: string): Cap {
  const name = `caps.${direction}`;
  const fields = fieldsOf(caps[direction], name);
  const [least, most] = CAP_RANGES.rateBitsPerSec;
  return {
    rateBitsPerSec: integerOf(fields['rateBitsPerSec'], `${name}.rateBitsPerSec`, least, most),
    ...optional(fields, 'burstBits', (_, field) =>
      integerOf(fields[field], `${name}.${field}`, 0, Number.MAX_SAFE_INTEGER),
    ),
  };
}

function capsOf(value: unknown): Caps {
  const caps = fieldsOf(value, 'caps');
  return { ...optional(caps, 'egress', capOf), ...optional(caps, 'ingress', capOf) };
}

export function attachmentKeyOf(fields: Fields): AttachmentKey {
  return { containerId: cniNameOf(fields, 'containerId'), ifname: ifnameOf(fields, 'ifname') };
}

export function attachParamsOf(fields: Fields): AttachParams {
  return {
    ...attachmentKeyOf(fields),
    network: cniNameOf(fields, 'network'),
    hostInterface: ifnameOf(fields, 'hostInterface'),
    sandbox: sandboxOf(fields),
    caps: capsOf(fields['caps']),
    ...optional(fields, 'exempt', exemptOf),
    ...optional(fields, 'hostRouting', hostRoutingOf),
    ...optional(fields, 'congestionControl', congestionControlOf),
    ...optional(fields, 'beside', (_, name) => interfacesOf(fields, name, pairBesideOf)),
    ...optional(fields, 'unheld', (_, name) => interfacesOf(fields, name, unheldOf)),
    ...podNamesOf(fields),
  };
}

/** More than any list of plugins makes in a sandbox. */
const MAX_POD_INTERFACES = 64;

/** A list of a pod's interfaces, each of which has a name of its own. */
export function interfacesOf<T extends { readonly podInterface: string }>(
  fields: Fields,
  name: 'beside' | 'unheld',
  entryOf: (fields: Fields) => T,
): T[] {
  const list = fields[name];
  const expected = `an array of 1 to ${MAX_POD_INTERFACES} interfaces`;
  if (!Array.isArray(list) || list.length === 0 || list.length > MAX_POD_INTERFACES)
    fail(name, expected, list);
  const entries = list.map((entry: unknown, index) =>
    entryOf(fieldsOf(entry, `${name}[${index}]`)),
  );
  if (new Set(entries.map(({ podInterface }) => podInterface)).size < entries.length)
    fail(name, 'interfaces of different names', list);
  return entries;
}

/** Indexes of devices are positive in an int (linux/netdevice.h). */
const MAX_IFINDEX = 0x7fff_ffff;

export function ifindexOf(fields: Fields, name: string): number {
  return integerOf(fields[name], name, 1, MAX_IFINDEX);
}

export function pairBesideOf(fields: Fields): PairBeside {
  return {
    podInterface: ifnameOf(fields, 'podInterface'),
    hostInterface: ifnameOf(fields, 'hostInterface'),
    hostInterfaceIndex: ifindexOf(fields, 'hostInterfaceIndex'),
    ...optional(fields, 'hostRouting', hostRoutingOf),
  };
}

const MAX_CLAUSE_LENGTH = 200;

function unheldOf(fields: Fields): UnheldInterface {
  const reason = stringOf(fields, 'reason');
  if (reason.length > MAX_CLAUSE_LENGTH)
    fail('reason', `a clause of at most ${MAX_CLAUSE_LENGTH} characters`, reason);
  return { podInterface: ifnameOf(fields, 'podInterface'), reason };
}

function isAddress(text: string): boolean {
  try {
    return encodeAddress(text).length > 0;
  } catch {
    return false;
  }
}

/** IPAM gives one address of each family, or a few. */
const MAX_POD_ADDRESSES = 16;

const MAC = /^([0-9a-f]{2}:){5}[0-9a-f]{2}$/;
export const macOf = matching(MAC, 'a hardware address');
const routedMacOf = matching(MAC, 'a hardware address', 'hostRouting.');

function hostRoutingOf(parent: Fields, name: string): HostRouting {
  const fields = fieldsOf(parent[name], name);
  const { addresses } = fields;
  if (!Array.isArray(addresses) || addresses.length > MAX_POD_ADDRESSES)
    fail('hostRouting.addresses', `an array of at most ${MAX_POD_ADDRESSES} addresses`, addresses);
  for (const address of addresses as unknown[]) {
    if (typeof address !== 'string' || !isAddress(address))
      fail('hostRouting.addresses', 'IP addresses', address);
  }
  return { addresses: addresses as string[], ...optional(fields, 'mac', routedMacOf) };
}

export function exemptOf(fields: Fields, name: string): string[] {
  const value = fields[name];
  if (!Array.isArray(value)) fail(name, 'an array', value);
  try {
    return checkExemptions(value);
  } catch (error) {
    throw new ShapeError(`"${name}" must be CIDRs: ${(error as Error).message}`);
  }
}

function gcParamsOf(fields: Fields): GcParams {
  const { valid } = fields;
  if (!Array.isArray(valid)) fail('valid', 'an array', valid);
  const keys = valid.map((entry: unknown, index) =>
    attachmentKeyOf(fieldsOf(entry, `valid[${index}]`)),
  );
  return {
    network: cniNameOf(fields, 'network'),
    valid: keys,
    ...optional(fields, 'from', stringOf),
    ...optional(fields, 'to', stringOf),
  };
}

export function booleanOf(fields: Fields, name: string): boolean {
  const value = fields[name];
  if (typeof value !== 'boolean') fail(name, 'true or false', value);
  return value;
}

function changesOf(value: unknown): SetParams['changes'] {
  const changes: { -readonly [K in keyof CapChanges]: number | null } = {};
  for (const [name, change] of Object.entries(fieldsOf(value, 'changes'))) {
    if (!Object.hasOwn(CAP_RANGES, name)) {
      fail('changes', `of ${Object.keys(CAP_RANGES).join(', ')}`, name);
    }
    const field = name as keyof CapChanges;
    const [least, most] = CAP_RANGES[field];
    changes[field] = change === null ? null : integerOf(change, `changes.${name}`, least, most);
  }
  return changes;
}

const directionOf = oneOf(['egress', 'ingress']);

function setParamsOf(fields: Fields): SetParams {
  return {
    ...attachmentKeyOf(fields),
    direction: directionOf(fields, 'direction'),
    ...optional(fields, 'reset', booleanOf),
    changes: changesOf(fields['changes']),
  };
}

function countersParamsOf(fields: Fields): CountersParams {
  return {
    ...optional(fields, 'after', stringOf),
    ...optional(fields, 'only', (_, name) => attachmentKeyOf(fieldsOf(fields[name], name))),
    ...optional(fields, 'perCpu', booleanOf),
  };
}

const PARAMS: { readonly [M in Method]: (fields: Fields) => Methods[M]['params'] } = {
  attach: attachParamsOf,
  detach: attachmentKeyOf,
  check: attachParamsOf,
  gc: gcParamsOf,
  status: () => ({}),
  list: (fields) => optional(fields, 'after', stringOf),
  set: setParamsOf,
  counters: countersParamsOf,
  probe: () => ({}),
  uncapped: (fields) => optional(fields, 'after', stringOf),
  uninstall: (fields) => optional(fields, 'forget', booleanOf),
};

/** A request whose method and parameters belong together. */
export type ParsedRequest = {
  [M in Method]: { readonly method: M; readonly params: Methods[M]['params'] };
}[Method];

/** Version of a message, which decides whether the rest can be understood at all. */
export function versionOf(message: unknown): number {
  const { version } = fieldsOf(message, 'message');
  if (typeof version !== 'number') fail('version', 'a number', version);
  return version;
}

/** The request in a message of our own version. Throws ShapeError. */
export function parseRequest(message: unknown): ParsedRequest {
  const fields = fieldsOf(message, 'message');
  const method = stringOf(fields, 'method');
  if (!Object.hasOwn(PARAMS, method))
    fail('method', `one of ${Object.keys(PARAMS).join(', ')}`, method);
  const params = PARAMS[method as Method](fieldsOf(fields['params'], 'params'));
  return { method, params } as ParsedRequest;
}
