// A cap that is taken off a running pod. What waits in fq has a departure time, and what is sent
// without a cap has none and would overtake it. So the aggregate is opened first: what comes then
// departs with the last of those that wait, in their order. Pure.

import type { CapChanges, Direction, EffectiveCap } from '../protocol/messages.ts';
import { CAP_RANGES, MAX_HORIZON_NS } from '../protocol/ranges.ts';
import { aggregateIdOf, DIRECTIONS, effectiveCapIn } from './effective.ts';
import type { NodeDefaults } from './rates.ts';
import type { AttachmentRecord } from './records.ts';

/** A record whose aggregates hold nothing new, and the ids of these. */
export interface Opened {
  readonly record: AttachmentRecord;
  readonly aggregateIds: readonly number[];
}

/** Faster than any device, and nothing is dropped that would not be now. */
function openedCap({ horizonNs }: EffectiveCap): CapChanges {
  const [, rateBitsPerSec] = CAP_RANGES.rateBitsPerSec;
  return { rateBitsPerSec, horizonNs: Math.min(horizonNs, MAX_HORIZON_NS), aqmTargetNs: 0 };
}

/**
 * What is to be in force, until nothing waits any more, before `next` is in the place of `former`:
 * directions that go on without a cap are open. Undefined where there are none.
 */
export function openedFor(
  former: AttachmentRecord,
  next: AttachmentRecord,
  defaults: NodeDefaults,
): Opened | undefined {
  const changes: Partial<Record<Direction, CapChanges>> = { ...former.changes };
  const aggregateIds: number[] = [];
  for (const direction of DIRECTIONS) {
    const cap = effectiveCapIn(former, direction, defaults);
    const aggregateId = aggregateIdOf(former, direction);
    if (cap === undefined || aggregateId === undefined) continue;
    if (effectiveCapIn(next, direction, defaults) !== undefined) continue;
    changes[direction] = openedCap(cap);
    aggregateIds.push(aggregateId);
  }
  return aggregateIds.length === 0 ? undefined : { record: { ...former, changes }, aggregateIds };
}
