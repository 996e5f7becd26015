// The caps of an attachment as they are in force: what ADD asked for, with what `set` has changed
// since. Pure.

import type {
  CapChanges,
  Direction,
  EffectiveCap,
  EffectiveCaps,
  SetParams,
} from '../protocol/messages.ts';
import { nameOf } from '../protocol/pod-names.ts';
import { CAP_RANGES } from '../protocol/ranges.ts';
import { ShapingError } from './failure.ts';
import { contradictionIn, effectiveCapOf, type NodeDefaults } from './rates.ts';
import type { AttachmentRecord } from './records.ts';

export { DIRECTIONS } from '../protocol/requests.ts';

/** The aggregate of one direction; undefined when it is not capped. */
export function aggregateIdOf(record: AttachmentRecord, direction: Direction): number | undefined {
  return direction === 'egress' ? record.egressAggregateId : record.ingressAggregateId;
}

/** How one direction is paced; undefined when it is not capped. */
export function effectiveCapIn(
  { caps, changes }: Pick<AttachmentRecord, 'caps' | 'changes'>,
  direction: Direction,
  defaults: NodeDefaults,
): EffectiveCap | undefined {
  return effectiveCapOf(caps[direction], changes?.[direction] ?? {}, defaults, direction);
}

/** How both directions are paced. */
export function effectiveCapsOf(
  record: Pick<AttachmentRecord, 'caps' | 'changes'>,
  defaults: NodeDefaults,
): EffectiveCaps {
  const egress = effectiveCapIn(record, 'egress', defaults);
  const ingress = effectiveCapIn(record, 'ingress', defaults);
  return {
    ...(egress === undefined ? {} : { egress }),
    ...(ingress === undefined ? {} : { ingress }),
  };
}

function mergeChanges(former: CapChanges, wanted: SetParams['changes']): CapChanges {
  const merged: { -readonly [K in keyof CapChanges]: CapChanges[K] } = {};
  for (const name of Object.keys(CAP_RANGES) as (keyof CapChanges)[]) {
    const value = wanted[name] === undefined ? former[name] : wanted[name];
    if (value !== undefined && value !== null) merged[name] = value;
  }
  return merged;
}

/**
 * The record after a `set`, without aggregate ids for directions that had none. Throws ShapingError
 * `bad-value` when the direction cannot be paced that way.
 */
export function applySet(
  record: AttachmentRecord,
  params: SetParams,
  defaults: NodeDefaults,
): AttachmentRecord {
  const { direction, reset = false } = params;
  const former = reset ? {} : (record.changes?.[direction] ?? {});
  const merged = mergeChanges(former, params.changes);
  const { [direction]: _replaced, ...others } = record.changes ?? {};
  const changes = Object.keys(merged).length === 0 ? others : { ...others, [direction]: merged };
  const { changes: _former, ...rest } = record;
  const next = Object.keys(changes).length === 0 ? rest : { ...rest, changes };

  const cap = effectiveCapIn(next, direction, defaults);
  const place = `${direction} of ${nameOf(record)}`;
  if (cap === undefined) {
    if (Object.keys(merged).length === 0) return next;
    throw new ShapingError(
      'bad-value',
      `Cannot change the ${place}: it has no cap`,
      'set a rate as well',
    );
  }
  const contradiction = contradictionIn(cap);
  if (contradiction === undefined) return next;
  throw new ShapingError(
    'bad-value',
    `Cannot change the ${place}: ${contradiction}`,
    'the target must be below the horizon, and the interval at least the target',
  );
}
