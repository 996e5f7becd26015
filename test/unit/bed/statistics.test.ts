import test from 'ava';
import fc from 'fast-check';
import {
  CURVE_PERCENTS,
  curveOf,
  growthRate,
  maxWindowMbit,
  meanMbitWithin,
  median,
  medianCurve,
  percentile,
  settleMs,
} from '../../bed/statistics.ts';
import type { Course } from '../../bed/statistics.ts';

const values = fc.array(fc.double({ min: 0, max: 1e9, noNaN: true }), {
  minLength: 1,
  maxLength: 300,
});

/** Bytes of an interval of 10 ms at a rate. */
const at = (mbit: number): number => mbit * 1250;

function course(...phases: readonly (readonly [mbit: number, intervals: number])[]): Course {
  return {
    bytes: phases.flatMap(([mbit, intervals]) => Array.from({ length: intervals }, () => at(mbit))),
    intervalMs: 10,
  };
}

test('the median is the middle value, or the mean of the middle two', (t) => {
  t.is(median([3, 1, 2]), 2);
  t.is(median([4, 1, 2, 3]), 2.5);
  t.throws(() => median([]), { message: /no values/ });
});

test('a percentile is one of the values, and as many as it says do not exceed it', (t) => {
  fc.assert(
    fc.property(values, fc.integer({ min: 1, max: 100 }), (list, percent) => {
      const value = percentile(list, percent);
      t.true(list.includes(value));
      t.true(list.filter((each) => each <= value).length >= (percent / 100) * list.length - 1e-9);
      t.true(list.filter((each) => each < value).length < (percent / 100) * list.length + 1e-9);
    }),
  );
});

test('the 99th of a hundred values is the last but one', (t) => {
  const hundred = Array.from({ length: 100 }, (_, index) => index + 1);
  t.is(percentile(hundred, 99), 99);
  t.is(percentile(hundred, 50), 50);
  t.is(percentile([7], 99), 7);
});

/** A line of a hundred points, of which some lag behind. */
const lags = fc.array(fc.tuple(fc.nat(99), fc.integer({ min: 0, max: 1000 })), { maxLength: 25 });

test('growth is that of the line, whichever quarter of the points lags behind it', (t) => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 100 }), lags, (slope, late) => {
      const behind = new Map(late);
      const points = Array.from(
        { length: 100 },
        (_, x) => [x, slope * x - (behind.get(x) ?? 0)] as const,
      );
      t.is(growthRate(points), slope);
    }),
  );
});

test('growth that lasts is seen', (t) => {
  const points = Array.from(
    { length: 100 },
    (_, x) => [x, x < 50 ? 10 * x : 500 + 12 * (x - 50)] as const,
  );
  t.true(growthRate(points) > 10.5);
  t.throws(() => growthRate([[0, 1]]), { message: /no values/ });
});

test('a curve goes from the least value to the greatest and never back', (t) => {
  fc.assert(
    fc.property(values, (list) => {
      const curve = curveOf(list);
      t.is(curve.length, CURVE_PERCENTS.length);
      t.is(curve[0], Math.min(...list));
      t.is(curve.at(-1), Math.max(...list));
      curve.forEach((value, index) => t.true(value >= (curve[index - 1] ?? 0)));
    }),
  );
});

test('curves are put together point by point', (t) => {
  t.deepEqual(
    medianCurve([
      [1, 9],
      [2, 5],
      [3, 7],
    ]),
    [2, 7],
  );
  t.deepEqual(medianCurve([]), []);
});

test('a mean takes whole intervals within the span, and silence after the end counts', (t) => {
  t.is(meanMbitWithin(course([10, 10], [30, 10]), { fromMs: 0, toMs: 200 }), 20);
  t.is(meanMbitWithin(course([10, 10], [30, 10]), { fromMs: 95, toMs: 205 }), 30);
  t.is(meanMbitWithin(course([10, 10]), { fromMs: 0, toMs: 200 }), 5);
  t.is(meanMbitWithin(course([10, 10]), { fromMs: 50, toMs: 50 }), 0);
});

test('the highest window slides by an interval, and counts the start', (t) => {
  const burst = course([100, 1], [10, 199]);
  t.is(maxWindowMbit(burst, { fromMs: 0, toMs: 2000 }, 1000), 10.9);
  t.is(maxWindowMbit(burst, { fromMs: 10, toMs: 2000 }, 1000), 10);
  t.is(maxWindowMbit(course([10, 95], [20, 100], [10, 5]), { fromMs: 0, toMs: 2000 }, 1000), 20);
});

test('no window is above the highest interval or below the mean of a span of whole windows', (t) => {
  const series = fc.array(fc.nat(1_000_000), { minLength: 20, maxLength: 20 });
  fc.assert(
    fc.property(series, (bytes) => {
      const each = { bytes, intervalMs: 100 };
      const span = { fromMs: 0, toMs: 2000 };
      const highest = maxWindowMbit(each, span, 1000);
      t.true(highest <= Math.max(...bytes) / 12_500 + 1e-9);
      t.true(highest >= meanMbitWithin(each, span) - 1e-9);
    }),
  );
});

test('a change has settled where 100 ms within 2 % of the new cap begin', (t) => {
  const change = course([100, 100], [50, 3], [10, 100]);
  t.is(settleMs(change, { fromMs: 1000, toMs: 2000 }, 10), 30);
  t.is(settleMs(change, { fromMs: 1030, toMs: 2000 }, 10), 0);
  // Between two intervals: the next one is the first that can be judged.
  t.is(settleMs(change, { fromMs: 1025, toMs: 2000 }, 10), 5);
});

test('a change that never settles takes as long as it is watched', (t) => {
  t.is(settleMs(course([100, 100]), { fromMs: 0, toMs: 800 }, 10), 800);
});
