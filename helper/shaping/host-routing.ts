// Host routing: which map entries an attachment has, and on which uplinks packets to pods are taken
// in. Pure.

import {
  encodePodAddress,
  encodePodAddressKey,
  encodeRoutedPod,
  interfaceOfPodAddress,
} from '../wire/routing.ts';
import { INTERFACE_KEY } from '../wire/aggregate.ts';
import type { Exit } from './exits.ts';
import { hostInterfacesOf, type AttachmentRecord, type HostInterfaceRecord } from './records.ts';

export const ROUTING_MAPS = ['routedPods', 'podAddresses'] as const;

export type RoutingMap = (typeof ROUTING_MAPS)[number];

/** An entry of one of the maps. */
export interface RoutingEntry {
  readonly map: RoutingMap;
  readonly key: Buffer;
  readonly value: Buffer;
}

/** Names an entry in both maps. */
export function routingKeyOf({ map, key }: Pick<RoutingEntry, 'map' | 'key'>): string {
  return `${map}/${key.toString('hex')}`;
}

/** Where the maps tell of the pod behind a host interface. */
export function routedPodKey(ifindex: number): Buffer {
  return INTERFACE_KEY.encode(ifindex);
}

/** What the maps must hold for an attachment; nothing without host routing. */
export function routingEntries(record: AttachmentRecord): RoutingEntry[] {
  const isShaped = record.ingressAggregateId !== undefined;
  return hostInterfacesOf(record).flatMap((one) => entriesOf(one, isShaped));
}

function entriesOf(
  { hostRouting, hostInterfaceIndex: ifindex }: HostInterfaceRecord,
  isShaped: boolean,
): RoutingEntry[] {
  if (hostRouting === undefined) return [];
  const { addresses, mac, hostMac } = hostRouting;
  const macs = mac === undefined || hostMac === undefined ? {} : { macs: [mac, hostMac] as const };
  return [
    { map: 'routedPods', key: routedPodKey(ifindex), value: encodeRoutedPod(addresses) },
    ...addresses.map((address) => ({
      map: 'podAddresses' as const,
      key: encodePodAddressKey(address),
      value: encodePodAddress({ ifindex, isShaped, ...macs }),
    })),
  ];
}

/** The host interface that an entry is of. */
export function interfaceOfEntry({ map, key, value }: RoutingEntry): number {
  return map === 'routedPods' ? INTERFACE_KEY.decode(key) : interfaceOfPodAddress(value);
}

/**
 * Whether packets to pods can be taken in on an exit before the stack sees them: on ways off the
 * node that carry frames.
 */
export function isArrival({ role, hasFrames }: Exit): boolean {
  return role === 'uplink' && hasFrames;
}
