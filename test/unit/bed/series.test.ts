import test from 'ava';
import fc from 'fast-check';
import {
  COUNTED_INTERVAL_MS,
  firstSecondMbit,
  INTERVAL_MS,
  mbitPerSec,
  meanMbit,
  ratesMbit,
  seriesBySource,
} from '../../bed/series.ts';
import type { IntervalCount } from '../../bed/series.ts';

const counts = fc.array(
  fc.record({
    source: fc.constantFrom('10.0.0.1', '10.0.0.2'),
    interval: fc.nat(200),
    bytes: fc.nat(10_000_000),
  }),
);

const sum = (values: readonly number[]): number =>
  values.reduce((total, value) => total + value, 0);

test('counts are sorted by sender, and an interval without frames holds 0', (t) => {
  const series = seriesBySource([
    { source: '10.0.0.1', interval: 29, bytes: 30 },
    { source: '10.0.0.2', interval: 0, bytes: 7 },
    { source: '10.0.0.1', interval: 0, bytes: 10 },
    { source: '10.0.0.1', interval: 9, bytes: 5 },
  ]);
  t.deepEqual(series.get('10.0.0.1'), [15, 0, 30]);
  t.deepEqual(series.get('10.0.0.2'), [7]);
});

test('a series can be had in the intervals that were counted', (t) => {
  const counts = [0, 2, 1].map((interval) => ({
    source: '10.0.0.1',
    interval,
    bytes: interval + 1,
  }));
  t.deepEqual(seriesBySource(counts, COUNTED_INTERVAL_MS).get('10.0.0.1'), [1, 2, 3]);
});

test('no byte is lost or counted twice, in whatever order counts come', (t) => {
  fc.assert(
    fc.property(counts, (list: IntervalCount[]) => {
      const series = seriesBySource(list);
      for (const source of ['10.0.0.1', '10.0.0.2']) {
        const expected = sum(
          list.filter((each) => each.source === source).map((each) => each.bytes),
        );
        t.is(sum(series.get(source) ?? []), expected);
      }
    }),
  );
});

test('125000 bytes in 100 ms are 10 Mbit/s', (t) => {
  t.is(mbitPerSec(125_000, 100), 10);
});

test('the first second holds the first ten intervals and no more', (t) => {
  const series = [...Array.from({ length: 10 }, () => 125_000), 99_999_999];
  t.is(firstSecondMbit(series), 10);
});

test('a load that ended within a second is still spread over the whole second', (t) => {
  t.is(firstSecondMbit([1_250_000]), 10);
});

test('the first second is the mean of its rates', (t) => {
  fc.assert(
    fc.property(fc.array(fc.nat(100_000_000), { maxLength: 30 }), (series) => {
      const mean = sum(ratesMbit(series, 1000)) / (1000 / INTERVAL_MS);
      t.true(Math.abs(mean - firstSecondMbit(series)) <= mean * 1e-9);
    }),
  );
});

test('rates last exactly as long as the load: silence is 0 and what came later is left out', (t) => {
  t.deepEqual(ratesMbit([125_000], 300), [10, 0, 0]);
  t.deepEqual(ratesMbit([125_000, 125_000, 125_000], 200), [10, 10]);
});

test('the mean is over whole intervals, without the one in which the load ends', (t) => {
  t.is(meanMbit([125_000, 125_000, 125_000, 10], 400), 10);
  t.is(meanMbit([125_000], 300), 5);
});
