// What a capped direction did in the last hour, in steps. Pure.
//
// A step is the difference of two readings of its counters. Where there is none (the first reading,
// steps that were missed, counters that began anew, an id that is another pod's now) the step is
// unknown, never zero and never a sum over several.

/** Steps that are kept: an hour, of 10 s each. */
export const STEPS = 360;

/** Counters of one direction, as read at one time. They only grow, until they begin anew. */
export interface Reading {
  /** Number of the step that ends with it: the same for all that is read in one turn. */
  readonly step: number;
  /** Monotonic. */
  readonly atNs: number;
  /** Whose counters they are; another one's are not compared. */
  readonly owner: string;
  readonly bytes: number;
  readonly throttledNs: number;
  /** Packets by sojourn, as in AggregateCounters. */
  readonly sojourn: readonly number[];
}

export interface Step {
  readonly step: number;
  readonly bytesPerSec: number;
  readonly throttledSeconds: number;
  /** Absent where no packet was accepted. */
  readonly p50Ns?: number;
  readonly p99Ns?: number;
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
  const bytes = to.bytes - from.bytes;
  if (bytes < 0 || sojourn.some((packets) => packets < 0)) return undefined;
  // What is still to come of it is not told, so it may go back by a little while a queue drains.
  const throttledNs = Math.max(0, to.throttledNs - from.throttledNs);
  return { ...to, atNs: to.atNs - from.atNs, bytes, throttledNs, sojourn };
}

const FIGURES = 4;

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
      Math.min(seconds, delta.throttledNs / 1e9),
      quantileNs(delta.sojourn, 0.5) ?? NaN,
      quantileNs(delta.sojourn, 0.99) ?? NaN,
    ]);
  }

  /** The last steps that are known, oldest first; `count` says how far back. */
  last(count: number): Step[] {
    const end = this.#latest?.step ?? -1;
    const steps: Step[] = [];
    for (let step = Math.max(0, end - Math.min(count, STEPS) + 1); step <= end; step++) {
      const at = (step % STEPS) * FIGURES;
      const [bytesPerSec = NaN, throttledSeconds = NaN, p50Ns = NaN, p99Ns = NaN] =
        this.#figures.subarray(at, at + FIGURES);
      if (Number.isNaN(bytesPerSec)) continue;
      const waits = Number.isNaN(p50Ns) ? {} : { p50Ns, p99Ns };
      steps.push({ step, bytesPerSec, throttledSeconds, ...waits });
    }
    return steps;
  }

  #write(step: number, figures: readonly number[]): void {
    const at = (step % STEPS) * FIGURES;
    for (let figure = 0; figure < FIGURES; figure++)
      this.#figures[at + figure] = figures[figure] ?? NaN;
  }
}
