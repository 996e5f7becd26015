import test from 'ava';
import { HISTORY_STEPS as STEPS } from '../../../../helper/protocol/requests.ts';
import { History, quantileNs, type Reading } from '../../../../helper/shaping/history.ts';

const SOJOURN = Array.from({ length: 16 }, () => 0);

/** Of a pod that sends 1.25 MB a step, throttled for 3 s of each, all packets in one bucket. */
function reading(step: number, more: Partial<Reading> = {}): Reading {
  return {
    ...{ step, atNs: step * 10e9, owner: 'a' },
    ...{ bytes: step * 1_250_000, throttledNs: step * 3e9 },
    ...{ droppedPackets: step * 2, ceMarkedPackets: step },
    sojourn: SOJOURN.with(9, step * 1000),
    ...more,
  };
}

function historyOf(...readings: readonly Reading[]): History {
  const history = new History();
  for (const each of readings) history.add(each);
  return history;
}

/** Numbers of the steps up to `end` of which something is known. */
function stepsOf(history: History, end: number): number[] {
  const { bytesPerSec } = history.last(STEPS, end);
  return bytesPerSec.flatMap((rate, at) => (rate === null ? [] : [end - STEPS + 1 + at]));
}

test('a quantile lies where its rank lies in its bucket', (t) => {
  t.is(quantileNs(SOJOURN, 0.5), undefined);
  // 100 packets between 2^24 and 2^25 ns: their median is in the middle.
  t.is(quantileNs(SOJOURN.with(9, 100), 0.5), 1.5 * 2 ** 24);
  t.is(quantileNs(SOJOURN.with(0, 100), 0.5), 2 ** 15);
  t.is(quantileNs(SOJOURN.with(0, 90).with(2, 10), 0.95), 1.5 * 2 ** 17);
});

test('a step is what was counted in it', (t) => {
  t.deepEqual(historyOf(reading(7), reading(8)).last(2, 8), {
    bytesPerSec: [null, 125_000],
    throttledSeconds: [null, 3],
    p50Ns: [null, 1.5 * 2 ** 24],
    // Within what a float of 24 bits holds.
    p99Ns: [null, Math.fround(1.99 * 2 ** 24)],
  });
});

test('a step without packets has no sojourn', (t) => {
  const history = historyOf(reading(1), { ...reading(1), step: 2, atNs: 20e9 });
  const none = { p50Ns: [null], p99Ns: [null] };
  t.deepEqual(history.last(1, 2), { bytesPerSec: [0], throttledSeconds: [0], ...none });
});

test('what is not the difference of two readings in a row is unknown', (t) => {
  t.deepEqual(stepsOf(historyOf(reading(5)), 5), []);
  t.deepEqual(stepsOf(historyOf(reading(5), reading(7), reading(8)), 8), [8]);
  // Counters that began anew, and an id that is another's.
  const empty = { bytes: 0, sojourn: SOJOURN };
  t.deepEqual(stepsOf(historyOf(reading(5), reading(6, empty)), 6), []);
  t.deepEqual(stepsOf(historyOf(reading(5), reading(6), reading(7, { owner: 'b' })), 7), []);
  // A clock that does not go on, and the same step twice.
  t.deepEqual(stepsOf(historyOf(reading(5), reading(6, { atNs: 50e9 })), 6), []);
  t.deepEqual(stepsOf(historyOf(reading(5), reading(6), reading(6), reading(7)), 7), [6, 7]);
});

test('an hour is kept, and no step comes back from the hour before', (t) => {
  const all = Array.from({ length: STEPS + 50 }, (_, step) => reading(step));
  const history = historyOf(...all);
  const end = STEPS + 49;
  t.is(stepsOf(history, end).length, STEPS);
  t.is(stepsOf(history, end)[0], 50);
  history.add(reading(500));
  t.is(stepsOf(history, 500).at(-1), end);
  history.add(reading(2000));
  t.deepEqual(stepsOf(history, 2000), []);
});

test('what ended before the latest step of the node is where it was', (t) => {
  // A pod whose counters could not be read since.
  t.deepEqual(stepsOf(historyOf(reading(1), reading(2)), 9), [2]);
  t.is(historyOf(reading(1), reading(2)).last(3, 4).bytesPerSec[0], 125_000);
});

test('what is recent is the latest step, with all that was counted until then', (t) => {
  t.is(new History().recent(10), undefined);
  t.deepEqual(historyOf(reading(7)).recent(10), { droppedPackets: 14, ceMarkedPackets: 7 });
  t.deepEqual(historyOf(reading(7), reading(8)).recent(10), {
    ...{ bytesPerSec: 125_000, throttledShare: 0.3 },
    ...{ p50Ns: 1.5 * 2 ** 24, p99Ns: Math.fround(1.99 * 2 ** 24) },
    ...{ droppedPackets: 16, ceMarkedPackets: 8 },
  });
});
