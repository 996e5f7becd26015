// Counters of the datapath as the protocol sends them. Pure.

import type {
  AttachmentCounters,
  Counters,
  Direction,
  DirectionCounters,
  EffectiveCaps,
} from '../protocol/messages.ts';
import {
  eachCounter,
  sumAggregateCounters,
  type AggregateCounters,
  type CounterName,
} from '../wire/aggregate.ts';

/** An attachment with its counters, and what they are to be read with. */
export interface Measured extends AttachmentCounters {
  /** As in its record: of two sandboxes of one name the later is the newer. */
  readonly addedAt?: string;
  readonly effective: EffectiveCaps;
  /** Directions that something wrong concerns. */
  readonly notEnforced: readonly Direction[];
}

function countersOf(counters: AggregateCounters): Counters & Record<CounterName, number> {
  return {
    ...eachCounter((name) => Number(counters[name])),
    sojourn: counters.sojourn.map(Number),
  };
}

/** What an aggregate's clock is ahead of now. */
export interface ClockAhead {
  /** How long a packet of the bulk that comes now would wait. */
  readonly backlogNs: number;
  /** For how long from now on one that comes would wait for more than the idle credit. */
  readonly throttlingNs: number;
}

/**
 * Counters of one aggregate, from those of its CPUs, and what its clock was ahead just before they
 * were read: time that has yet to pass is not told of as throttled.
 */
export function directionCountersOf(
  byCpu: ReadonlyMap<number, AggregateCounters>,
  { backlogNs, throttlingNs }: ClockAhead,
  isPerCpu: boolean,
): DirectionCounters {
  const counted = countersOf(sumAggregateCounters([...byCpu.values()]));
  const total = { ...counted, throttledNs: Math.max(0, counted.throttledNs - throttlingNs) };
  if (!isPerCpu) return { total, backlogNs };
  const perCpu: Record<string, Record<string, number>> = {};
  for (const [cpu, counters] of byCpu) {
    const { sojourn: _histogram, ...words } = countersOf(counters);
    const seen = Object.entries(words).filter(([, count]) => count !== 0);
    if (seen.length > 0) perCpu[cpu] = Object.fromEntries(seen);
  }
  return { total, perCpu, backlogNs };
}

/**
 * The time that a share of the accepted packets waited less than, in ns, from the histogram: exact
 * to a factor of two. Undefined when no packet was accepted.
 */
export function sojournQuantileNs({ sojourn }: Counters, share: number): number | undefined {
  const total = sojourn.reduce((sum, count) => sum + count, 0);
  let below = 0;
  for (const [bucket, count] of sojourn.entries()) {
    below += count;
    if (count > 0 && below >= total * share) return 2 ** (16 + bucket);
  }
  return undefined;
}
