// Addresses that are exempt from caps: how people write them, and the map exemptions of
// bpf/podpace.bpf.c. Pure.

import { asIpv6, networkOf, parseCidr } from './ip-address.ts';
import { show } from './show.ts';
import { Struct } from './struct.ts';

/** A prefix of addresses that is exempt, or an exception from a shorter one that is. */
export interface Exemption {
  /** 16 bytes, the host's bits zero; IPv4 in its IPv6 form ::ffff:a.b.c.d. */
  readonly address: Buffer;
  /** Of those 16 bytes, in bits. */
  readonly prefixLength: number;
  readonly isExempt: boolean;
}

/** Which list an exemption stands in: that of an aggregate, by its id, or the node's. */
export const NODE_LIST = 0;

/** struct exemption_key and struct exemption; of a hundred thousand each is written by hand. */
const KEY = new Struct('exemption key', { prefixLength: 'u32', list: 'u32', address: 16 });
const VALUE = new Struct('exemption', { prefixLength: 'u32', isExempt: 'u32' });
export const EXEMPTION_KEY_SIZE = KEY.size;
export const EXEMPTION_SIZE = VALUE.size;

/** Bits in front of the address in a key: those of the list. */
const LIST_BITS = 32;
const ADDRESS_BITS = 128;

/**
 * Reads `10.0.0.0/8`, `2001:db8::/32`, an address alone, or with a `!` in front an exception from a
 * shorter prefix. Bits beyond the prefix are disregarded. Throws RangeError that names the text.
 */
export function parseExemption(text: string): Exemption {
  const isExempt = !text.startsWith('!');
  const prefix = isExempt ? text : text.slice(1);
  const alone = prefix.includes(':') ? `${prefix}/128` : `${prefix}/32`;
  const cidr = parseCidr(prefix.includes('/') ? prefix : alone);
  if (cidr === undefined)
    throw new RangeError(
      `${show(text)} is no CIDR, such as "10.0.0.0/8", "2001:db8::/32" or "!10.1.0.0/16"`,
    );
  const prefixLength = ADDRESS_BITS - cidr.bytes.length * 8 + cidr.prefixLength;
  return { address: asIpv6(networkOf(cidr)), prefixLength, isExempt };
}

/**
 * Checks a list of exemptions and returns it. Prefixes may overlap: the longest counts. Throws
 * RangeError that names the entry, by its number from 0, for what is no CIDR, and for the same
 * prefix once with and once without a `!`.
 */
export function checkExemptions(entries: readonly unknown[]): string[] {
  const verdicts = new Map<string, number>();
  return entries.map((entry, index) => {
    if (typeof entry !== 'string')
      throw new RangeError(`entry ${index}: ${show(entry)} is no CIDR`);
    const exemption = parseEntry(entry, index);
    const prefix = encodeExemptionKey(NODE_LIST, exemption).toString('latin1');
    const former = verdicts.get(prefix);
    if (former !== undefined && String(entries[former]).startsWith('!') === exemption.isExempt) {
      throw new RangeError(
        `entry ${index}: ${show(entry)} contradicts entry ${former}, ${show(entries[former])}`,
      );
    }
    verdicts.set(prefix, index);
    return entry;
  });
}

function parseEntry(text: string, index: number): Exemption {
  try {
    return parseExemption(text);
  } catch (error) {
    throw new RangeError(`entry ${index}: ${(error as Error).message}`, { cause: error });
  }
}

/** Key of the map exemptions. */
export function encodeExemptionKey(list: number, { address, prefixLength }: Exemption): Buffer {
  const key = Buffer.alloc(KEY.size);
  key.writeUInt32LE(LIST_BITS + prefixLength, KEY.offsets.prefixLength);
  key.writeUInt32LE(list, KEY.offsets.list);
  address.copy(key, KEY.offsets.address);
  return key;
}

/** The list that a key of the map exemptions is in; keys may stand one behind the other. */
export function exemptionListOf(keys: Buffer, at = 0): number {
  return keys.readUInt32LE(at + KEY.offsets.list);
}

/** Value of the map exemptions. */
export function encodeExemption({ prefixLength, isExempt }: Exemption): Buffer {
  const value = Buffer.alloc(VALUE.size);
  value.writeUInt32LE(LIST_BITS + prefixLength, VALUE.offsets.prefixLength);
  value.writeUInt32LE(Number(isExempt), VALUE.offsets.isExempt);
  return value;
}
