// RTM_NEWROUTE and its relatives: struct rtmsg, RTA_* and RTAX_* of linux/rtnetlink.h.

import { Attributes, WireError, encodePayload, requireLength } from './attributes.ts';
import {
  AF_INET,
  AF_INET6,
  addressFamily,
  decodeAddress,
  encodeAddress,
  parseCidr,
  type Cidr,
} from './ip-address.ts';

export const RTM_NEWROUTE = 24;
export const RTM_DELROUTE = 25;
export const RTM_GETROUTE = 26;

export const RTMSG_BYTES = 12;
/** struct rtnexthop: length, flags, hops, ifindex; attributes follow. */
const RTNEXTHOP_BYTES = 8;

export const RTA_DST = 1;
export const RTA_OIF = 4;
const RTA_GATEWAY = 5;
const RTA_PRIORITY = 6;
const RTA_PREFSRC = 7;
const RTA_METRICS = 8;
export const RTA_MULTIPATH = 9;
export const RTA_NH_ID = 30;
export const RTA_TABLE = 15;
const RTA_MARK = 16;
const RTA_VIA = 18;
const RTAX_MTU = 2;
const RTAX_ADVMSS = 8;
const RTNH_F_ONLINK = 4;
const RTM_F_CLONED = 0x200;

/** RT_TABLE_MAIN: where routes stand unless they say otherwise. */
export const RT_TABLE_MAIN = 254;
export const RTN_UNICAST = 1;
const RTN_LOCAL = 2;
const RTN_UNSPEC = 0;
const RTPROT_UNSPEC = 0;
const RTPROT_BOOT = 3;
const RT_SCOPE_UNIVERSE = 0;
/** On the link itself. */
export const RT_SCOPE_LINK = 253;
const RT_SCOPE_HOST = 254;
/** RT_SCOPE_NOWHERE: in a deletion, any scope. */
const RT_SCOPE_NOWHERE = 255;

/** A route. One with several next hops has neither gateway nor ifindex here. */
export interface Route {
  /** CIDR; `0.0.0.0/0` and `::/0` for the default routes. */
  readonly destination: string;
  /** May be of the other family than the destination. */
  readonly gateway?: string;
  readonly ifindex?: number;
  /** Devices of the next hops, when there are several. Only decoded. */
  readonly nextHopIndexes?: readonly number[];
  /** The nexthop object that it names; only decoded. */
  readonly nexthopId?: number;
  /** Routing table; 254 is the main one. */
  readonly table: number;
  /** Metric: the route with the lowest one wins. */
  readonly priority?: number;
  /** RT_SCOPE_*; when absent chosen as `ip route` does. */
  readonly scope?: number;
  /** Path MTU in bytes. */
  readonly mtu?: number;
  /** Segment size in bytes that TCP advertises. */
  readonly advmss?: number;
  /** The gateway is reachable over the interface though no address says so. */
  readonly onlink?: boolean;
  /** Preferred source address. */
  readonly source?: string;
  /** RTN_*; unicast when absent. */
  readonly type?: number;
}

/**
 * Decodes the payload of RTM_NEWROUTE; undefined for what is no IP route of a table. Throws
 * WireError.
 */
export function decodeRoute(payload: Buffer): Route | undefined {
  requireLength('route', payload, RTMSG_BYTES);
  if (!isTableRoute(payload)) return undefined;
  const family = payload.readUInt8(0);
  const flags = payload.readUInt32LE(8);
  const attributes = Attributes.decode(payload.subarray(RTMSG_BYTES));
  const metrics = attributes.nested(RTA_METRICS);
  const gateway = decodeGateway(attributes);
  const ifindex = attributes.u32(RTA_OIF);
  const priority = attributes.u32(RTA_PRIORITY);
  const mtu = metrics?.u32(RTAX_MTU);
  const advmss = metrics?.u32(RTAX_ADVMSS);
  const source = attributes.bytes(RTA_PREFSRC);
  const nextHops = attributes.bytes(RTA_MULTIPATH);
  const nexthopId = attributes.u32(RTA_NH_ID);
  return {
    destination: decodeDestination(family, attributes.bytes(RTA_DST), payload.readUInt8(1)),
    table: attributes.u32(RTA_TABLE) ?? payload.readUInt8(4),
    scope: payload.readUInt8(6),
    type: payload.readUInt8(7),
    ...(gateway !== undefined && { gateway }),
    ...(ifindex !== undefined && { ifindex }),
    ...(priority !== undefined && { priority }),
    ...(mtu !== undefined && { mtu }),
    ...(advmss !== undefined && { advmss }),
    ...((flags & RTNH_F_ONLINK) !== 0 && { onlink: true }),
    ...(source !== undefined && { source: decodeAddress(source) }),
    ...(nextHops !== undefined && { nextHopIndexes: decodeNextHops(nextHops) }),
    ...(nexthopId !== undefined && { nexthopId }),
  };
}

/** Whether a message is of an IP route that stands in a table. */
export function isTableRoute(payload: Buffer): boolean {
  const family = payload.readUInt8(0);
  return (
    (family === AF_INET || family === AF_INET6) && (payload.readUInt32LE(8) & RTM_F_CLONED) === 0
  );
}

/** Indexes of the devices of several next hops, as RTA_MULTIPATH has them. Throws WireError. */
export function decodeNextHops(bytes: Buffer): number[] {
  const indexes: number[] = [];
  for (let at = 0; at + RTNEXTHOP_BYTES <= bytes.length;) {
    const length = bytes.readUInt16LE(at);
    if (length < RTNEXTHOP_BYTES)
      throw new WireError(`Cannot decode next hop: it has ${length} bytes`);
    indexes.push(bytes.readInt32LE(at + 4));
    at += (length + 3) & ~3;
  }
  return indexes;
}

