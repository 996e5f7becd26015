// Figures out of measurements: percentiles, shares of a cap, the time until a new cap holds. Pure.

import { mbitPerSec } from './series.ts';
import type { ByteSeries } from './series.ts';

/**
 * The middle value; of an even number of values the mean of the middle two. Throws RangeError for
 * none.
 */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const [below, above] = [
    sorted[Math.ceil(sorted.length / 2) - 1],
    sorted[Math.floor(sorted.length / 2)],
  ];
  if (below === undefined || above === undefined)
    throw new RangeError('Cannot take the median of no values');
  return (below + above) / 2;
}

/**
 * The least value that at least `percent` of the values do not exceed (nearest rank). Throws
 * RangeError for none.
 */
export function percentile(values: readonly number[], percent: number): number {
  return ofSorted(
    values.toSorted((a, b) => a - b),
    percent,
  );
}

function ofSorted(sorted: readonly number[], percent: number): number {
  const rank = Math.max(1, Math.ceil((percent / 100) * sorted.length));
  const value = sorted[Math.min(rank, sorted.length) - 1];
  if (value === undefined) throw new RangeError('Cannot take a percentile of no values');
  return value;
}

/** What has been counted at a moment. */
export type Point = readonly [time: number, count: number];

/**
 * How fast a count grows: the median over all pairs of points of the growth between them (Theil
 * 1950, Sen 1968). Up to 29 % of the points may be late, as they are when a machine stands still
 * for a moment, and it tells the same. Throws RangeError for fewer than two points.
 */
export function growthRate(points: readonly Point[]): number {
  return median(
    points.flatMap(([time, count], index) =>
      points.slice(0, index).map(([before, then]) => (count - then) / (time - before)),
    ),
  );
}

/** The percentages at which a distribution is kept: enough to draw it, and its tail. */
export const CURVE_PERCENTS: readonly number[] = [
  0,
  ...Array.from({ length: 99 }, (_, index) => index + 1),
  99.5,
  99.9,
  100,
];

/** A distribution as its percentiles at CURVE_PERCENTS. */
export function curveOf(values: readonly number[]): number[] {
  const sorted = values.toSorted((a, b) => a - b);
  return CURVE_PERCENTS.map((percent) => ofSorted(sorted, percent));
}

/** The curve whose every point is the median of the curves' points. */
export function medianCurve(curves: readonly (readonly number[])[]): number[] {
  const [first = []] = curves;
  return first.map((_, index) => median(curves.map((curve) => curve[index] ?? 0)));
}

/** A part of a series, in milliseconds since its beginning. */
export interface Span {
  readonly fromMs: number;
  readonly toMs: number;
}

/** A series with the length of its intervals. */
export interface Course {
  readonly bytes: ByteSeries;
  readonly intervalMs: number;
}

/** Mean rate of the whole intervals within a span, in Mbit/s; after its end a series is silent. */
export function meanMbitWithin({ bytes, intervalMs }: Course, { fromMs, toMs }: Span): number {
  const from = Math.max(0, Math.ceil(fromMs / intervalMs));
  const to = Math.floor(toMs / intervalMs);
  let total = 0;
  for (let index = from; index < to; index += 1) total += bytes[index] ?? 0;
  return to > from ? mbitPerSec(total, (to - from) * intervalMs) : 0;
}

/**
 * The highest rate of any window of `windowMs` that lies within a span and begins with an interval,
 * in Mbit/s. Of a span that is shorter than a window it is the mean.
 */
export function maxWindowMbit(course: Course, span: Span, windowMs: number): number {
  let highest = meanMbitWithin(course, {
    ...span,
    toMs: Math.min(span.toMs, span.fromMs + windowMs),
  });
  for (let fromMs = span.fromMs; fromMs + windowMs <= span.toMs; fromMs += course.intervalMs) {
    highest = Math.max(highest, meanMbitWithin(course, { fromMs, toMs: fromMs + windowMs }));
  }
  return highest;
}

/** When a change counts as settled: the rate of a window is that near to the new cap. */
export const SETTLED_WITHIN = 0.02;
/** Length of that window: at 10 Mbit/s it holds 82 frames, fewer could not tell 2 %. */
export const SETTLE_WINDOW_MS = 100;

/**
 * Milliseconds from the beginning of a span until a window begins whose rate is within 2 % of
 * `capMbit`; the length of the span when none is.
 */
export function settleMs(course: Course, span: Span, capMbit: number): number {
  const first = Math.max(0, Math.ceil(span.fromMs / course.intervalMs)) * course.intervalMs;
  for (let fromMs = first; fromMs + SETTLE_WINDOW_MS <= span.toMs; fromMs += course.intervalMs) {
    const rate = meanMbitWithin(course, { fromMs, toMs: fromMs + SETTLE_WINDOW_MS });
    if (Math.abs(rate / capMbit - 1) <= SETTLED_WITHIN) return fromMs - span.fromMs;
  }
  return span.toMs - span.fromMs;
}
