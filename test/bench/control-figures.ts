// What calls of CNI plugins took, and the figures of many of them.

import { metric } from './record.ts';
import type { Metric } from './record.ts';
import { percentile } from '../bed/statistics.ts';

/** What one call took. */
export interface CallCost {
  readonly wallMs: number;
  /** Processor time of the process and of all its children. */
  readonly cpuMs: number;
  /** Largest resident set of one of these processes. */
  readonly peakRssMib: number;
  /** Processor time of the helper meanwhile, and until it was at rest; undefined without one. */
  readonly helperCpuMs?: number;
}

const NS_PER_MS = 1_000_000;
const US_PER_MS = 1000;
const KIB_PER_MIB = 1024;

/** Reads the line of test/bench/call-meter.c. Throws Error when it is none. */
export function parseMeter(line: string): CallCost {
  const match = /^(\d+) (\d+) (\d+)\n$/.exec(line);
  if (match === null)
    throw new Error(`Cannot tell what a call took: the meter says ${JSON.stringify(line)}`);
  const [wallNs, cpuUs, rssKib] = match.slice(1).map(Number) as [number, number, number];
  return {
    wallMs: wallNs / NS_PER_MS,
    cpuMs: cpuUs / US_PER_MS,
    peakRssMib: rssKib / KIB_PER_MIB,
  };
}

/** Two calls, one after the other, as one. */
export function oneAfterTheOther(first: CallCost, second: CallCost): CallCost {
  const helper = [first.helperCpuMs, second.helperCpuMs].filter((each) => each !== undefined);
  return {
    wallMs: first.wallMs + second.wallMs,
    cpuMs: first.cpuMs + second.cpuMs,
    peakRssMib: Math.max(first.peakRssMib, second.peakRssMib),
    ...(helper.length > 0 && { helperCpuMs: helper.reduce((sum, each) => sum + each) }),
  };
}

/** Percentiles of the calls of one run. Throws RangeError for none. */
export function metricsOf(costs: readonly CallCost[]): Metric[] {
  const [walls, cpus] = [costs.map(({ wallMs }) => wallMs), costs.map(({ cpuMs }) => cpuMs)];
  const helper = costs.flatMap(({ helperCpuMs }) => helperCpuMs ?? []);
  const ms = (name: string, values: readonly number[], percent: number): Metric =>
    metric(name, 'ms', percentile(values, percent));
  return [
    ms('wall_p50_ms', walls, 50),
    ms('wall_p99_ms', walls, 99),
    ms('cpu_p50_ms', cpus, 50),
    ms('cpu_p99_ms', cpus, 99),
    ...(helper.length > 0 ? [ms('helper_cpu_p50_ms', helper, 50)] : []),
  ];
}

/** The same things in the same order, but for who is first. */
export function beginningWith<T>(things: readonly T[], first: number): T[] {
  const at = things.length === 0 ? 0 : first % things.length;
  return [...things.slice(at), ...things.slice(0, at)];
}