/** Asks for the routes of one family, or of all. */
export function encodeRouteQuery(family?: 4 | 6): Buffer {
  const header = Buffer.alloc(RTMSG_BYTES);
  if (family !== undefined) header.writeUInt8(family === 4 ? AF_INET : AF_INET6, 0);
  return header;
}

/** Asks which route a packet to an address takes. Throws RangeError when the text is no address. */
export function encodeRouteLookup(address: string, mark?: number): Buffer {
  const bytes = encodeAddress(address);
  const header = Buffer.alloc(RTMSG_BYTES);
  header.writeUInt8(addressFamily(address), 0);
  header.writeUInt8(bytes.length * 8, 1);
  return encodePayload(header, (attributes) => {
    attributes.bytes(RTA_DST, bytes);
    attributes.u32(RTA_MARK, mark);
  });
}

/**
 * Index of the device that the answer names; undefined for a route that leads to none. Throws
 * WireError.
 */
export function decodeLookedUp(payload: Buffer): number | undefined {
  requireLength('route', payload, RTMSG_BYTES);
  return Attributes.decode(payload.subarray(RTMSG_BYTES)).u32(RTA_OIF);
}

/** Adds a route. Throws RangeError when an address or the destination is none. */
export function encodeNewRoute(route: Route): Buffer {
  const type = route.type ?? RTN_UNICAST;
  return encodeRoute(route, {
    protocol: RTPROT_BOOT,
    type,
    scope: route.scope ?? defaultScope(route),
  });
}

/** Deletes the route that matches everything `route` names, whoever added it. */
export function encodeOldRoute(route: Route): Buffer {
  const type = route.type ?? RTN_UNSPEC;
  return encodeRoute(route, {
    protocol: RTPROT_UNSPEC,
    type,
    scope: route.scope ?? RT_SCOPE_NOWHERE,
  });
}

function encodeRoute(
  route: Route,
  {
    protocol,
    scope,
    type,
  }: { readonly protocol: number; readonly scope: number; readonly type: number },
): Buffer {
  const { family, bytes, prefixLength } = parseDestination(route.destination);
  const header = Buffer.alloc(RTMSG_BYTES);
  header.writeUInt8(family, 0);
  header.writeUInt8(prefixLength, 1);
  header.writeUInt8(route.table < 256 ? route.table : 0, 4);
  header.writeUInt8(protocol, 5);
  header.writeUInt8(scope, 6);
  header.writeUInt8(type, 7);
  header.writeUInt32LE(route.onlink === true ? RTNH_F_ONLINK : 0, 8);
  return encodePayload(header, (attributes) => {
    attributes.bytes(RTA_DST, prefixLength === 0 ? undefined : bytes);
    attributes.u32(RTA_OIF, route.ifindex);
    if (route.gateway !== undefined) {
      const hop = encodeGateway(family, route.gateway);
      attributes.bytes(hop.type, hop.bytes);
    }
    attributes.u32(RTA_PRIORITY, route.priority);
    attributes.bytes(
      RTA_PREFSRC,
      route.source === undefined ? undefined : encodeAddress(route.source),
    );
    attributes.u32(RTA_TABLE, route.table);
    if (route.mtu === undefined && route.advmss === undefined) return;
    attributes.nested(RTA_METRICS, (metrics) => {
      metrics.u32(RTAX_MTU, route.mtu);
      metrics.u32(RTAX_ADVMSS, route.advmss);
    });
  });
}

/**
 * What iproute2 takes when none is given: the kernel refuses a gateway beyond a route of link
 * scope.
 */
function defaultScope(route: Route): number {
  if (route.type === RTN_LOCAL) return RT_SCOPE_HOST;
  const isDirect = route.gateway === undefined && (route.type ?? RTN_UNICAST) === RTN_UNICAST;
  return isDirect && !route.destination.includes(':') ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE;
}

function parseDestination(text: string): Cidr & { readonly family: number } {
  const cidr = parseCidr(text);
  if (cidr === undefined)
    throw new RangeError(`Cannot encode destination ${JSON.stringify(text)}: it is no CIDR`);
  return { ...cidr, family: cidr.bytes.length === 4 ? AF_INET : AF_INET6 };
}

function decodeDestination(
  family: number,
  bytes: Buffer | undefined,
  prefixLength: number,
): string {
  const length = family === AF_INET ? 4 : 16;
  const address = bytes ?? Buffer.alloc(length);
  if (address.length !== length || prefixLength > length * 8) {
    throw new WireError(
      `Cannot decode destination: prefix of ${prefixLength} bits in ${address.length} bytes`,
    );
  }
  return `${decodeAddress(address)}/${prefixLength}`;
}

/**
 * RTA_VIA is struct rtvia, a family and an address: the form for a next hop of the other family.
 */
function encodeGateway(family: number, gateway: string): { type: number; bytes: Buffer } {
  const bytes = encodeAddress(gateway);
  const hopFamily = addressFamily(gateway);
  if (hopFamily === family) return { type: RTA_GATEWAY, bytes };
  return { type: RTA_VIA, bytes: Buffer.concat([Buffer.from([hopFamily, 0]), bytes]) };
}

function decodeGateway(attributes: Attributes): string | undefined {
  const gateway = attributes.bytes(RTA_GATEWAY) ?? attributes.bytes(RTA_VIA)?.subarray(2);
  return gateway === undefined ? undefined : decodeAddress(gateway);
}
