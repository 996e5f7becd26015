// Notifications of rtnetlink (man 7 rtnetlink): which device is concerned. Pure.

import { WireError } from './attributes.ts';
import { RTM_DELLINK, RTM_NEWLINK } from './link-message.ts';
import { splitMessages } from './netlink-reply.ts';
import { RTM_DELROUTE, RTM_NEWROUTE, decodeRouteDevices } from './route-message.ts';
import { RTM_DELQDISC, RTM_NEWQDISC } from './tc-message.ts';

/** Something that came, went or changed. `lost` stands for any number of unknown events. */
export type RtEvent =
  { readonly kind: 'link' | 'qdisc' | 'route'; readonly ifindex: number } | { readonly kind: 'lost' };

const KINDS: ReadonlyMap<number, 'link' | 'qdisc' | 'route'> = new Map([
  [RTM_NEWLINK, 'link'],
  [RTM_DELLINK, 'link'],
  [RTM_NEWQDISC, 'qdisc'],
  [RTM_DELQDISC, 'qdisc'],
  [RTM_NEWROUTE, 'route'],
  [RTM_DELROUTE, 'route'],
]);

/** Both struct ifinfomsg and struct tcmsg have the index here. */
const INDEX_OFFSET = 4;

function devicesOf(kind: 'link' | 'qdisc' | 'route', payload: Buffer): readonly number[] {
  if (kind === 'route') return decodeRouteDevices(payload);
  if (payload.length < INDEX_OFFSET + 4) throw new WireError(`Cannot decode event: ${payload.length} bytes`);
  return [payload.readInt32LE(INDEX_OFFSET)];
}

/** The events of one datagram; messages of other types are passed over. Throws WireError for what is none. */
export function decodeRtEvents(datagram: Buffer): RtEvent[] {
  return splitMessages(datagram).flatMap(({ type, data }) => {
    const kind = KINDS.get(type);
    return kind === undefined ? [] : devicesOf(kind, data).map((ifindex) => ({ kind, ifindex }));
  });
}
