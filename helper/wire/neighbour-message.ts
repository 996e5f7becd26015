// RTM_NEWNEIGH: struct ndmsg and NDA_* of linux/neighbour.h.

import { encodePayload } from './attributes.ts';
import { addressFamily, encodeAddress, encodeMac } from './ip-address.ts';

export const RTM_NEWNEIGH = 28;

const NDMSG_BYTES = 12;
const NDA_DST = 1;
const NDA_LLADDR = 2;
const NUD_PERMANENT = 0x80;

/** Which hardware address an address of a link has. */
export interface Neighbour {
  readonly ifindex: number;
  readonly address: string;
  readonly mac: string;
}

/** An entry that never ages. Throws RangeError when an address is none. */
export function encodeNeighbour({ ifindex, address, mac }: Neighbour): Buffer {
  const header = Buffer.alloc(NDMSG_BYTES);
  header.writeUInt8(addressFamily(address), 0);
  header.writeInt32LE(ifindex, 4);
  header.writeUInt16LE(NUD_PERMANENT, 8);
  return encodePayload(header, (attributes) => {
    attributes.bytes(NDA_DST, encodeAddress(address));
    attributes.bytes(NDA_LLADDR, encodeMac(mac));
  });
}
