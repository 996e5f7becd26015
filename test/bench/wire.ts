// What a run put on the wire, as the peer counted it.

import { INTERVAL_MS, ratesMbit } from '../bed/series.ts';
import type { Target } from './network.ts';
import type { Course } from '../bed/statistics.ts';

/** The monotonic clock, which the counter uses too. */
export const nowNs = (): bigint => process.hrtime.bigint();

const NS_PER_MS = 1e6;

/** Frames and payload of a pod since the counter was reset. */
export interface Wire {
  readonly frames: Course;
  readonly payload: Course;
  /** When they begin. */
  readonly beginNs: bigint;
}

/** Reads the counter. Throws Error when the peer saw nothing of the pod. */
export function readWire({ node, address }: Target, intervalMs: number = INTERVAL_MS): Wire {
  const frames = node.counter.readWire(intervalMs).get(address);
  const payload = node.counter.readPayload(intervalMs).get(address);
  const beginNs = node.counter.firstFrameNs(address);
  if (frames === undefined || payload === undefined || beginNs === undefined)
    throw new Error(`Cannot measure ${node.system}: the peer saw no frame from ${address}`);
  return {
    frames: { bytes: frames, intervalMs },
    payload: { bytes: payload, intervalMs },
    beginNs,
  };
}

/** Milliseconds from the beginning of what was counted until a time. */
export function sinceBeginMs(wire: Wire, timeNs: bigint): number {
  return Number(timeNs - wire.beginNs) / NS_PER_MS;
}

/** The rates of a chart, in intervals of INTERVAL_MS. */
export function chartRates(wire: Wire, durationMs: number): number[] {
  const { bytes, intervalMs } = wire.frames;
  const merged: number[] = [];
  bytes.forEach((count, index) => {
    const interval = Math.floor((index * intervalMs) / INTERVAL_MS);
    merged[interval] = (merged[interval] ?? 0) + count;
  });
  return ratesMbit(merged, durationMs);
}
