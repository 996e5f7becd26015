// Aggregates: what shares one cap. Attachments name theirs, one for each direction that is capped;
// what an aggregate holds follows from them. Pure.

import type { Direction } from '../protocol/messages.ts';
import { AGGREGATE_ID_NONE, type AggregateConfig } from '../wire/aggregate.ts';
import { NODE_LIST } from '../wire/exemption.ts';
import { aggregateIdsInUse } from './aggregate-ids.ts';
import { aggregateIdOf, DIRECTIONS, effectiveCapIn } from './effective.ts';
import { exemptionListsOf } from './exemptions.ts';
import type { AttachmentScope } from './judgement.ts';
import { aggregateConfigOf, type NodeSettings } from './rates.ts';
import type { AttachmentRecord, Change } from './records.ts';

export interface Aggregate {
  readonly id: number;
  readonly config: AggregateConfig;
  /** Its list of exempt addresses, empty where it has none. */
  readonly exempt: readonly string[];
  /** Who shares it, at least one. */
  readonly members: readonly AttachmentScope[];
  /** Handed out just now: it begins empty. */
  readonly isNew: boolean;
}

/** By their ids. */
export type Aggregates = ReadonlyMap<number, Aggregate>;

/** Aggregates that a change hands out. */
function newIdsOf({ former, next }: Change): number[] {
  if (next === undefined) return [];
  const known = aggregateIdsInUse(former === undefined ? [] : [former]);
  return [...aggregateIdsInUse([next])].filter((id) => !known.has(id));
}

/**
 * The aggregates of some attachments, which change as `changes` says. What members share is as the
 * first of them has it.
 */
export function aggregatesOf(
  attachments: readonly AttachmentRecord[],
  { defaults, exempt: nodeExempt }: NodeSettings,
  changes: readonly Change[] = [],
): Aggregates {
  const fresh = new Set(changes.flatMap(newIdsOf));
  const aggregates = new Map<number, Aggregate>();
  for (const record of attachments) {
    for (const direction of DIRECTIONS) {
      const id = aggregateIdOf(record, direction);
      const cap = effectiveCapIn(record, direction, defaults);
      if (id === undefined || cap === undefined) continue;
      const config = aggregateConfigOf(cap, exemptionListsOf(record, nodeExempt));
      const own = { id, config, exempt: record.exempt ?? [], isNew: fresh.has(id) };
      const member = { of: 'attachment', key: record, direction } as const;
      const known = aggregates.get(id);
      aggregates.set(
        id,
        known === undefined
          ? { ...own, members: [member] }
          : { ...known, isNew: false, members: [...known.members, member] },
      );
    }
  }
  return aggregates;
}

/** Attachments by the aggregate that they share in a direction. */
export function sharersByAggregate(
  attachments: readonly AttachmentRecord[],
  direction: Direction,
): Map<number, readonly AttachmentRecord[]> {
  const sharers = Map.groupBy(
    attachments,
    (record) => aggregateIdOf(record, direction) ?? AGGREGATE_ID_NONE,
  );
  sharers.delete(AGGREGATE_ID_NONE);
  return sharers;
}

/** What each list has to hold: the node's, and those of aggregates. Empty ones are in it too. */
export function exemptionLists({
  aggregates,
  exempt,
}: {
  readonly aggregates: Aggregates;
  readonly exempt: readonly string[];
}): Map<number, readonly string[]> {
  const own = [...aggregates.values()].map(({ id, exempt: texts }) => [id, texts] as const);
  return new Map([[NODE_LIST, exempt], ...own]);
}
