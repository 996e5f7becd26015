import test from 'ava';
import { capMbit, judge, SCENARIOS } from '../../bench/lab-limits.ts';
import type { Measurement, Scenario } from '../../bench/lab-limits.ts';

const GOOD: Readonly<Record<Scenario, readonly [goodputMbit: number, firstSecondMbit: number]>> = {
  '10M': [9.56, 10.1],
  '100M': [95.6, 100.4],
  uncapped: [2000, 2000],
  'together-10M': [9.4, 10.5],
  'together-100M': [94.0, 101],
  'together-uncapped': [330, 400],
};

function measurements(
  changes: Partial<Record<Scenario, Partial<Measurement>>> = {},
): Measurement[] {
  return SCENARIOS.map((scenario) => {
    const [goodputMbit, firstSecondMbit] = GOOD[scenario];
    return {
      scenario,
      system: 'podpace',
      goodputMbit,
      firstSecondMbit,
      retransmits: 0,
      ...changes[scenario],
    };
  });
}

const missed = (list: readonly Measurement[]): string[] =>
  judge(list)
    .filter(({ met }) => !met)
    .map(({ text }) => text);

test('every scenario has its cap', (t) => {
  t.deepEqual(SCENARIOS.map(capMbit), [10, 100, undefined, 10, 100, undefined]);
});

test('figures on the limits are within them', (t) => {
  t.deepEqual(missed(measurements()), []);
});

test('goodput may be neither below nor above', (t) => {
  t.deepEqual(missed(measurements({ '10M': { goodputMbit: 9.39 } })), [
    '10M: goodput 9.39 Mbit/s, must be 9.40 to 9.60',
  ]);
  t.deepEqual(missed(measurements({ 'together-100M': { goodputMbit: 95.71 } })), [
    'together-100M: goodput 95.71 Mbit/s, must be 94.00 to 95.70',
  ]);
});

test('a first second above its limit is a miss', (t) => {
  t.deepEqual(missed(measurements({ '10M': { firstSecondMbit: 1510 } })), [
    '10M: first second 1510.00 Mbit/s, must be at most 10.50',
  ]);
});

test('the uncapped pod must have three times the sum of the caps beside the others', (t) => {
  t.deepEqual(missed(measurements({ 'together-uncapped': { goodputMbit: 329 } })), [
    'together-uncapped: goodput 329 Mbit/s, must be at least 330 (3 times the sum of the caps)',
  ]);
});

test('what was not measured is a miss, and the other system does not stand in for it', (t) => {
  const others = measurements().map((each): Measurement => ({ ...each, system: 'tbf' }));
  t.is(missed(others).length, SCENARIOS.length);
  t.true(missed(others).includes('10M: not measured'));
});
