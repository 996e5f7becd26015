// A cap that the operator changes under load: how soon the wire follows, whether TCP saw anything
// out of order, whether more than the cap ever left.

import { setTimeout as delay } from 'node:timers/promises';
import { capture } from '../../scripts/lib/process.ts';
import { COUNTED_INTERVAL_MS } from '../bed/series.ts';
import { inNamespace } from '../bed/testbed.ts';
import { WINDOW_MS } from './accuracy.ts';
import { besideBulk } from './load.ts';
import { LIVE_SCENARIOS } from './names.ts';
import type { LiveScenario } from './names.ts';
import type { NetworkBench, Target } from './network.ts';
import { metric } from './record.ts';
import type { Measured } from './record.ts';
import { maxWindowMbit, settleMs } from '../bed/statistics.ts';
import type { Course } from '../bed/statistics.ts';
import { chartRates, nowNs, readWire, sinceBeginMs } from './wire.ts';

/** What TCP counts when a packet came earlier than one that was sent before it. */
const REORDER_COUNTERS = ['TCPSACKReorder', 'TCPTSReorder'] as const;

/**
 * Sum of the counters that tell of reordering, out of the content of /proc/net/netstat. Throws
 * Error without one of them.
 */
export function reorderedIn(netstat: string): number {
  const lines = netstat.split('\n');
  const [names = '', values = ''] = lines.filter((line) => line.startsWith('TcpExt:'));
  const words = values.split(' ');
  const counters = new Map(names.split(' ').map((name, index) => [name, Number(words[index])]));
  return REORDER_COUNTERS.reduce((sum, name) => {
    const value = counters.get(name);
    if (value === undefined)
      throw new Error(`Cannot tell whether TCP saw reordering: no ${name} in netstat`);
    return sum + value;
  }, 0);
}

async function readReordered(pod: string): Promise<number> {
  return reorderedIn(await capture(...inNamespace(pod, 'cat', '/proc/thread-self/net/netstat')));
}

/** A time with one cap, in milliseconds since the first frame. */
export interface Phase {
  readonly capMbit: number;
  /**
   * When the command that set the cap was given, and when it had returned; both 0 for the first.
   */
  readonly issuedMs: number;
  readonly inForceMs: number;
  readonly endMs: number;
}

/**
 * What the wire shows of the phases: the longest time to settle, and the highest window over its
 * cap after that.
 */
export function followed(
  course: Course,
  phases: readonly Phase[],
): { readonly settleMs: number; readonly maxWindowShare: number } {
  const each = phases.map(({ capMbit, inForceMs, endMs }, index) => {
    const span = { fromMs: inForceMs, toMs: endMs };
    const settled = index === 0 ? 0 : settleMs(course, span, capMbit);
    const after = { fromMs: inForceMs + settled, toMs: endMs };
    return { settled, share: maxWindowMbit(course, after, WINDOW_MS) / capMbit };
  });
  return {
    settleMs: Math.max(...each.map(({ settled }) => settled)),
    maxWindowShare: Math.max(...each.map(({ share }) => share)),
  };
}

/** When a command was given and when it had returned. */
interface Change {
  readonly capMbit: number;
  readonly issuedNs: bigint;
  readonly returnedNs: bigint;
}

async function changeCap({ node }: Target, key: string, capMbit: number): Promise<Change> {
  const issuedNs = nowNs();
  await node.podpaced('set', key, '--egress', '--rate', `${capMbit}M`);
  return { capMbit, issuedNs, returnedNs: nowNs() };
}

function phasesOf(
  toMs: (timeNs: bigint) => number,
  firstCapMbit: number,
  changes: readonly Change[],
  endMs: number,
): Phase[] {
  const starts = changes.map(({ capMbit, issuedNs, returnedNs }) => ({
    capMbit,
    issuedMs: toMs(issuedNs),
    inForceMs: toMs(returnedNs),
  }));
  return [{ capMbit: firstCapMbit, issuedMs: 0, inForceMs: 0 }, ...starts].map((start, index) => ({
    ...start,
    endMs: starts[index]?.issuedMs ?? endMs,
  }));
}

async function measureLive(
  target: Target,
  scenario: LiveScenario,
  phaseSeconds: number,
): Promise<Measured> {
  const { node, signal } = target;
  const [firstCapMbit = 0, ...laterCaps] = scenario.capsMbit;
  const key = await node.attachmentKey();
  if (firstCapMbit !== 0) await changeCap(target, key, firstCapMbit);
  const reorderedBefore = await readReordered(node.pod);
  node.counter.reset();
  const seconds = phaseSeconds * scenario.capsMbit.length;
  const change = async (): Promise<Change[]> => {
    const changes: Change[] = [];
    for (const capMbit of laterCaps) {
      await delay(phaseSeconds * 1000, undefined, { signal });
      changes.push(await changeCap(target, key, capMbit));
    }
    return changes;
  };
  // On one processor: a veth pair hands over in any order what two processors send, capped or not.
  const { done: changes } = await besideBulk(target, { seconds }, change);
  const wire = readWire(target, COUNTED_INTERVAL_MS);
  const endMs = seconds * 1000 - WINDOW_MS / 5;
  const phases = phasesOf((timeNs) => sinceBeginMs(wire, timeNs), firstCapMbit, changes, endMs);
  const { settleMs, maxWindowShare } = followed(wire.frames, phases);
  const commandMs = Math.max(...phases.map(({ issuedMs, inForceMs }) => inForceMs - issuedMs));
  const reordered = (await readReordered(node.pod)) - reorderedBefore;
  return {
    metrics: [
      metric('settle_ms', 'ms', settleMs),
      metric('reordered', 'segments', reordered),
      metric('max_window_share', '1', maxWindowShare),
      metric('command_ms', 'ms', commandMs),
    ],
    ratesMbit: chartRates(wire, seconds * 1000),
  };
}

/**
 * The bench: each cap lasts `phaseSeconds`. The time to settle counts from when `podpaced set` has
 * returned.
 */
export function liveBench(phaseSeconds: number): NetworkBench<LiveScenario> {
  return {
    name: 'live',
    systems: ['podpace'],
    hasQueuesPerProcessor: false,
    scenarios: LIVE_SCENARIOS,
    caps: ({ capsMbit }) => ({ egressMbit: capsMbit[0] }),
    measure: (target, scenario) => measureLive(target, scenario, phaseSeconds),
  };
}
