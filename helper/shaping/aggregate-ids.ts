// Which numbers travel in skb->queue_mapping.

import { AGGREGATE_ID_MAX, AGGREGATE_ID_MIN } from '../wire/aggregate.ts';
import type { AttachmentRecord } from './records.ts';

/** Every aggregate id that some attachment holds. */
export function aggregateIdsInUse(attachments: Iterable<AttachmentRecord>): Set<number> {
  const ids = new Set<number>();
  for (const { egressAggregateId, ingressAggregateId } of attachments) {
    if (egressAggregateId !== undefined) ids.add(egressAggregateId);
    if (ingressAggregateId !== undefined) ids.add(ingressAggregateId);
  }
  return ids;
}

/**
 * The next free id after `previous`, going round. Going round keeps a just-freed id unused for long, so that a
 * packet still under way with it can never be charged to a newcomer. Undefined when all are taken.
 */
export function nextAggregateId(
  inUse: ReadonlySet<number>,
  previous: number | undefined,
): number | undefined {
  const count = AGGREGATE_ID_MAX - AGGREGATE_ID_MIN + 1;
  const first = previous === undefined ? 0 : previous - AGGREGATE_ID_MIN + 1;
  for (let step = 0; step < count; step += 1) {
    const id = AGGREGATE_ID_MIN + ((first + step) % count);
    if (!inUse.has(id)) return id;
  }
  return undefined;
}
