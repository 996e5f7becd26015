// What a capped direction did in the last hour, in steps. Pure.
//
// A step is the difference of two readings of its counters. Where there is none (the first reading,
// steps that were missed, counters that began anew, an id that is another pod's now) the step is
// unknown, never zero and never a sum over several.

import type { DirectionHistory, RecentFigures } from '../protocol/messages.ts';
import { HISTORY_STEPS as STEPS } from '../protocol/requests.ts';
import type { CounterSums } from '../wire/aggregate.ts';

/** Counters of one direction, as read at one time. They only grow, until they begin anew. */
export interface Reading extends CounterSums {
  /** Number of the step that ends with it: the same for all that is read in one turn. */
  readonly step: number;
  /** Monotonic. */
  readonly atNs: number;
  /** Whose counters they are; another one's are not compared. */
  readonly owner: string;
}

/** Buckets of the datapath: [0, 2^16) ns, then [2^(15+i), 2^(16+i)). */
function bucketBoundsNs(bucket: number): readonly [lower: number, upper: number] {
  return [bucket === 0 ? 0 : 2 ** (15 + bucket), 2 ** (16 + bucket)];
}

/**
 * The sojourn that a share of the packets does not exceed, in ns, by linear interpolation within
 * the bucket that holds it, as histogram_quantile of Prometheus does. Undefined without packets.
 */
export function quantileNs(sojourn: readonly number[], share: number): number | undefined {
  const rank = sojourn.reduce((sum, packets) => sum + packets, 0) * share;
  let below = 0;
  for (const [bucket, packets] of sojourn.entries()) {
    if (packets > 0 && below + packets >= rank) {
      const [lower, upper] = bucketBoundsNs(bucket);
      return lower + ((upper - lower) * (rank - below)) / packets;
    }
    below += packets;
  }
  return undefined;
}

/** What a later reading counts beyond an earlier one; undefined where one went back. */
function difference(from: Reading, to: Reading): Reading | undefined {
  const sojourn = to.sojourn.map((packets, bucket) => packets - (from.sojourn[bucket] ?? 0));
  const [bytes, throttledNs] = [to.bytes - from.bytes, to.throttledNs - from.throttledNs];
  if (Math.min(bytes, throttledNs, ...sojourn) < 0) return undefined;
  return { ...to, atNs: to.atNs - from.atNs, bytes, throttledNs, sojourn };
}

const FIGURES = 4;
/** Of each, behind the point. */
const DIGITS = [0, 3, 0, 0] as const;

/** Steps of one direction: 5.6 KiB, and the latest reading. */
export class History {
  /** By step modulo STEPS: rate, throttled seconds, p50, p99; NaN where unknown. */
  readonly #figures = new Float32Array(STEPS * FIGURES).fill(NaN);
  #latest: Reading | undefined;

  /** Takes the next reading. One of a step that has been told of already is left out. */
  add(reading: Reading): void {
    const latest = this.#latest;
    if (latest !== undefined && reading.owner !== latest.owner) this.#figures.fill(NaN);
    else if (latest !== undefined && reading.step <= latest.step) return;
    this.#latest = reading;
    if (latest === undefined || reading.owner !== latest.owner) return;
    const missed = Math.min(reading.step - latest.step, STEPS);
    for (let back = 0; back < missed; back++) this.#write(reading.step - back, []);
    const delta = missed === 1 ? difference(latest, reading) : undefined;
    if (delta === undefined || delta.atNs <= 0) return;
    const seconds = delta.atNs / 1e9;
    this.#write(reading.step, [
      delta.bytes / seconds,
      // The counter runs ahead by what waits now, which is at most the horizon.
      Math.min(seconds, delta.throttledNs / 1e9),
      quantileNs(delta.sojourn, 0.5) ?? NaN,
      quantileNs(delta.sojourn, 0.99) ?? NaN,
    ]);
  }

  /** The last steps up to `end`, oldest first; `end` may be one that is still to come. */
  last(count: number, end: number): DirectionHistory {
    const length = Math.min(count, STEPS);
    const column = (figure: number): (number | null)[] =>
      Array.from({ length }, (_, index) => this.#figure(end - length + 1 + index, figure));
    return {
      bytesPerSec: column(0),
      throttledSeconds: column(1),
      p50Ns: column(2),
      p99Ns: column(3),
    };
  }

  /** What the latest step was, and what was counted until then; undefined before a reading. */
  recent(stepSeconds: number): RecentFigures | undefined {
    const latest = this.#latest;
    if (latest === undefined) return undefined;
    const [bytesPerSec, throttledSeconds, p50Ns, p99Ns] = [0, 1, 2, 3].map(
      (figure) => this.#figure(latest.step, figure) ?? undefined,
    );
    const { droppedPackets, ceMarkedPackets } = latest;
    return {
      ...(bytesPerSec !== undefined && { bytesPerSec }),
      ...(throttledSeconds !== undefined && {
        throttledShare: Math.min(1, Number((throttledSeconds / stepSeconds).toFixed(4))),
      }),
      ...(p50Ns !== undefined && { p50Ns }),
      ...(p99Ns !== undefined && { p99Ns }),
      ...{ droppedPackets, ceMarkedPackets },
    };
  }

  #figure(step: number, figure: number): number | null {
    const latest = this.#latest?.step ?? -1;
    if (step < 0 || step > latest || step <= latest - STEPS) return null;
    const value = this.#figures[(step % STEPS) * FIGURES + figure] ?? NaN;
    return Number.isNaN(value) ? null : Number(value.toFixed(DIGITS[figure]));
  }

  #write(step: number, figures: readonly number[]): void {
    const at = (step % STEPS) * FIGURES;
    for (let figure = 0; figure < FIGURES; figure++)
      this.#figures[at + figure] = figures[figure] ?? NaN;
  }
}
