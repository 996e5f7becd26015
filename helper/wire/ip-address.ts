// Addresses between their text and the bytes that travel in messages. Not by node:net, which has no
// such thing as inet_pton and takes a millisecond of every start to load.

// And not by way of attributes.ts, which loads the codecs of the netlink package.
import { WireError } from './errors.ts';
import type { Codec } from './struct.ts';

/** AF_INET and AF_INET6 of linux/socket.h. */
export const AF_INET = 2;
export const AF_INET6 = 10;

/**
 * Address family of an address in text form. Throws RangeError when it is neither IPv4 nor IPv6.
 */
export function addressFamily(text: string): typeof AF_INET | typeof AF_INET6 {
  return encodeAddress(text).length === 4 ? AF_INET : AF_INET6;
}

function parseAddress(text: string): number[] | undefined {
  return text.includes(':') ? parseIpv6(text) : parseIpv4(text);
}

/** Four or sixteen bytes in network order. Throws RangeError when the text is no address. */
export function encodeAddress(text: string): Buffer {
  const bytes = parseAddress(text);
  if (bytes !== undefined) return Buffer.from(bytes);
  throw new RangeError(
    `Cannot encode address ${JSON.stringify(text)}: it is neither IPv4 nor IPv6`,
  );
}

/** An address with the length of its prefix. Bits beyond that may be set. */
export interface Cidr {
  /** Four or sixteen. */
  readonly bytes: Buffer;
  readonly prefixLength: number;
}

/** Reads `10.0.0.0/8` or `2001:db8::/32`; undefined for what is neither. */
export function parseCidr(text: string): Cidr | undefined {
  const [address = '', length = '', ...rest] = text.split('/');
  const bytes = parseAddress(address);
  const prefixLength = Number(length);
  if (bytes === undefined || rest.length > 0 || !/^\d{1,3}$/.test(length)) return undefined;
  if (prefixLength > bytes.length * 8) return undefined;
  return { bytes: Buffer.from(bytes), prefixLength };
}

/** The first address of a prefix. */
export function networkOf({ bytes, prefixLength }: Cidr): Buffer {
  return Buffer.from(
    bytes.map((byte, index) => {
      const bits = Math.min(8, Math.max(0, prefixLength - index * 8));
      return byte & (0xff00 >> bits);
    }),
  );
}

const IPV4_MAPPED = Buffer.from('00000000000000000000ffff', 'hex');

/** Sixteen bytes: those of IPv6, of IPv4 in its IPv6 form ::ffff:a.b.c.d. */
export function asIpv6(bytes: Buffer): Buffer {
  return bytes.length === 4 ? Buffer.concat([IPV4_MAPPED, bytes]) : bytes;
}

/** Whether an address of IPv6 is the form of one of IPv4. */
export function isIpv4Mapped(bytes: Buffer): boolean {
  return bytes.length === 16 && bytes.subarray(0, IPV4_MAPPED.length).equals(IPV4_MAPPED);
}

/**
 * Canonical text: dotted for four bytes, RFC 5952 for sixteen. Throws WireError for another length.
 */
export function decodeAddress(bytes: Buffer): string {
  if (bytes.length === 4) return bytes.join('.');
  if (bytes.length === 16) return formatIpv6(bytes);
  throw new WireError(`Cannot decode address: ${bytes.length} bytes came, 4 or 16 belong to it`);
}

/**
 * Six bytes of a hardware address such as `02:00:00:00:00:01`. Throws RangeError when the text is
 * none.
 */
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

/** Addresses of IP and of hardware as they stand in attributes. */
export const ADDRESS: Codec<string> = { encode: encodeAddress, decode: decodeAddress };
export const MAC: Codec<string> = { encode: encodeMac, decode: decodeMac };

function parseIpv4(text: string): number[] | undefined {
  const octets = text.split('.');
  const isAddress =
    octets.length === 4 && octets.every((octet) => /^(0|[1-9]\d{0,2})$/.test(octet));
  const bytes = octets.map(Number);
  return isAddress && bytes.every((byte) => byte < 256) ? bytes : undefined;
}

/**
 * RFC 4291 section 2.2: eight groups, of which one run of zeros may be written as a double colon.
 */
function parseIpv6(text: string): number[] | undefined {
  const halves = text
    .split('::')
    .map((half, index, all) => parseGroups(half, index === all.length - 1));
  const [head, tail] = halves;
  if (head === undefined || halves.length > 2) return undefined;
  if (halves.length === 1) return head.length === 16 ? head : undefined;
  if (tail === undefined || head.length + tail.length > 14) return undefined;
  return [...head, ...Array.from({ length: 16 - head.length - tail.length }, () => 0), ...tail];
}

/**
 * Bytes of groups with single colons between; the last of an address may be a dotted IPv4 address.
 */
function parseGroups(text: string, isEnd: boolean): number[] | undefined {
  if (text === '') return [];
  const groups = text.split(':');
  const bytes: number[] = [];
  for (const [index, group] of groups.entries()) {
    const isDotted = isEnd && index === groups.length - 1 && group.includes('.');
    const pair = isDotted ? parseIpv4(group) : parseGroup(group);
    if (pair === undefined) return undefined;
    bytes.push(...pair);
  }
  return bytes;
}

function parseGroup(text: string): number[] | undefined {
  const value = Number.parseInt(text, 16);
  return /^[0-9a-f]{1,4}$/i.test(text) ? [value >>> 8, value & 0xff] : undefined;
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
