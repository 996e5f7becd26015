// Which numbers travel in skb->queue_mapping.

import { AGGREGATE_COUNT, AGGREGATE_ID_MIN, AGGREGATES_PER_PAGE } from '../wire/aggregate.ts';
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

/** The aggregates of a page, as people are told of them: `4096 to 4159`. */
export function aggregatesOf(page: number): string {
  const first = AGGREGATE_ID_MIN + page * AGGREGATES_PER_PAGE;
  return `${first} to ${first + AGGREGATES_PER_PAGE - 1}`;
}

/**
 * The next free id after `previous`, going round. Going round keeps a just-freed id unused for a while, so that a
 * packet still under way with it is not charged to a newcomer: for half a page of others at least, until nearly all are
 * taken. It goes round as few pages as that needs: each takes memory. Undefined when all are taken.
 */
export function nextAggregateId(
  inUse: ReadonlySet<number>,
  previous: number | undefined,
): number | undefined {
  const pages = Math.ceil((inUse.size + AGGREGATES_PER_PAGE / 2) / AGGREGATES_PER_PAGE);
  const round = Math.min(pages * AGGREGATES_PER_PAGE, AGGREGATE_COUNT);
  const first = previous === undefined ? 0 : previous - AGGREGATE_ID_MIN + 1;
  for (let step = 0; step < round; step += 1) {
    const id = AGGREGATE_ID_MIN + ((first + step) % round);
    if (!inUse.has(id)) return id;
  }
  return undefined;
}
