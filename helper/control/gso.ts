// Segment offload of pods' own interfaces as it is, in their namespaces.

import type { DesiredOffload, ObservedOffload } from '../shaping/gso.ts';
import { hostInterfacesOf, type AttachmentRecord } from '../shaping/records.ts';
import { withPodEnd } from './pod-end.ts';

/**
 * The interfaces that are there, each beside what its record says of it, or why it cannot be looked
 * at.
 */
export async function observeOffload(
  desired: readonly DesiredOffload[],
  records: readonly AttachmentRecord[],
): Promise<ReadonlyMap<number, ObservedOffload | Error>> {
  const ways = records.flatMap(hostInterfacesOf);
  const told = new Map(ways.map(({ hostInterfaceIndex, gso }) => [hostInterfaceIndex, gso]));
  const found = new Map<number, ObservedOffload | Error>();
  for (const { hostInterfaceIndex: ifindex, ...end } of desired) {
    const gso = told.get(ifindex);
    try {
      await withPodEnd(
        { ...end, hostInterfaceIndex: ifindex },
        async (_rt, { mtu: mtuBytes, ...limits }) =>
          void found.set(ifindex, { limits, mtuBytes, ...(gso !== undefined && { gso }) }),
      );
    } catch (error) {
      found.set(ifindex, error as Error);
    }
  }
  return found;
}
