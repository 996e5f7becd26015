// Is a message what it claims to be? Each function returns the value with its type, or throws ShapeError that names
// the field, what was expected and what came.

import type { AttachmentKey, AttachParams, Cap, Caps, GcParams, Method, Methods } from './messages.ts';

/** A message with a field that is missing or of the wrong kind. */
export class ShapeError extends Error {
  override readonly name = 'ShapeError';
}

type Fields = Readonly<Record<string, unknown>>;

function show(value: unknown): string {
  return value === undefined ? 'nothing' : JSON.stringify(value).slice(0, 80);
}

function fail(name: string, expected: string, value: unknown): never {
  throw new ShapeError(`"${name}" must be ${expected}, got ${show(value)}`);
}

function fieldsOf(value: unknown, name: string): Fields {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) fail(name, 'an object', value);
  return value as Fields;
}

function stringOf(fields: Fields, name: string): string {
  const value = fields[name];
  if (typeof value !== 'string' || value === '') fail(name, 'a non-empty string', value);
  return value;
}

/** The characters that CNI allows in container ids and network names; they also become file names here. */
const CNI_NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/;

/** IFNAMSIZ of linux/if.h, less its terminating zero. */
const MAX_IFNAME_LENGTH = 15;

function cniNameOf(fields: Fields, name: string): string {
  const value = stringOf(fields, name);
  if (!CNI_NAME.test(value)) fail(name, 'a name of letters, digits, "_", "." and "-"', value);
  return value;
}

function ifnameOf(fields: Fields, name: string): string {
  const value = stringOf(fields, name);
  const isName =
    value.length <= MAX_IFNAME_LENGTH && !/[/:\s]/.test(value) && value !== '.' && value !== '..';
  if (!isName) fail(name, 'an interface name', value);
  return value;
}

/** Rates that the datapath's arithmetic covers, in bits per second: 1 kbit/s to 1 Pbit/s, as the runtimes allow. */
export const MIN_RATE_BITS_PER_SEC = 1000;
export const MAX_RATE_BITS_PER_SEC = 1_000_000_000_000_000;

function capOf(value: unknown, name: string): Cap {
  const { rateBitsPerSec, burstBits } = fieldsOf(value, name);
  const isRate =
    Number.isSafeInteger(rateBitsPerSec) &&
    (rateBitsPerSec as number) >= MIN_RATE_BITS_PER_SEC &&
    (rateBitsPerSec as number) <= MAX_RATE_BITS_PER_SEC;
  if (!isRate) fail(`${name}.rateBitsPerSec`, 'an integer from 1000 to 1000000000000000', rateBitsPerSec);
  if (burstBits === undefined) return { rateBitsPerSec: rateBitsPerSec as number };
  if (!Number.isSafeInteger(burstBits) || (burstBits as number) < 0) {
    fail(`${name}.burstBits`, 'an integer of at least 0', burstBits);
  }
  return { rateBitsPerSec: rateBitsPerSec as number, burstBits: burstBits as number };
}

function capsOf(value: unknown): Caps {
  const { egress, ingress } = fieldsOf(value, 'caps');
  return {
    ...(egress === undefined ? {} : { egress: capOf(egress, 'caps.egress') }),
    ...(ingress === undefined ? {} : { ingress: capOf(ingress, 'caps.ingress') }),
  };
}

function attachmentKeyOf(fields: Fields): AttachmentKey {
  return { containerId: cniNameOf(fields, 'containerId'), ifname: ifnameOf(fields, 'ifname') };
}

function attachParamsOf(fields: Fields): AttachParams {
  return {
    ...attachmentKeyOf(fields),
    network: cniNameOf(fields, 'network'),
    hostInterface: ifnameOf(fields, 'hostInterface'),
    sandbox: stringOf(fields, 'sandbox'),
    caps: capsOf(fields['caps']),
  };
}

function gcParamsOf(fields: Fields): GcParams {
  const { valid } = fields;
  if (!Array.isArray(valid)) fail('valid', 'an array', valid);
  const keys = valid.map((entry: unknown, index) => attachmentKeyOf(fieldsOf(entry, `valid[${index}]`)));
  return {
    network: cniNameOf(fields, 'network'),
    valid: keys,
    ...(fields['from'] === undefined ? {} : { from: stringOf(fields, 'from') }),
    ...(fields['to'] === undefined ? {} : { to: stringOf(fields, 'to') }),
  };
}

const PARAMS: { readonly [M in Method]: (fields: Fields) => Methods[M]['params'] } = {
  attach: attachParamsOf,
  detach: attachmentKeyOf,
  check: attachParamsOf,
  gc: gcParamsOf,
  status: () => ({}),
  list: (fields) => (fields['after'] === undefined ? {} : { after: stringOf(fields, 'after') }),
  probe: () => ({}),
  uninstall: () => ({}),
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
  if (!Object.hasOwn(PARAMS, method)) fail('method', `one of ${Object.keys(PARAMS).join(', ')}`, method);
  const params = PARAMS[method as Method](fieldsOf(fields['params'], 'params'));
  return { method, params } as ParsedRequest;
}
