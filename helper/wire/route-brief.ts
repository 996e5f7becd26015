// What a route says of the devices that it leads to, and nothing else of it. A node may have
// 100,000 routes and hear of some thousand changes in a second: decoded whole, each would cost
// several times as much. Pure.

import { NLA_TYPE_MASK, NLATTR_BYTES, WireError, requireLength } from './attributes.ts';
import { AF_INET } from './ip-address.ts';
import {
  RTA_DST,
  RTA_MULTIPATH,
  RTA_NH_ID,
  RTA_OIF,
  RTA_TABLE,
  RTMSG,
  RTN_UNICAST,
  decodeNextHops,
  isTableRoute,
} from './route-message.ts';

/**
 * Of the routes over a device, how far the farthest leads: to single hosts, to a network, or
 * anywhere.
 */
export type Reach = 'host' | 'network' | 'default';

export interface RouteBrief {
  /**
   * Of table and destination: routes that replace one another have the same. Others may have it
   * too, by chance. 32 bits.
   */
  readonly key: number;
  /** Undefined for a route that leads to no device: blackholes and such. */
  readonly reach: Reach | undefined;
  readonly devices: readonly number[];
  /**
   * The nexthop object that it leads by: with nexthop_compat_mode=0 the kernel names no devices
   * beside it.
   */
  readonly nexthopId?: number;
  /**
   * It has several next hops or a nexthop object, so that it may go or change with another device
   * than these.
   */
  readonly isShared: boolean;
}

/** Of the node's own addresses. */
const RT_TABLE_LOCAL = 255;
/** RTN_LOCAL, RTN_BROADCAST, RTN_ANYCAST, RTN_MULTICAST. */
const KEPT_BY_KERNEL: ReadonlySet<number> = new Set([2, 3, 4, 5]);

/** FNV-1a: http://www.isthe.com/chongo/tech/comp/fnv/ */
const FNV_BASIS = 0x811c9dc5;
const FNV_PRIME = 0x01000193;

/**
 * Decodes the payload of RTM_NEWROUTE or RTM_DELROUTE. Undefined for what can make no device an
 * exit: what the kernel keeps in the local table (a route that somebody puts there leads like any
 * other), cached copies, and fe80::/64, which every device that is up has and which leads to no
 * other network. Throws WireError.
 */
export function decodeRouteBrief(payload: Buffer): RouteBrief | undefined {
  requireLength(RTMSG.what, payload, RTMSG.size);
  if (!isTableRoute(payload)) return undefined;
  const isIpv4 = payload.readUInt8(RTMSG.offsets.family) === AF_INET;
  const prefixLength = payload.readUInt8(RTMSG.offsets.prefixLength);
  let table = payload.readUInt8(RTMSG.offsets.shortTable);
  let destination = 0;
  let destinationEnd = 0;
  let nexthopId: number | undefined;
  let devices: readonly number[] = [];
  for (let at = RTMSG.size; at + NLATTR_BYTES <= payload.length;) {
    const length = payload.readUInt16LE(at);
    const type = payload.readUInt16LE(at + 2) & NLA_TYPE_MASK;
    const [start, end] = [at + NLATTR_BYTES, at + length];
    if (length < NLATTR_BYTES || end > payload.length) throw invalid(type, length);
    if (type === RTA_DST) [destination, destinationEnd] = [start, end];
    else if (type === RTA_MULTIPATH)
      devices = [...new Set(decodeNextHops(payload.subarray(start, end)))];
    else if (type === RTA_OIF) devices = [numberAt(payload, type, start, end)];
    else if (type === RTA_TABLE) table = numberAt(payload, type, start, end);
    else if (type === RTA_NH_ID) nexthopId = numberAt(payload, type, start, end);
    at = (end + 3) & ~3;
  }
  const type = payload.readUInt8(RTMSG.offsets.type);
  if (table === RT_TABLE_LOCAL && KEPT_BY_KERNEL.has(type)) return undefined;
  if (!isIpv4 && prefixLength === 64 && isLinkLocal(payload, destination, destinationEnd))
    return undefined;
  let key = mixed(mixed(mixed(FNV_BASIS, table), isIpv4 ? 4 : 6), prefixLength);
  for (let at = destination; at < destinationEnd; at++) key = mixed(key, payload[at] ?? 0);
  const reach = type === RTN_UNICAST ? reachOf(prefixLength, isIpv4) : undefined;
  const isShared = nexthopId !== undefined || devices.length > 1;
  return {
    key: spread(key),
    reach,
    devices,
    isShared,
    ...(nexthopId !== undefined && { nexthopId }),
  };
}

/** Whether the payload of a route is of a default route. Throws WireError. */
export function isDefaultRoute(payload: Buffer): boolean {
  requireLength(RTMSG.what, payload, RTMSG.size);
  return payload.readUInt8(RTMSG.offsets.prefixLength) === 0;
}

function reachOf(prefixLength: number, isIpv4: boolean): Reach {
  if (prefixLength === 0) return 'default';
  return prefixLength === (isIpv4 ? 32 : 128) ? 'host' : 'network';
}

function isLinkLocal(payload: Buffer, start: number, end: number): boolean {
  return (
    end - start === 16 &&
    payload.readUInt32BE(start) === 0xfe80_0000 &&
    payload.readUInt32BE(start + 4) === 0
  );
}

function mixed(key: number, value: number): number {
  return Math.imul(key ^ value, FNV_PRIME);
}

/**
 * Neighbours differ in their last byte, and so in the lower bits of the sum only: whoever compares
 * keys needs all.
 */
function spread(key: number): number {
  const half = Math.imul(key ^ (key >>> 16), 0x85eb_ca6b);
  return (half ^ (half >>> 13)) >>> 0;
}

function numberAt(payload: Buffer, type: number, start: number, end: number): number {
  if (end - start !== 4) throw invalid(type, end - start + NLATTR_BYTES);
  return payload.readUInt32LE(start);
}

function invalid(type: number, length: number): WireError {
  return new WireError(`Cannot decode attribute ${type} of a route: it has ${length} bytes`);
}
