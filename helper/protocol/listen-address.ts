// Where to listen, as text: `127.0.0.1:9843`, `[::1]:9843`. An IPv4 address may have brackets, too:
// a manifest that names the node's address, `[$(HOST_IP)]:9844`, does not know its family.

import { addressFamily, AF_INET, AF_INET6 } from '../wire/ip-address.ts';
import { fail, type Reader } from './shape.ts';

/** An IP address without brackets, and a port from 1 to 65535. */
export interface ListenAddress {
  readonly host: string;
  readonly port: number;
}

const MAX_PORT = 65_535;

function isOfFamily(host: string, family: number): boolean {
  try {
    return addressFamily(host) === family;
  } catch {
    return false;
  }
}

/** Undefined for what is no address with a port. */
export function parseListenAddress(text: string): ListenAddress | undefined {
  const [, inBrackets, bare, digits] = /^(?:\[([^\]]*)\]|([^:]*)):(\d{1,5})$/.exec(text) ?? [];
  const [host = '', port] = [inBrackets ?? bare, Number(digits)];
  const isAddress =
    isOfFamily(host, AF_INET) || (inBrackets !== undefined && isOfFamily(host, AF_INET6));
  return isAddress && port >= 1 && port <= MAX_PORT ? { host, port } : undefined;
}

const EXPECTED = 'an IP address and a port, such as 127.0.0.1:9843 or [::1]:9843';

function isListenAddress(value: unknown): value is string {
  return typeof value === 'string' && parseListenAddress(value) !== undefined;
}

/** Takes the text as it is. */
export const listenAddress: Reader<string> = (value, place) =>
  isListenAddress(value) ? value : fail(place, EXPECTED, value);

/** The same, or `off` where nobody is to listen. */
export const listenAddressOrOff: Reader<string> = (value, place) =>
  value === 'off' || isListenAddress(value) ? value : fail(place, `${EXPECTED}, or off`, value);
