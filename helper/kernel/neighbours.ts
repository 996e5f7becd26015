// Permanent neighbour entries.

import { FlagsNew } from 'netlink/dist/constants.js';
import { RTM_NEWNEIGH, encodeNeighbour } from '../wire/neighbour-message.ts';
import type { Neighbour } from '../wire/neighbour-message.ts';
import type { RtSocket } from './rtnetlink.ts';

export type { Neighbour } from '../wire/neighbour-message.ts';

/**
 * Says which hardware address `address` has on the interface, for good; takes the place of what was
 * known.
 */
export function addNeighbour(rt: RtSocket, neighbour: Neighbour): Promise<void> {
  return rt.execute({
    operation: `add neighbour ${neighbour.address} of interface ${neighbour.ifindex}`,
    type: RTM_NEWNEIGH,
    flags: FlagsNew.CREATE | FlagsNew.REPLACE,
    payload: encodeNeighbour(neighbour),
  });
}
