// RTM_NEWNEXTHOP and its relatives: struct nhmsg, NHA_* and struct nexthop_grp of linux/nexthop.h.
// Only what leads to devices.

import { Attributes, requireLength } from './attributes.ts';

export const RTM_NEWNEXTHOP = 104;
export const RTM_DELNEXTHOP = 105;
export const RTM_GETNEXTHOP = 106;

const NHMSG_BYTES = 8;
/** struct nexthop_grp: the member's id, a weight. */
const GROUP_ENTRY_BYTES = 8;

const NHA_ID = 1;
const NHA_GROUP = 2;
const NHA_OIF = 5;

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
  return Buffer.alloc(NHMSG_BYTES);
}

/** Decodes the payload of RTM_NEWNEXTHOP or RTM_DELNEXTHOP. Throws WireError. */
export function decodeNexthop(payload: Buffer): Nexthop {
  requireLength('nexthop object', payload, NHMSG_BYTES);
  const attributes = Attributes.decode(payload.subarray(NHMSG_BYTES));
  const ifindex = attributes.u32(NHA_OIF);
  const group = attributes.bytes(NHA_GROUP) ?? Buffer.alloc(0);
  const members = new Set<number>();
  for (let at = 0; at + GROUP_ENTRY_BYTES <= group.length; at += GROUP_ENTRY_BYTES)
    members.add(group.readUInt32LE(at));
  return {
    id: attributes.u32(NHA_ID) ?? 0,
    ...(ifindex !== undefined && { ifindex }),
    members: [...members],
  };
}
