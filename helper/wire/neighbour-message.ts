// RTM_NEWNEIGH: struct ndmsg and NDA_* of linux/neighbour.h.

import { MessageFormat } from './attributes.ts';
import { ADDRESS, addressFamily, MAC } from './ip-address.ts';
import { Struct } from './struct.ts';

export const RTM_NEWNEIGH = 28;

const MESSAGE = new MessageFormat(
  new Struct('neighbour', { family: 'u8', ifindex: 's32', state: 'u16', flags: 'u8', type: 'u8' }),
  { address: [1, ADDRESS], mac: [2, MAC] },
);
const NUD_PERMANENT = 0x80;

/** Which hardware address an address of a link has. */
export interface Neighbour {
  readonly ifindex: number;
  readonly address: string;
  readonly mac: string;
}

/** An entry that never ages. Throws RangeError when an address is none. */
export function encodeNeighbour(neighbour: Neighbour): Buffer {
  const family = addressFamily(neighbour.address);
  return MESSAGE.encode({ family, state: NUD_PERMANENT, ...neighbour });
}
