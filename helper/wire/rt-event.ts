// Notifications of rtnetlink (man 7 rtnetlink): which device is concerned. Pure.

import { FlagsNew } from 'netlink/dist/constants.js';
import type { NetlinkMessage } from 'netlink/dist/structs.js';
import { requireLength } from './attributes.ts';
import { RTM_DELLINK, RTM_NEWLINK } from './link-message.ts';
import { splitMessages } from './netlink-reply.ts';
import { decodeRouteBrief, type RouteBrief } from './route-brief.ts';
import { RTM_DELROUTE, RTM_NEWROUTE } from './route-message.ts';
import { RTM_DELQDISC, RTM_DELTFILTER, RTM_NEWQDISC, RTM_NEWTFILTER } from './tc-message.ts';

/** A route that came, was deleted, or took the place of another one with its table, destination and metric. */
export interface RouteEvent {
  readonly kind: 'route';
  readonly change: 'added' | 'deleted' | 'replaced';
  readonly route: RouteBrief;
}

/** A device that came, went or changed: one that is not up has no routes. */
export interface LinkEvent {
  readonly kind: 'link';
  readonly ifindex: number;
  readonly isUp: boolean;
}

/**
 * Something that came, went or changed. `nexthop` is of a nexthop object: any routes may lead elsewhere now. `lost` stands for
 * any number of unknown events.
 */
export type RtEvent =
  | LinkEvent
  | RouteEvent
  | { readonly kind: 'qdisc' | 'filter'; readonly ifindex: number }
  | { readonly kind: 'nexthop' }
  | { readonly kind: 'lost' };

/** linux/rtnetlink.h. */
const RTM_NEWNEXTHOP = 104;
const RTM_DELNEXTHOP = 105;

/** Both struct ifinfomsg and struct tcmsg have the index here. */
const INDEX_OFFSET = 4;
/** In struct ifinfomsg. */
const FLAGS_OFFSET = 8;
const IFF_UP = 1;

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
      requireLength('link event', data, FLAGS_OFFSET + 4);
      return {
        kind: 'link',
        ifindex: data.readInt32LE(INDEX_OFFSET),
        isUp: (data.readUInt32LE(FLAGS_OFFSET) & IFF_UP) !== 0,
      };
    case RTM_NEWQDISC:
    case RTM_DELQDISC:
      requireLength('qdisc event', data, INDEX_OFFSET + 4);
      return { kind: 'qdisc', ifindex: data.readInt32LE(INDEX_OFFSET) };
    case RTM_NEWTFILTER:
    case RTM_DELTFILTER:
      requireLength('filter event', data, INDEX_OFFSET + 4);
      return { kind: 'filter', ifindex: data.readInt32LE(INDEX_OFFSET) };
    case RTM_NEWNEXTHOP:
    case RTM_DELNEXTHOP:
      return { kind: 'nexthop' };
    default:
      return undefined;
  }
}

/** The events of one datagram; messages of other types are passed over. Throws WireError for what is none. */
export function decodeRtEvents(datagram: Buffer): RtEvent[] {
  return splitMessages(datagram).flatMap((message) => decodeEvent(message) ?? []);
}
