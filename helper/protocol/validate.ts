// Is a message what it claims to be? Each function returns the value with its type, or throws
// ShapeError that names the field, what was expected and what came. What is read from disk is
// judged by the same functions (helper/shaping/record-schema.ts).

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

function cniNameOf(fields: Fields, name: string): string {
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
function sandboxOf(fields: Fields): string {
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

function congestionControlOf(fields: Fields): string {
  const value = stringOf(fields, 'congestionControl');
  if (!CONGESTION_CONTROL.test(value))
    fail('congestionControl', 'the name of an algorithm of TCP', value);
  return value;
}

export function integerOf(value: unknown, name: string, least: number, most: number): number {
  if (Number.isSafeInteger(value) && (value as number) >= least && (value as number) <= most) {
    return value as number;
  }
  const range =
    most === Number.MAX_SAFE_INTEGER ? `of at least ${least}` : `from ${least} to ${most}`;
  fail(name, `an integer ${range}`, value);
}

function capOf(value: unknown, name: string): Cap {
  const fields = fieldsOf(value, name);
  const [least, most] = CAP_RANGES.rateBitsPerSec;
  const rateBitsPerSec = integerOf(fields['rateBitsPerSec'], `${name}.rateBitsPerSec`, least, most);
  if (fields['burstBits'] === undefined) return { rateBitsPerSec };
  const burstBits = integerOf(fields['burstBits'], `${name}.burstBits`, 0, Number.MAX_SAFE_INTEGER);
  return { rateBitsPerSec, burstBits };
}

function capsOf(value: unknown): Caps {
  const { egress, ingress } = fieldsOf(value, 'caps');
  return {
    ...(egress === undefined ? {} : { egress: capOf(egress, 'caps.egress') }),
    ...(ingress === undefined ? {} : { ingress: capOf(ingress, 'caps.ingress') }),
  };
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
    ...(fields['exempt'] === undefined ? {} : { exempt: exemptOf(fields['exempt']) }),
    ...(fields['hostRouting'] === undefined
      ? {}
      : { hostRouting: hostRoutingOf(fields['hostRouting']) }),
    ...(fields['congestionControl'] === undefined
      ? {}
      : { congestionControl: congestionControlOf(fields) }),
    ...(fields['beside'] === undefined
      ? {}
      : { beside: interfacesOf(fields, 'beside', pairBesideOf) }),
    ...(fields['unheld'] === undefined ? {} : { unheld: interfacesOf(fields, 'unheld', unheldOf) }),
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
    ...(fields['hostRouting'] === undefined
      ? {}
      : { hostRouting: hostRoutingOf(fields['hostRouting']) }),
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

function hostRoutingOf(value: unknown): HostRouting {
  const fields = fieldsOf(value, 'hostRouting');
  const { addresses } = fields;
  if (!Array.isArray(addresses) || addresses.length > MAX_POD_ADDRESSES)
    fail('hostRouting.addresses', `an array of at most ${MAX_POD_ADDRESSES} addresses`, addresses);
  for (const address of addresses as unknown[]) {
    if (typeof address !== 'string' || !isAddress(address))
      fail('hostRouting.addresses', 'IP addresses', address);
  }
  if (fields['mac'] === undefined) return { addresses: addresses as string[] };
  const mac = stringOf(fields, 'mac');
  if (!/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/.test(mac))
    fail('hostRouting.mac', 'a hardware address', mac);
  return { addresses: addresses as string[], mac };
}

function exemptOf(value: unknown): string[] {
  if (!Array.isArray(value)) fail('exempt', 'an array', value);
  try {
    return checkExemptions(value);
  } catch (error) {
    throw new ShapeError(`"exempt" must be CIDRs: ${(error as Error).message}`);
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
    ...(fields['from'] === undefined ? {} : { from: stringOf(fields, 'from') }),
    ...(fields['to'] === undefined ? {} : { to: stringOf(fields, 'to') }),
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

function setParamsOf(fields: Fields): SetParams {
  const { direction } = fields;
  if (direction !== 'egress' && direction !== 'ingress')
    fail('direction', 'egress or ingress', direction);
  return {
    ...attachmentKeyOf(fields),
    direction,
    ...(fields['reset'] === undefined ? {} : { reset: booleanOf(fields, 'reset') }),
    changes: changesOf(fields['changes']),
  };
}

function countersParamsOf(fields: Fields): CountersParams {
  const { after, only, perCpu } = fields;
  return {
    ...(after === undefined ? {} : { after: stringOf(fields, 'after') }),
    ...(only === undefined ? {} : { only: attachmentKeyOf(fieldsOf(only, 'only')) }),
    ...(perCpu === undefined ? {} : { perCpu: booleanOf(fields, 'perCpu') }),
  };
}

const PARAMS: { readonly [M in Method]: (fields: Fields) => Methods[M]['params'] } = {
  attach: attachParamsOf,
  detach: attachmentKeyOf,
  check: attachParamsOf,
  gc: gcParamsOf,
  status: () => ({}),
  list: (fields) => (fields['after'] === undefined ? {} : { after: stringOf(fields, 'after') }),
  set: setParamsOf,
  counters: countersParamsOf,
  probe: () => ({}),
  uninstall: (fields) =>
    fields['forget'] === undefined ? {} : { forget: booleanOf(fields, 'forget') },
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
