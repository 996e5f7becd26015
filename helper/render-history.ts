// What `podpaced history` prints. Pure.

import type { EffectiveCap } from './protocol/messages.ts';
import { renderTable, renderWait } from './render.ts';
import { formatDuration, formatRate } from './shaping/units.ts';

/** One step of a direction. What nobody counted is no step. */
export interface TimedStep {
  /** In UTC (ISO 8601). */
  readonly endedAt: string;
  readonly bytesPerSec: number;
  readonly throttledSeconds: number;
  /** Of the accepted packets; absent where there were none. */
  readonly p50Ns?: number;
  readonly p99Ns?: number;
}

const COLUMNS = ['UNTIL (UTC)', 'RATE', 'OF CAP', 'THROTTLED', 'WAIT P50', 'WAIT P99'];

function timeOf({ endedAt }: TimedStep): string {
  return endedAt.slice(11, 19);
}

function busyRow(step: TimedStep, cap: EffectiveCap | undefined, stepSeconds: number): string[] {
  const bitsPerSec = step.bytesPerSec * 8;
  const ofCap =
    cap === undefined ? '-' : `${((100 * bitsPerSec) / cap.rateBitsPerSec).toFixed(1)}%`;
  const share = Math.round((100 * step.throttledSeconds) / stepSeconds);
  return [
    ...[timeOf(step), formatRate(Number(bitsPerSec.toPrecision(4))), ofCap],
    ...[`${share}%`, renderWait(step.p50Ns), renderWait(step.p99Ns)],
  ];
}

function isIdle({ bytesPerSec, throttledSeconds }: TimedStep): boolean {
  return bytesPerSec === 0 && throttledSeconds === 0;
}

/** Rows of a direction: each step, but those of idleness together. */
export function historyRows(
  steps: readonly TimedStep[],
  cap: EffectiveCap | undefined,
  stepSeconds: number,
): string[][] {
  const rows: string[][] = [];
  let idle = 0;
  for (const [at, step] of steps.entries()) {
    idle = isIdle(step) ? idle + 1 : 0;
    if (idle === 0) rows.push(busyRow(step, cap, stepSeconds));
    const next = steps[at + 1];
    const endsIdleness = next === undefined || !isIdle(next);
    if (idle > 0 && endsIdleness)
      rows.push([timeOf(step), `idle for ${formatDuration(idle * stepSeconds * 1e9)}`]);
  }
  return rows;
}

/** One direction; `title` names attachment and direction. */
export function renderDirectionHistory(
  title: string,
  steps: readonly TimedStep[],
  cap: EffectiveCap | undefined,
  stepSeconds: number,
): string {
  const limit = cap === undefined ? 'no cap' : `cap ${formatRate(cap.rateBitsPerSec)}`;
  if (steps.length === 0) return `${title}, ${limit}: nothing is known yet`;
  const rows = historyRows(steps, cap, stepSeconds);
  return `${title}, ${limit}\n${renderTable([COLUMNS, ...rows])}`;
}
