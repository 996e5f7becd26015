import test from 'ava';
import fc from 'fast-check';
import { CallBudget } from '../../../cni/budget.ts';

/**
 * What the process of an ADD takes whose helper never answers: so much before it asks, its start
 * included, then attach and detach to their ends.
 */
function lengthMs(beforeMs: number): number {
  let now = beforeMs;
  const budget = new CallBudget(() => now);
  now += budget.attachMs();
  now += budget.detachMs();
  return now;
}

test('beside a silent helper ADD keeps to its time, whatever it took before', (t) => {
  t.is(lengthMs(0), 4500);
  t.is(lengthMs(500), 4500);
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 1000 }), (beforeMs) => {
      t.true(lengthMs(beforeMs) <= 4500);
    }),
  );
});

test('however long IPAM took, the helper gets time to answer', (t) => {
  const budget = new CallBudget(() => 60_000);
  t.is(budget.attachMs(), 3000);
  t.is(budget.detachMs(), 500);
});

test('CHECK, which undoes nothing, waits as long as ADD takes, and at least 3 s', (t) => {
  t.is(new CallBudget(() => 300).checkMs(), 4200);
  t.is(new CallBudget(() => 60_000).checkMs(), 3000);
});

test('a helper that refuses at once leaves no more than it takes to undoing', (t) => {
  t.is(new CallBudget(() => 0).detachMs(), 1000);
});
