// What TCP of a capped pod does when its packets keep their socket on the way: the queue it makes,
// a pace of its own, and BBR over a lossy path.

import { capture } from '../../scripts/lib/process.ts';
import { attachCounter } from '../bed/counter.ts';
import { startHelper } from '../bed/helper.ts';
import { parseBulk, parseReceived, runIperf, startServer } from '../bed/iperf.ts';
import { addPod, addressOf, hostInterfaceOf, podpaceWith } from '../bed/plugins.ts';
import { temporaryDirectory } from '../bed/temporary-directory.ts';
import { inNamespace, makeTestBed, type TestBed } from '../bed/testbed.ts';
import type { UndoStack } from '../bed/undo.ts';
import { WINDOW_MS } from './accuracy.ts';
import { startEdtFifo } from './edt-fifo.ts';
import { WIRED_CAP_SCENARIOS } from './names.ts';
import type { Step, WiredCapScenario } from './names.ts';
import { argumentsFor } from './node.ts';
import { metric } from './record.ts';
import type { Metric } from './record.ts';
import type { SingleBench } from './runner.ts';
import { measureUndisturbed } from './stalls.ts';
import { maxWindowMbit, meanMbitWithin } from '../bed/statistics.ts';

/** Until TCP has left slow start. */
const WARM_UP_SECONDS = 2;
/** The end, where the load stops within an interval. */
const END_MS = 200;

/**
 * Makes what comes to the peer late, and some of it not at all; it is counted before. Frames are
 * lost one by one, as on a wire, and not whole trains of them. The namespaces take it along.
 */
async function addLoss({ node, peer }: TestBed<'pod'>): Promise<void> {
  await capture(...inNamespace(node, 'ip', 'link', 'set', 'uplink', 'gso_max_segs', '1'));
  const commands = [
    'ip link add ifb0 type ifb',
    'ip link set ifb0 up',
    'tc qdisc add dev ifb0 root netem delay 20ms loss 1% limit 100000',
    'tc filter add dev uplink ingress pref 2 matchall action mirred egress redirect dev ifb0',
  ];
  await capture(...inNamespace(peer, 'sh', '-ec', commands.join('\n')));
}

/** Adds the pod with its cap; returns the pod's address. `undo` takes both away. */
async function addCappedPod(
  system: Step,
  { name, capMbit, keys, isAqmOff }: WiredCapScenario,
  bed: TestBed<'pod'>,
  undo: UndoStack,
  signal: AbortSignal,
): Promise<string> {
  const isPlain = system === 'edt-fifo';
  if (!isPlain)
    await startHelper(bed, undo, signal, isAqmOff === true ? ['--aqm-target-ms', 'off'] : []);
  const pod = {
    network: isPlain ? ('ptp' as const) : podpaceWith(temporaryDirectory(undo), name, keys),
    ...{ bed, netns: bed.pods.get('pod') ?? '' },
    capabilityArguments: argumentsFor(system, { egressMbit: capMbit }),
  };
  const result = await addPod(pod, undo);
  if (isPlain) {
    const plain = await startEdtFifo(bed.node, undo);
    await plain.cap(hostInterfaceOf(result), capMbit);
  }
  return addressOf(result);
}

function metricsOf(
  { capMbit, paceMbit }: WiredCapScenario,
  report: string,
  frames: readonly number[],
  seconds: number,
): Metric[] {
  const course = { bytes: frames, intervalMs: 100 };
  const [whole, settled] = [
    { fromMs: 0, toMs: seconds * 1000 },
    { fromMs: WARM_UP_SECONDS * 1000, toMs: seconds * 1000 - END_MS },
  ];
  const mean = meanMbitWithin(course, settled);
  const goodput = parseReceived(report);
  return [
    metric('goodput_mbit', 'Mbit/s', goodput),
    metric('bulk_rtt_us', 'us', parseBulk(report, WARM_UP_SECONDS).meanRttUs),
    paceMbit === undefined
      ? metric('mean_share', '1', mean / capMbit)
      : metric('pace_share', '1', goodput / paceMbit),
    metric('max_window_share', '1', maxWindowMbit(course, whole, WINDOW_MS) / capMbit),
  ];
}

/** The part of the bench that is of capped pods: one TCP flow from the pod to the peer. */
export function wiredCapsBench(seconds: number): SingleBench<WiredCapScenario, Step> {
  return {
    name: 'wiring',
    scenarios: WIRED_CAP_SCENARIOS,
    systemsOf: ({ steps = ['podpace'] }) => steps,
    measure: async (system, scenario, { undo, signal }) => {
      const bed = await makeTestBed(['pod'], undo, signal, { label: `${scenario.name}-` });
      const counter = await attachCounter({ netns: bed.peer, device: 'uplink' }, undo);
      if (scenario.isLossy === true) await addLoss(bed);
      await startServer(bed.peer, undo, signal);
      const address = await addCappedPod(system, scenario, bed, undo, signal);
      const pace = scenario.paceMbit === undefined ? [] : ['--fq-rate', `${scenario.paceMbit}M`];
      return await measureUndisturbed(async () => {
        counter.reset();
        const report = await runIperf(bed.pods.get('pod') ?? '', seconds, pace, signal);
        const frames = counter.readWire().get(address);
        if (frames === undefined)
          throw new Error(`Cannot measure: no data frame came from ${address}`);
        return { metrics: metricsOf(scenario, report, frames, seconds) };
      });
    },
  };
}
