// Notifications of rtnetlink (man 7 rtnetlink): which device is concerned. Pure.

import { FlagsNew } from 'netlink/dist/constants.js';
import type { NetlinkMessage } from 'netlink/dist/structs.js';
import { decodeStart } from './attributes.ts';
import { IFF_UP, IFINFOMSG, RTM_DELLINK, RTM_NEWLINK } from './link-message.ts';
import { decodeNexthop, RTM_DELNEXTHOP, RTM_NEWNEXTHOP, type Nexthop } from './nexthop-message.ts';
import { splitMessages } from './netlink-reply.ts';
import { decodeRouteBrief, type RouteBrief } from './route-brief.ts';
import { RTM_DELROUTE, RTM_NEWROUTE } from './route-message.ts';
import { RTM_DELQDISC, RTM_DELTFILTER, RTM_NEWQDISC, RTM_NEWTFILTER, TCMSG } from './tc-message.ts';

/**
 * A route that came, was deleted, or took the place of another one with its table, destination and
 * metric.
 */
export interface RouteEvent {
  readonly kind: 'route';
  readonly change: 'added' | 'deleted' | 'replaced';
  readonly route: RouteBrief;
}

/**
 * A device that came, went or changed: one that is not up has no routes, and one without a carrier
 * no nexthop objects.
 */
export interface LinkEvent {
  readonly kind: 'link';
  readonly ifindex: number;
  /** The namespace no longer has it. */
  readonly isGone: boolean;
  readonly isUp: boolean;
  readonly hasCarrier: boolean;
}

/** A nexthop object that came or changed, or went. */
export interface NexthopEvent {
  readonly kind: 'nexthop';
  readonly change: 'set' | 'deleted';
  readonly nexthop: Nexthop;
}

/**
 * Something that came, went or changed. `lost` stands for any number of unknown events.
 */
export type RtEvent =
  | LinkEvent
  | RouteEvent
  | { readonly kind: 'qdisc' | 'filter'; readonly ifindex: number }
  | NexthopEvent
  | { readonly kind: 'lost' };

const AF_UNSPEC = 0;

/** IFF_RUNNING, IFF_LOWER_UP. */
const IFF_CARRIER = 0x40 | 0x1_0000;

function decodeLinkEvent({ type, data }: NetlinkMessage): LinkEvent {
  const { family, index, flags } = decodeStart(IFINFOMSG, data);
  return {
    // Of family AF_BRIDGE it has left a bridge.
    ...{ kind: 'link', ifindex: index, isGone: type === RTM_DELLINK && family === AF_UNSPEC },
    ...{ isUp: (flags & IFF_UP) !== 0, hasCarrier: (flags & IFF_CARRIER) !== 0 },
  };
}

function decodeRouteEvent({ type, flags, data }: NetlinkMessage): RouteEvent | undefined {
  const route = decodeRouteBrief(data);
  if (route === undefined) return undefined;
  if (type === RTM_DELROUTE) return { kind: 'route', change: 'deleted', route };
  return { kind: 'route', change: (flags & FlagsNew.REPLACE) === 0 ? 'added' : 'replaced', route };
}

function decodeEvent(message: NetlinkMessage): RtEvent | undefined {
  const { type, data } = message;
  switch (type) {
    case RTM_NEWROUTE:
    case RTM_DELROUTE:
      return decodeRouteEvent(message);
    case RTM_NEWLINK:
    case RTM_DELLINK:
      return decodeLinkEvent(message);
    case RTM_NEWQDISC:
    case RTM_DELQDISC:
      return { kind: 'qdisc', ifindex: decodeStart(TCMSG, data).ifindex };
    case RTM_NEWTFILTER:
    case RTM_DELTFILTER:
      return { kind: 'filter', ifindex: decodeStart(TCMSG, data).ifindex };
    case RTM_NEWNEXTHOP:
      return { kind: 'nexthop', change: 'set', nexthop: decodeNexthop(data) };
    case RTM_DELNEXTHOP:
      return { kind: 'nexthop', change: 'deleted', nexthop: decodeNexthop(data) };
    default:
      return undefined;
  }
}

/**
 * The events of one datagram; messages of other types are passed over. Throws WireError for what is
 * none.
 */
export function decodeRtEvents(datagram: Buffer): RtEvent[] {
  return splitMessages(datagram).flatMap((message) => decodeEvent(message) ?? []);
}
