import test from 'ava';
import { History, quantileNs, STEPS, type Reading } from '../../../../helper/shaping/history.ts';

const SOJOURN = Array.from({ length: 16 }, () => 0);

/** Of a pod that sends 1.25 MB a step, throttled for 3 s of each, all packets in one bucket. */
function reading(step: number, more: Partial<Reading> = {}): Reading {
  return {
    ...{ step, atNs: step * 10e9, owner: 'a' },
    ...{ bytes: step * 1_250_000, throttledNs: step * 3e9 },
    sojourn: SOJOURN.with(9, step * 1000),
    ...more,
  };
}

function historyOf(...readings: readonly Reading[]): History {
  const history = new History();
  for (const each of readings) history.add(each);
  return history;
}

const stepsOf = (history: History): number[] => history.last(STEPS).map(({ step }) => step);

test('a quantile lies where its rank lies in its bucket', (t) => {
  t.is(quantileNs(SOJOURN, 0.5), undefined);
  // 100 packets between 2^24 and 2^25 ns: their median is in the middle.
  t.is(quantileNs(SOJOURN.with(9, 100), 0.5), 1.5 * 2 ** 24);
  t.is(quantileNs(SOJOURN.with(0, 100), 0.5), 2 ** 15);
  t.is(quantileNs(SOJOURN.with(0, 90).with(2, 10), 0.95), 1.5 * 2 ** 17);
});

test('a step is what was counted in it', (t) => {
  const [step, ...others] = historyOf(reading(7), reading(8)).last(STEPS);
  t.is(others.length, 0);
  t.like(step, { step: 8, bytesPerSec: 125_000, throttledSeconds: 3, p50Ns: 1.5 * 2 ** 24 });
});

test('a step without packets has no sojourn', (t) => {
  const [step] = historyOf(reading(1), { ...reading(1), step: 2, atNs: 20e9 }).last(1);
  t.deepEqual(step, { step: 2, bytesPerSec: 0, throttledSeconds: 0 });
});

test('what is not the difference of two readings in a row is unknown', (t) => {
  t.deepEqual(stepsOf(historyOf(reading(5))), []);
  t.deepEqual(stepsOf(historyOf(reading(5), reading(7), reading(8))), [8]);
  // Counters that began anew, and an id that is another's.
  t.deepEqual(stepsOf(historyOf(reading(5), reading(6, { bytes: 0, sojourn: SOJOURN }))), []);
  t.deepEqual(stepsOf(historyOf(reading(5), reading(6), reading(7, { owner: 'b' }))), []);
  // A clock that does not go on, and the same step twice.
  t.deepEqual(stepsOf(historyOf(reading(5), reading(6, { atNs: 50e9 }))), []);
  t.deepEqual(stepsOf(historyOf(reading(5), reading(6), reading(6), reading(7))), [6, 7]);
});

test('an hour is kept, and no step comes back from the hour before', (t) => {
  const all = Array.from({ length: STEPS + 50 }, (_, step) => reading(step));
  const history = historyOf(...all);
  t.is(stepsOf(history).length, STEPS);
  t.is(stepsOf(history)[0], 50);
  t.deepEqual(
    history.last(2).map(({ step }) => step),
    [408, 409],
  );
  history.add(reading(500));
  t.deepEqual(stepsOf(history).at(-1), 409);
  history.add(reading(2000));
  t.deepEqual(stepsOf(history), []);
});
