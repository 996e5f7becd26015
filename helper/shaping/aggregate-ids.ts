// Which numbers travel in skb->queue_mapping.

import {
  AGGREGATE_COUNT,
  AGGREGATE_ID_MIN,
  AGGREGATE_ID_NONE,
  aggregatePage,
  AGGREGATES_PER_PAGE,
  type HostInterface,
} from '../wire/aggregate.ts';
import type { AttachmentRecord } from './records.ts';

/** A host interface for which the kernel holds caps that no record speaks of (orphans.ts). */
export interface Orphan extends HostInterface {
  readonly ifindex: number;
  readonly name: string;
}

/** Aggregates that orphans have: they are in use, and everything that belongs to them stays. */
export function aggregateIdsOf(orphans: Iterable<Orphan>): number[] {
  return [...orphans]
    .flatMap(({ egressId, ingressId }) => [egressId, ingressId])
    .filter((id) => id !== AGGREGATE_ID_NONE);
}

/** Every aggregate id that some attachment holds, known or not. */
export function aggregateIdsInUse(
  attachments: Iterable<AttachmentRecord>,
  orphans: Iterable<Orphan> = [],
): Set<number> {
  const ids = new Set(aggregateIdsOf(orphans));
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

/** How many pages, from the first on, have room for so many more aggregates than are in use. */
function pagesWithRoom({ size }: ReadonlySet<number>, more: number): number {
  return Math.min(
    Math.ceil((size + more) / AGGREGATES_PER_PAGE),
    AGGREGATE_COUNT / AGGREGATES_PER_PAGE,
  );
}

/**
 * Pages to have: those in use, and one ahead of those that are next. To make one takes a grace
 * period of the kernel, for which no pod should have to wait.
 */
export function pagesToHave(inUse: ReadonlySet<number>): Set<number> {
  const first = Array.from(
    { length: pagesWithRoom(inUse, AGGREGATES_PER_PAGE * 1.5) },
    (_, page) => page,
  );
  return new Set([...first, ...[...inUse].map(aggregatePage)]);
}

/**
 * The next free id after `previous`, going round. Going round keeps a just-freed id unused for a
 * while, so that a packet still under way with it is not charged to a newcomer: for half a page of
 * others at least, until nearly all are taken. It goes round as few pages as that needs: each takes
 * memory. Undefined when all are taken.
 */
export function nextAggregateId(
  inUse: ReadonlySet<number>,
  previous: number | undefined,
): number | undefined {
  const round = pagesWithRoom(inUse, AGGREGATES_PER_PAGE / 2) * AGGREGATES_PER_PAGE;
  const first = previous === undefined ? 0 : previous - AGGREGATE_ID_MIN + 1;
  for (let step = 0; step < round; step += 1) {
    const id = AGGREGATE_ID_MIN + ((first + step) % round);
    if (!inUse.has(id)) return id;
  }
  return undefined;
}
