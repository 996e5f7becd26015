// CIDRs of an operator with bits beyond their prefix: what they cover, in words. A look at the
// network that was meant, not on the way of an ADD.

import IPCIDR from 'ip-cidr';
import { decodeAddress, isIpv4Mapped, networkOf, parseCidr } from './wire/ip-address.ts';
import { show } from './wire/show.ts';

/**
 * A note for each entry of a list of exempt addresses (with a `!` in front an exception) whose
 * address is not the first of its network: bits beyond the prefix are disregarded, so that more may
 * be covered than was meant. What is no CIDR has been refused before.
 */
export function notesOfLooseCidrs(entries: readonly string[]): string[] {
  return entries.flatMap((entry) => {
    const cidr = parseCidr(entry.replace(/^!/, ''));
    // ip-cidr takes an IPv4-mapped IPv6 address for the IPv4 one, which it is not on a wire.
    if (cidr === undefined || isIpv4Mapped(cidr.bytes)) return [];
    if (networkOf(cidr).equals(cidr.bytes)) return [];
    const range = new IPCIDR(`${decodeAddress(cidr.bytes)}/${cidr.prefixLength}`);
    const [first, last] = [range.addressStart, range.addressEnd].map((end) => end.correctForm());
    const covered = `${first} to ${last}`;
    return [`exempt ${show(entry)} covers ${covered}: bits beyond its prefix are disregarded`];
  });
}
