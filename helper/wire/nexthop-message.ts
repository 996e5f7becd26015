// RTM_NEWNEXTHOP and its relatives: struct nhmsg, NHA_* and struct nexthop_grp of linux/nexthop.h.
// Only what leads to devices.

import { MessageFormat } from './attributes.ts';
import { Struct } from './struct.ts';

export const RTM_NEWNEXTHOP = 104;
export const RTM_DELNEXTHOP = 105;
export const RTM_GETNEXTHOP = 106;

/** struct nexthop_grp. */
const GROUP_ENTRY = new Struct('member of a nexthop group', { id: 'u32', weight: 'u8', rest: 3 });
const MESSAGE = new MessageFormat(
  new Struct('nexthop object', {
    ...{ family: 'u8', scope: 'u8', protocol: 'u8', reserved: 'u8', flags: 'u32' },
  }),
  {
    id: [1, 'u32'],
    members: [2, { decode: (group) => new Set(GROUP_ENTRY.decodeAll(group).map(({ id }) => id)) }],
    ifindex: [5, 'u32'],
  },
);

/** A nexthop object: routes name it by its id, and lead where it leads. */
export interface Nexthop {
  readonly id: number;
  /** Its device; absent for groups and for blackholes. */
  readonly ifindex?: number;
  /** Ids of the members of a group, resilient or not, each once; empty for a single one. */
  readonly members: readonly number[];
}

/** Asks for all nexthop objects, of both families. */
export function encodeNexthopQuery(): Buffer {
  return MESSAGE.encode({});
}

/** Decodes the payload of RTM_NEWNEXTHOP or RTM_DELNEXTHOP. Throws WireError. */
export function decodeNexthop(payload: Buffer): Nexthop {
  const { members = [], ...own } = MESSAGE.decodeAttributes(payload);
  return { id: 0, ...own, members: [...members] };
}
