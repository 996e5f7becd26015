// Segment offload of the pod's own interface, which is in the pod's namespace. Best effort: a pod's
// cap holds without.

import { effectiveCapIn } from '../shaping/effective.ts';
import { applyStep } from './apply.ts';
import type { LoggingNode } from './enforcement.ts';
import { exemptionListsOf } from '../shaping/exemptions.ts';
import { planOffload, type DesiredOffload, type ObservedOffload } from '../shaping/gso.ts';
import { withPodEnd } from './pod-end.ts';
import { hostInterfacesOf, type AttachmentRecord, type LimitedGso } from '../shaping/records.ts';

/** What a record limits the interfaces of its pod by: exempt packets go at full speed by the same. */
function limitingRate(
  { defaults, exempt }: LoggingNode,
  record: AttachmentRecord | undefined,
): number | undefined {
  if (record === undefined || exemptionListsOf(record, exempt) !== 0) return undefined;
  return effectiveCapIn(record, 'egress', defaults)?.rateBitsPerSec;
}

/** The interface as it is, beside what a record says of it; undefined when it is gone. */
async function observeOffload(
  end: DesiredOffload,
  gso: LimitedGso | undefined,
): Promise<ReadonlyMap<number, ObservedOffload>> {
  const found = new Map<number, ObservedOffload>();
  await withPodEnd(end, async (_rt, { mtu: mtuBytes, ...limits }) => {
    const observed = { limits, mtuBytes, ...(gso !== undefined && { gso }) };
    found.set(end.hostInterfaceIndex, observed);
  });
  return found;
}

/** Brings one interface from what it has to what it is to have. */
async function bringTo(
  { datapath, store }: LoggingNode,
  offload: DesiredOffload,
  gso: LimitedGso | undefined,
): Promise<void> {
  const observed = { offload: await observeOffload(offload, gso) };
  for (const step of planOffload({ offload: [offload] }, observed))
    await applyStep(datapath, store, step);
}

/**
 * Limits the interfaces of a pod at its egress cap, in place of those of its former record. Failing
 * is only logged.
 */
export async function limitGsoAtCap(
  node: LoggingNode,
  former: AttachmentRecord | undefined,
  next: AttachmentRecord,
): Promise<void> {
  const [formerRate, rateBitsPerSec] = [limitingRate(node, former), limitingRate(node, next)];
  const isLimited = hostInterfacesOf(next).some(({ gso }) => gso !== undefined);
  if (formerRate === undefined && rateBitsPerSec === undefined && !isLimited) return;
  const { containerId, ifname, sandbox } = next;
  for (const { podInterface, hostInterfaceIndex, gso } of hostInterfacesOf(next)) {
    const end = { sandbox, podInterface, hostInterfaceIndex };
    const key = { containerId, ifname };
    try {
      await bringTo(node, { ...end, key, formerRate, rateBitsPerSec }, gso);
    } catch (error) {
      const what = `Cannot limit segment offload of ${podInterface} in ${sandbox}`;
      node.log('warn', `${what}: ${(error as Error).message}; the cap holds, in larger steps`);
    }
  }
}

/** Gives a pod that may be gone what its interfaces had before. */
export async function giveGsoBack(node: LoggingNode, record: AttachmentRecord): Promise<void> {
  const cap = effectiveCapIn(record, 'egress', node.defaults);
  const formerRate = limitingRate(node, record);
  const { sandbox } = record;
  for (const { podInterface, hostInterfaceIndex, gso } of hostInterfacesOf(record)) {
    if (cap === undefined && gso === undefined) continue;
    const end = { sandbox, podInterface, hostInterfaceIndex };
    try {
      await bringTo(node, { ...end, formerRate, rateBitsPerSec: undefined }, gso);
    } catch {
      // With its namespace the interface is gone, or about to be.
    }
  }
}
