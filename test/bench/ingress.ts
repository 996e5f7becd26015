// What a pod with a cap on what it receives gets: bulk from the peer, requests beside it, both
// directions at once.

import { setTimeout as delay } from 'node:timers/promises';
import { attachCounter } from '../bed/counter.ts';
import type { Counter } from '../bed/counter.ts';
import { firstSecondMbit, meanMbit, ratesMbit } from '../bed/series.ts';
import { UndoStack } from '../bed/undo.ts';
import { PEER_ADDRESS } from '../bed/uplink.ts';
import { parseIperf } from '../bed/iperf.ts';
import { queueMetrics, requestMetrics, withEcn } from './latency.ts';
import { besideBulk } from './load.ts';
import { INGRESS_SCENARIOS } from './names.ts';
import type { IngressScenario } from './names.ts';
import type { NetworkBench, Target } from './network.ts';
import { metric } from './record.ts';
import type { Measured, Metric } from './record.ts';
import { runRequests } from './requests.ts';
import type { RequestReport } from './requests.ts';

/** Until bulk has left slow start. */
const WARM_UP_SECONDS = 2;
/** Bulk goes on for that much longer than the requests, whose program takes its time to start. */
const SPARE_SECONDS = 3;

/** Which way iperf3's client, which is in the pod, lets data flow. */
function directionOf({ ingressMbit, egressMbit }: IngressScenario): readonly string[] {
  if (ingressMbit === undefined) return [];
  return egressMbit === undefined ? ['--reverse'] : ['--bidir'];
}

/**
 * Mean payload, mean of all frames, acknowledgements included, and the frames of the first second
 * of a sender, in Mbit/s.
 */
function courseOf(
  counter: Counter,
  sender: string,
  seconds: number,
): { goodput: number; wire: number; firstSecond: number } {
  const [frames, payload] = [counter.readWire().get(sender), counter.readPayload().get(sender)];
  if (frames === undefined || payload === undefined)
    throw new Error(`Cannot measure: no data frame came from ${sender}`);
  return {
    goodput: meanMbit(payload, seconds * 1000),
    wire: meanMbit(frames, seconds * 1000),
    firstSecond: firstSecondMbit(frames),
  };
}

/** Runs the load of a scenario, with requests beside it where it has some. */
async function load(
  target: Target,
  scenario: IngressScenario,
  seconds: number,
): Promise<{ report: string; requests: RequestReport | undefined }> {
  const { node, signal } = target;
  const { requestsPerSec: perSec } = scenario;
  const options = ['--congestion', 'cubic', ...directionOf(scenario)];
  if (perSec === 0) {
    const { report } = await besideBulk(target, { seconds, options }, async () => undefined);
    return { report, requests: undefined };
  }
  const bulkSeconds = WARM_UP_SECONDS + seconds + SPARE_SECONDS;
  const bulk = { seconds: bulkSeconds, options };
  const { done: requests, report } = await besideBulk(target, bulk, async () => {
    await delay(WARM_UP_SECONDS * 1000, undefined, { signal });
    const asked = { flows: 1, perSec, seconds };
    return await runRequests(node.pod, node.options.folder, asked, signal);
  });
  return { report, requests };
}

async function measureIngress(
  target: Target,
  scenario: IngressScenario,
  seconds: number,
): Promise<Measured> {
  const { node, address } = target;
  const undo = new UndoStack();
  try {
    const received = await attachCounter({ netns: node.pod, device: 'eth0' }, undo);
    node.counter.reset();
    const isIngress = scenario.ingressMbit !== undefined;
    const before = isIngress ? await node.counters('ingress') : undefined;
    const { report, requests } = await load(target, scenario, seconds);
    const metrics: Metric[] = [];
    if (scenario.ingressMbit !== undefined) {
      const { goodput, wire, firstSecond } = courseOf(received, PEER_ADDRESS, seconds);
      metrics.push(
        metric('goodput_mbit', 'Mbit/s', goodput),
        metric('wire_mbit', 'Mbit/s', wire),
        metric('first_second_mbit', 'Mbit/s', firstSecond),
      );
    }
    if (scenario.egressMbit !== undefined) {
      const { goodput, wire } = courseOf(node.counter, address, seconds);
      metrics.push(
        metric('egress_goodput_mbit', 'Mbit/s', goodput),
        metric('egress_wire_mbit', 'Mbit/s', wire),
      );
    }
    if (scenario.egressMbit === undefined)
      metrics.push(metric('retransmits', 'segments', parseIperf(report).retransmits));
    if (requests !== undefined) metrics.push(...requestMetrics(requests));
    if (isIngress) metrics.push(...queueMetrics(before, await node.counters('ingress')));
    const frames = received.readWire().get(PEER_ADDRESS);
    return {
      metrics,
      ...(frames !== undefined && { ratesMbit: ratesMbit(frames, seconds * 1000) }),
    };
  } finally {
    await undo.run();
  }
}

/** The bench. */
export function ingressBench(seconds: number): NetworkBench<IngressScenario> {
  return {
    name: 'ingress',
    systems: ['podpace', 'tbf'],
    hasQueuesPerProcessor: false,
    scenarios: INGRESS_SCENARIOS,
    caps: ({ ingressMbit, egressMbit }) => ({ ingressMbit, egressMbit }),
    measure: async (target, scenario) => {
      const measure = (): Promise<Measured> => measureIngress(target, scenario, seconds);
      const ends = [target.node.pod, target.node.bed.peer];
      return scenario.ecn ? await withEcn(ends, measure) : await measure();
    },
  };
}
