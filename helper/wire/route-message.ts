// RTM_NEWROUTE and its relatives: struct rtmsg, RTA_* and RTAX_* of linux/rtnetlink.h.

import { AttributeTable, MessageFormat, WireError } from './attributes.ts';
import {
  ADDRESS,
  AF_INET,
  AF_INET6,
  addressFamily,
  decodeAddress,
  encodeAddress,
  parseCidr,
  type Cidr,
} from './ip-address.ts';
import { Struct, type Codec } from './struct.ts';

export const RTM_NEWROUTE = 24;
export const RTM_DELROUTE = 25;
export const RTM_GETROUTE = 26;

export const RTMSG = new Struct('route', {
  ...{ family: 'u8', prefixLength: 'u8', sourceLength: 'u8', tos: 'u8' },
  ...{ shortTable: 'u8', protocol: 'u8', scope: 'u8', type: 'u8', flags: 'u32' },
});
/** Attributes follow it. */
const RTNEXTHOP = new Struct('next hop', {
  length: 'u16',
  flags: 'u8',
  hops: 'u8',
  ifindex: 's32',
});
/** struct rtvia, a family and an address: the form for a next hop of the other family. */
const VIA: Codec<string> = {
  encode: (address) =>
    Buffer.concat([Buffer.from([addressFamily(address), 0]), encodeAddress(address)]),
  decode: (via) => decodeAddress(via.subarray(2)),
};

export const RTA_DST = 1;
export const RTA_OIF = 4;
export const RTA_MULTIPATH = 9;
export const RTA_TABLE = 15;
export const RTA_NH_ID = 30;
/** In the order in which they are written. */
const ROUTE = new MessageFormat(RTMSG, {
  destination: [RTA_DST, 'bytes'],
  ifindex: [RTA_OIF, 'u32'],
  gateway: [5, ADDRESS],
  via: [18, VIA],
  priority: [6, 'u32'],
  source: [7, ADDRESS],
  table: [RTA_TABLE, 'u32'],
  metrics: [8, new AttributeTable({ mtu: [2, 'u32'], advmss: [8, 'u32'] })],
  nextHopIndexes: [RTA_MULTIPATH, { decode: decodeNextHops }],
  nexthopId: [RTA_NH_ID, 'u32'],
});
const LOOKUP = new MessageFormat(RTMSG, {
  destination: [RTA_DST, ADDRESS],
  mark: [16, 'u32'],
  ifindex: [RTA_OIF, 'u32'],
});
const RTNH_F_ONLINK = 4;
const RTM_F_CLONED = 0x200;

/** RT_TABLE_MAIN: where routes stand unless they say otherwise. */
export const RT_TABLE_MAIN = 254;
export const RTN_UNICAST = 1;
const RTN_LOCAL = 2;
const RTPROT_BOOT = 3;
const RT_SCOPE_UNIVERSE = 0;
/** On the link itself. */
export const RT_SCOPE_LINK = 253;
const RT_SCOPE_HOST = 254;

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
  const { family, prefixLength, shortTable, scope, type, flags } = ROUTE.decodeHeader(payload);
  if (!isTableRoute(payload)) return undefined;
  const { destination, via, gateway = via, metrics, ...own } = ROUTE.decodeAttributes(payload);
  return {
    ...{ table: shortTable, ...own, ...metrics, scope, type },
    destination: decodeDestination(family, destination, prefixLength),
    ...(gateway !== undefined && { gateway }),
    ...((flags & RTNH_F_ONLINK) !== 0 && { onlink: true }),
  };
}

/** Whether a message is of an IP route that stands in a table. */
export function isTableRoute(payload: Buffer): boolean {
  const family = payload.readUInt8(RTMSG.offsets.family);
  const flags = payload.readUInt32LE(RTMSG.offsets.flags);
  return (family === AF_INET || family === AF_INET6) && (flags & RTM_F_CLONED) === 0;
}

/** Indexes of the devices of several next hops, as RTA_MULTIPATH has them. Throws WireError. */
export function decodeNextHops(bytes: Buffer): number[] {
  const indexes: number[] = [];
  for (let at = 0; at + RTNEXTHOP.size <= bytes.length;) {
    const { length, ifindex } = RTNEXTHOP.decodeAt(bytes, at);
    if (length < RTNEXTHOP.size)
      throw new WireError(`Cannot decode next hop: it has ${length} bytes`);
    indexes.push(ifindex);
    at += (length + 3) & ~3;
  }
  return indexes;
}

/** Asks for the routes of one family, or of all. */
export function encodeRouteQuery(family?: 4 | 6): Buffer {
  return RTMSG.encode({ family: family && (family === 4 ? AF_INET : AF_INET6) });
}

/** Asks which route a packet to an address takes. Throws RangeError when the text is no address. */
export function encodeRouteLookup(destination: string, mark?: number): Buffer {
  const family = addressFamily(destination);
  return LOOKUP.encode({
    ...{ family, prefixLength: family === AF_INET ? 32 : 128, destination, mark },
  });
}

/**
 * Index of the device that the answer names; undefined for a route that leads to none. Throws
 * WireError.
 */
export function decodeLookedUp(payload: Buffer): number | undefined {
  return LOOKUP.decodeAttributes(payload).ifindex;
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

function encodeRoute(
  route: Route,
  how: { readonly protocol: number; readonly scope: number; readonly type: number },
): Buffer {
  const { ifindex, gateway, priority, source, table, mtu, advmss } = route;
  const { family, bytes, prefixLength } = parseDestination(route.destination);
  const isVia = gateway !== undefined && addressFamily(gateway) !== family;
  return ROUTE.encode({
    ...{ family, prefixLength, shortTable: table < 256 ? table : 0, ...how },
    flags: route.onlink === true ? RTNH_F_ONLINK : 0,
    destination: prefixLength === 0 ? undefined : bytes,
    ...{ ifindex, [isVia ? 'via' : 'gateway']: gateway, priority, source, table },
    metrics: mtu === undefined && advmss === undefined ? undefined : { mtu, advmss },
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
