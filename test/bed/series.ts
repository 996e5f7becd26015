// What was on the wire over time, and the figures that are read from it. Pure.

/** Length of the intervals in which test/bpf/count.bpf.c counts (INTERVAL_NS). */
export const COUNTED_INTERVAL_MS = 10;

/** Length of one interval of a series, unless it was asked for in finer ones. */
export const INTERVAL_MS = 100;

const INTERVALS_PER_SECOND = 1000 / INTERVAL_MS;

/**
 * Bytes in each interval, of INTERVAL_MS unless said otherwise, since a pod's first data frame;
 * index 0 begins with that frame.
 */
export type ByteSeries = readonly number[];

/** One count of test/bpf/count.bpf.c. */
export interface IntervalCount {
  /** IPv4 address of the sender, in text form. */
  readonly source: string;
  /** Number of the interval of COUNTED_INTERVAL_MS. */
  readonly interval: number;
  readonly bytes: number;
}

/**
 * Sorts counts by sender, in intervals of `intervalMs`, a multiple of COUNTED_INTERVAL_MS. An
 * interval in which nothing was counted holds 0.
 */
export function seriesBySource(
  counts: Iterable<IntervalCount>,
  intervalMs: number = INTERVAL_MS,
): Map<string, ByteSeries> {
  const countedPerInterval = intervalMs / COUNTED_INTERVAL_MS;
  const bySource = new Map<string, number[]>();
  for (const { source, interval: counted, bytes } of counts) {
    const interval = Math.floor(counted / countedPerInterval);
    const series = bySource.get(source) ?? [];
    bySource.set(source, series);
    while (series.length <= interval) series.push(0);
    series[interval] = (series[interval] ?? 0) + bytes;
  }
  return bySource;
}

/** Mbit/s of `bytes` in `milliseconds`. */
export function mbitPerSec(bytes: number, milliseconds: number): number {
  return (bytes * 8) / 1000 / milliseconds;
}

/** Mean rate on the wire in the first second from the first data frame, in Mbit/s. */
export function firstSecondMbit(series: ByteSeries): number {
  const bytes = series.slice(0, INTERVALS_PER_SECOND).reduce((sum, value) => sum + value, 0);
  return mbitPerSec(bytes, 1000);
}

/**
 * Mean rate over a load that lasted `durationMs`, in Mbit/s. The last interval is left out: the
 * client's clock may have begun before the first data frame came, and then the load ends within it.
 */
export function meanMbit(series: ByteSeries, durationMs: number): number {
  const rates = ratesMbit(series, durationMs - INTERVAL_MS);
  return rates.reduce((sum, rate) => sum + rate, 0) / rates.length;
}

/**
 * Rate on the wire in each interval, in Mbit/s, for a load that lasted `durationMs`: what came
 * after its end (retransmissions, the closing of the connections) is cut off, and silence before it
 * is shown as 0.
 */
export function ratesMbit(series: ByteSeries, durationMs: number): number[] {
  const length = Math.floor(durationMs / INTERVAL_MS);
  return Array.from({ length }, (_, index) => mbitPerSec(series[index] ?? 0, INTERVAL_MS));
}
