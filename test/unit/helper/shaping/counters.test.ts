import test from 'ava';
import { directionCountersOf } from '../../../../helper/shaping/counters.ts';
import { sumAggregateCounters, type AggregateCounters } from '../../../../helper/wire/aggregate.ts';

const NONE = sumAggregateCounters([]);

function throttledOf(byCpu: readonly bigint[], throttlingNs: number): number | undefined {
  const values = byCpu.map((throttledNs, cpu): [number, AggregateCounters] => [
    cpu,
    { ...NONE, throttledNs },
  ]);
  const ahead = { backlogNs: throttlingNs + 250_000, throttlingNs };
  return directionCountersOf(new Map(values), ahead, false).total.throttledNs;
}

test('throttled time is that of all CPUs without what is still to come', (t) => {
  t.is(throttledOf([3_000_000_000n, 40_000_000n], 0), 3_040_000_000);
  t.is(throttledOf([3_000_000_000n, 40_000_000n], 40_000_000), 3_000_000_000);
});

test('counters that began anew while the clock went on tell of no time below zero', (t) => {
  t.is(throttledOf([1_000_000n], 40_000_000), 0);
  t.is(throttledOf([], 40_000_000), 0);
});
