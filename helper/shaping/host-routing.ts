// Host routing: which map entries an attachment has, and on which uplinks packets to pods are taken
// in. Pure.

import {
  encodePodAddress,
  encodePodAddressKey,
  encodeRoutedPod,
  interfaceOfPodAddress,
} from '../wire/routing.ts';
import { decodeInterfaceKey, encodeInterfaceKey } from '../wire/aggregate.ts';
import type { Exit } from './exits.ts';
import { hostInterfacesOf, type AttachmentRecord, type HostInterfaceRecord } from './records.ts';

export type RoutingMap = 'routedPods' | 'podAddresses';

/** An entry of one of the maps: key and value with a character for each byte. */
export interface RoutingEntry {
  readonly map: RoutingMap;
  readonly key: string;
  readonly value: string;
}

/** Names an entry in both maps. */
export function routingKeyOf({ map, key }: Pick<RoutingEntry, 'map' | 'key'>): string {
  return `${map}/${key}`;
}

function entry(map: RoutingMap, key: Buffer, value: Buffer): RoutingEntry {
  return { map, key: key.toString('latin1'), value: value.toString('latin1') };
}

/** Where the maps tell of the pod behind a host interface. */
export function routedPodPlace(ifindex: number): Pick<RoutingEntry, 'map' | 'key'> {
  return { map: 'routedPods', key: encodeInterfaceKey(ifindex).toString('latin1') };
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
    entry('routedPods', encodeInterfaceKey(ifindex), encodeRoutedPod(addresses)),
    ...addresses.map((address) =>
      entry(
        'podAddresses',
        encodePodAddressKey(address),
        encodePodAddress({ ifindex, isShaped, ...macs }),
      ),
    ),
  ];
}

/** The host interface that an entry is of. */
export function interfaceOfEntry({ map, key, value }: RoutingEntry): number {
  return map === 'routedPods'
    ? decodeInterfaceKey(Buffer.from(key, 'latin1'))
    : interfaceOfPodAddress(Buffer.from(value, 'latin1'));
}

/**
 * Whether packets to pods can be taken in on an exit before the stack sees them: on ways off the
 * node that carry frames.
 */
export function isArrival({ role, hasFrames }: Exit): boolean {
  return role === 'uplink' && hasFrames;
}
