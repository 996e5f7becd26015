// Routes as the helper knows them, by way of the bytes that the kernel tells of them.

import { Reaches, type ReachByDevice } from '../../helper/shaping/reaches.ts';
import { decodeRouteBrief, type RouteBrief } from '../../helper/wire/route-brief.ts';
import type { Nexthop } from '../../helper/wire/nexthop-message.ts';
import { encodeNewRoute, type Route } from '../../helper/wire/route-message.ts';

const RTA_MULTIPATH = 9;
const RTA_NH_ID = 30;
/** struct rtnexthop. */
const RTNEXTHOP_BYTES = 8;

function attribute(type: number, value: Buffer): Buffer {
  const header = Buffer.alloc(4);
  header.writeUInt16LE(4 + value.length, 0);
  header.writeUInt16LE(type, 2);
  return Buffer.concat([header, value]);
}

/**
 * Payload of the RTM_NEWROUTE of a route, with its several next hops and the number of its nexthop
 * object if it has them.
 */
export function routePayload({ nextHopIndexes, ...route }: Route, nexthopId?: number): Buffer {
  const parts = [encodeNewRoute(route)];
  if (nextHopIndexes !== undefined) {
    const hops = Buffer.alloc(RTNEXTHOP_BYTES * nextHopIndexes.length);
    for (const [at, ifindex] of nextHopIndexes.entries()) {
      hops.writeUInt16LE(RTNEXTHOP_BYTES, at * RTNEXTHOP_BYTES);
      hops.writeInt32LE(ifindex, at * RTNEXTHOP_BYTES + 4);
    }
    parts.push(attribute(RTA_MULTIPATH, hops));
  }
  if (nexthopId !== undefined) parts.push(attribute(RTA_NH_ID, Buffer.from([nexthopId, 0, 0, 0])));
  return Buffer.concat(parts);
}

/** linux/nexthop.h: struct nhmsg, struct nexthop_grp and the attributes of an object. */
const NHMSG_BYTES = 8;
const NEXTHOP_GRP_BYTES = 8;
const NHA_ID = 1;
const NHA_GROUP = 2;
const NHA_OIF = 5;

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

/** Payload of the RTM_NEWNEXTHOP of an object. */
export function nexthopPayload({ id, ifindex, members }: Nexthop): Buffer {
  const parts = [Buffer.alloc(NHMSG_BYTES), attribute(NHA_ID, u32(id))];
  if (ifindex !== undefined) parts.push(attribute(NHA_OIF, u32(ifindex)));
  const group = members.map((member) =>
    Buffer.concat([u32(member), Buffer.alloc(NEXTHOP_GRP_BYTES - 4)]),
  );
  if (group.length > 0) parts.push(attribute(NHA_GROUP, Buffer.concat(group)));
  return Buffer.concat(parts);
}

/** What a route says of devices. */
export function briefOf(route: Route, nexthopId?: number): RouteBrief | undefined {
  return decodeRouteBrief(routePayload(route, nexthopId));
}

/** How far routes lead. */
export function reachesOf(routes: readonly Route[]): ReachByDevice {
  const reaches = new Reaches();
  for (const brief of routes.map((route) => briefOf(route)))
    if (brief !== undefined) reaches.add(brief);
  return reaches.byDevice;
}
