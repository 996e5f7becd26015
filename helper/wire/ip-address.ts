// Addresses between their text and the bytes that travel in messages.

import { isIPv4, isIPv6 } from 'node:net';
import { WireError } from './attributes.ts';

/** AF_INET and AF_INET6 of linux/socket.h. */
export const AF_INET = 2;
export const AF_INET6 = 10;

/** Address family of an address in text form. Throws RangeError when it is neither IPv4 nor IPv6. */
export function addressFamily(text: string): typeof AF_INET | typeof AF_INET6 {
  if (isIPv4(text)) return AF_INET;
  if (isIPv6(text) && !text.includes('%')) return AF_INET6;
  throw new RangeError(`Cannot encode address ${JSON.stringify(text)}: it is neither IPv4 nor IPv6`);
}

/** Four or sixteen bytes in network order. Throws RangeError when the text is no address. */
export function encodeAddress(text: string): Buffer {
  return addressFamily(text) === AF_INET ? encodeIpv4(text) : encodeIpv6(text);
}

/** Canonical text: dotted for four bytes, RFC 5952 for sixteen. Throws WireError for another length. */
export function decodeAddress(bytes: Buffer): string {
  if (bytes.length === 4) return bytes.join('.');
  if (bytes.length === 16) return formatIpv6(bytes);
  throw new WireError(`Cannot decode address: ${bytes.length} bytes came, 4 or 16 belong to it`);
}

/** Six bytes of a hardware address such as `02:00:00:00:00:01`. Throws RangeError when the text is none. */
export function encodeMac(text: string): Buffer {
  if (!/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i.test(text)) {
    throw new RangeError(
      `Cannot encode hardware address ${JSON.stringify(text)}: six octets in hex belong to it`,
    );
  }
  return Buffer.from(text.replaceAll(':', ''), 'hex');
}

/** Text of a hardware address of any length, in lower case; empty for a device that has none. */
export function decodeMac(bytes: Buffer): string {
  return Array.from(bytes, (octet) => octet.toString(16).padStart(2, '0')).join(':');
}

function encodeIpv4(text: string): Buffer {
  return Buffer.from(text.split('.').map(Number));
}

function encodeIpv6(text: string): Buffer {
  const [head = '', tail] = text.split('::');
  const before = encodeGroups(head);
  const after = encodeGroups(tail ?? '');
  return Buffer.concat([before, Buffer.alloc(16 - before.length - after.length), after]);
}

/** Groups of an IPv6 address between its double colon and an end; the last may be a dotted IPv4 address. */
function encodeGroups(text: string): Buffer {
  if (text === '') return Buffer.alloc(0);
  return Buffer.concat(
    text
      .split(':')
      .map((group) => (group.includes('.') ? encodeIpv4(group) : Buffer.from(group.padStart(4, '0'), 'hex'))),
  );
}

function formatIpv6(bytes: Buffer): string {
  const groups = Array.from({ length: 8 }, (_, index) => bytes.readUInt16BE(index * 2));
  // RFC 5952 section 5: an IPv4-mapped address shows its last half dotted.
  if (groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff) {
    return `::ffff:${bytes.subarray(12).join('.')}`;
  }
  const zeros = longestZeroRun(groups);
  const hex = groups.map((group) => group.toString(16));
  if (zeros.length < 2) return hex.join(':');
  return `${hex.slice(0, zeros.start).join(':')}::${hex.slice(zeros.start + zeros.length).join(':')}`;
}

/** The first of the longest runs of zero groups: RFC 5952 section 4.2. */
function longestZeroRun(groups: readonly number[]): { start: number; length: number } {
  let longest = { start: 0, length: 0 };
  for (let start = 0; start < groups.length; start++) {
    let end = start;
    while (groups[end] === 0) end++;
    if (end - start > longest.length) longest = { start, length: end - start };
    start = Math.max(start, end - 1);
  }
  return longest;
}
