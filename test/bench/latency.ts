// How long a pod's requests wait for their answers while the same pod sends in bulk, under its cap.

import { setTimeout as delay } from 'node:timers/promises';
import { readSysctl, writeSysctl } from '../../helper/kernel/sysctl.ts';
import { say } from '../../scripts/lib/progress.ts';
import { INTERVAL_MS } from '../bed/series.ts';
import { parseBulk } from '../bed/iperf.ts';
import { inNetnsAt } from '../bed/namespaces.ts';
import { besideBulk } from './load.ts';
import { LATENCY_SCENARIOS, SYSTEMS } from './names.ts';
import type { LatencyScenario } from './names.ts';
import type { NetworkBench, Target } from './network.ts';
import type { PodCounters } from './node.ts';
import { metric } from './record.ts';
import type { Measured, Metric } from './record.ts';
import { MESSAGE_BYTES, runRequests } from './requests.ts';
import type { RequestReport } from './requests.ts';
import { curveOf, meanMbitWithin, percentile } from '../bed/statistics.ts';
import type { Span } from '../bed/statistics.ts';
import { chartRates, nowNs, readWire, sinceBeginMs } from './wire.ts';
import type { Wire } from './wire.ts';

/** Until bulk flows have left slow start: nothing of this time counts, on any system. */
const WARM_UP_SECONDS = 2;
/** Bulk goes on for that much longer than the requests, whose program takes its time to start. */
const SPARE_SECONDS = 3;

const ECN_SYSCTL = 'net/ipv4/tcp_ecn';

/** Round-trip times; when there was no answer at all, the time for which it was waited. */
function waitsUs({ roundTripsUs, seconds }: RequestReport): readonly number[] {
  return roundTripsUs.length === 0 ? [seconds * 1e6] : roundTripsUs;
}

export function requestMetrics(report: RequestReport): Metric[] {
  const { roundTripsUs, sent, seconds } = report;
  return [
    metric('rr_p50_us', 'us', percentile(waitsUs(report), 50)),
    metric('rr_p99_us', 'us', percentile(waitsUs(report), 99)),
    metric('rr_per_sec', '1/s', sent / seconds),
    metric('rr_lost_share', '1', Math.max(0, 1 - roundTripsUs.length / sent)),
  ];
}

/** What podpace did about the queue, warm-up included; nothing for other systems. */
export function queueMetrics(
  before: PodCounters | undefined,
  after: PodCounters | undefined,
): Metric[] {
  if (before === undefined || after === undefined) return [];
  const grown = (name: string, counter: keyof PodCounters): Metric =>
    metric(name, 'packets', after[counter] - before[counter]);
  return [
    grown('ce_marks', 'ceMarked'),
    grown('aqm_drops', 'droppedAqm'),
    grown('horizon_drops', 'droppedHorizon'),
    grown('flow_drops', 'droppedFlow'),
  ];
}

/** Sets ECN of TCP in namespaces while `work` runs: 1 asks for it and answers it. */
export async function withEcn<T>(paths: readonly string[], work: () => Promise<T>): Promise<T> {
  const set = (path: string, value: string): string =>
    inNetnsAt(path, () => {
      const former = readSysctl(ECN_SYSCTL);
      writeSysctl(ECN_SYSCTL, value);
      return former;
    });
  const former = paths.map((path) => set(path, '1'));
  try {
    return await work();
  } finally {
    paths.forEach((path, index) => set(path, former[index] ?? '2'));
  }
}

/** When requests were sent, as far as bulk went on. Says so when they went on for longer. */
function spanOf(
  wire: Wire,
  { fromNs, toNs }: { readonly fromNs: bigint; readonly toNs: bigint },
  bulkSeconds: number,
): Span {
  const [endMs, toMs] = [bulkSeconds * 1000 - INTERVAL_MS, sinceBeginMs(wire, toNs)];
  if (toMs > endMs)
    say(
      `this machine is too busy for figures: requests went on ${Math.round(toMs - endMs)} ms after bulk`,
    );
  return { fromMs: sinceBeginMs(wire, fromNs), toMs: Math.min(toMs, endMs) };
}

function request(
  { node, signal }: Target,
  { requestFlows: flows, requestsPerSec: perSec }: LatencyScenario,
  seconds: number,
): Promise<RequestReport> {
  return runRequests(node.pod, node.options.folder, { flows, perSec, seconds }, signal);
}

async function measureLoaded(
  target: Target,
  scenario: LatencyScenario,
  requestSeconds: number,
): Promise<Measured> {
  const { node, signal } = target;
  const { capMbit, congestionControl, bulkFlows } = scenario;
  const before = await node.counters();
  node.counter.reset();
  const bulkSeconds = WARM_UP_SECONDS + requestSeconds + SPARE_SECONDS;
  const bulkOptions = ['--parallel', String(bulkFlows), '--congestion', congestionControl];
  const measure = async (): Promise<{ requests: RequestReport; fromNs: bigint; toNs: bigint }> => {
    await delay(WARM_UP_SECONDS * 1000, undefined, { signal });
    const fromNs = nowNs();
    const requests = await request(target, scenario, requestSeconds);
    return { requests, fromNs, toNs: nowNs() };
  };
  const bulk = { seconds: bulkSeconds, options: bulkOptions };
  const { done: measured, report } = await besideBulk(target, bulk, measure);
  const { retransmits, meanRttUs } = parseBulk(report, WARM_UP_SECONDS);
  const wire = readWire(target);
  const span = spanOf(wire, measured, bulkSeconds);
  const { requests } = measured;
  const requestMbit = (requests.sent * MESSAGE_BYTES * 8) / 1e6 / requests.seconds;
  return {
    metrics: [
      ...requestMetrics(requests),
      metric('cap_used_share', '1', meanMbitWithin(wire.frames, span) / capMbit),
      metric('bulk_goodput_mbit', 'Mbit/s', meanMbitWithin(wire.payload, span) - requestMbit),
      metric('bulk_rtt_us', 'us', meanRttUs),
      metric('retransmits', 'segments', retransmits),
      ...queueMetrics(before, await node.counters()),
    ],
    curveUs: curveOf(waitsUs(requests)),
    ratesMbit: chartRates(wire, bulkSeconds * 1000),
  };
}

async function measureIdle(
  target: Target,
  scenario: LatencyScenario,
  seconds: number,
): Promise<Measured> {
  const requests = await request(target, scenario, seconds);
  return { metrics: requestMetrics(requests), curveUs: curveOf(waitsUs(requests)) };
}

/**
 * The bench. On the uncapped node there is no bulk: its requests are those of an idle pod, the
 * reference.
 */
export function latencyBench(requestSeconds: number): NetworkBench<LatencyScenario> {
  return {
    name: 'latency',
    systems: SYSTEMS,
    hasQueuesPerProcessor: true,
    scenarios: LATENCY_SCENARIOS,
    caps: ({ capMbit }) => ({ egressMbit: capMbit }),
    measure: async (target, scenario) => {
      const { node } = target;
      if (node.system === 'none') return await measureIdle(target, scenario, requestSeconds);
      const measure = (): Promise<Measured> => measureLoaded(target, scenario, requestSeconds);
      return scenario.ecn ? await withEcn([node.pod, node.bed.peer], measure) : await measure();
    },
  };
}
