// What TCP of a capped pod does when its packets keep their socket on the way: the queue it makes,
// a pace of its own, and BBR over a lossy path.

import { BackgroundProcess } from '../bed/background.ts';
import { attachCounter, type Counter } from '../bed/counter.ts';
import {
  addressOf,
  bandwidthArguments,
  callPlugins,
  hostInterfaceOf,
  podpaceWith,
  startHelper,
} from '../bed/systems.ts';
import { inNamespace, makeTestBed, type TestBed } from '../bed/testbed.ts';
import { UndoStack } from '../bed/undo.ts';
import { capture } from '../../scripts/lib/process.ts';
import { WINDOW_MS } from './accuracy.ts';
import { startEdtFifo } from './edt-fifo.ts';
import { parseBulk, parseReceived, runIperf } from './bulk.ts';
import type { Step, WiredCapScenario } from './names.ts';
import { measureUndisturbed } from './network.ts';
import type { BenchOptions } from './network.ts';
import type { Measured, Metric } from './record.ts';
import { watchingStalls } from './stalls.ts';
import { maxWindowMbit, meanMbitWithin } from './statistics.ts';

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

interface Scene {
  readonly bed: TestBed<'pod'>;
  readonly pod: string;
  readonly address: string;
  readonly counter: Counter;
}

/** Adds the pod with its cap; returns the pod's address. `undo` takes both away. */
async function addCappedPod(
  system: Step,
  { name, capMbit, keys, isAqmOff }: WiredCapScenario,
  bed: TestBed<'pod'>,
  { cnitool, signal }: BenchOptions,
  folder: string,
  undo: UndoStack,
): Promise<string> {
  const isPlain = system === 'edt-fifo';
  if (!isPlain)
    await startHelper(bed, undo, signal, isAqmOff === true ? ['--aqm-target-ms', 'off'] : []);
  const call = {
    network: isPlain ? ('ptp' as const) : podpaceWith(folder, name, keys),
    ...{ bed, cnitool, netns: bed.pods.get('pod') ?? '' },
    capabilityArguments: bandwidthArguments(isPlain ? {} : { egressMbit: capMbit }),
  };
  undo.defer('take the pod away', async () => void (await callPlugins({ ...call, verb: 'del' })));
  const result = await callPlugins({ ...call, verb: 'add' });
  if (isPlain) {
    const plain = await startEdtFifo(bed.node, undo);
    await plain.cap(hostInterfaceOf(result), capMbit);
  }
  return addressOf(result);
}

async function makeScene(
  system: Step,
  scenario: WiredCapScenario,
  options: BenchOptions,
  folder: string,
  undo: UndoStack,
): Promise<Scene> {
  const { signal } = options;
  const bed = await makeTestBed(['pod'], undo, signal, { label: `${scenario.name}-` });
  const counter = await attachCounter({ netns: bed.peer, device: 'uplink' }, undo);
  if (scenario.isLossy === true) await addLoss(bed);
  const [command, args] = inNamespace(bed.peer, 'iperf3', '--server', '--forceflush');
  const server = await BackgroundProcess.start(command, args);
  undo.defer('end the iperf3 server', () => server.stop());
  await server.ready((output) => output.includes('Server listening'), signal);
  const address = await addCappedPod(system, scenario, bed, options, folder, undo);
  return { bed, pod: bed.pods.get('pod') ?? '', counter, address };
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
    { metric: 'goodput_mbit', unit: 'Mbit/s', value: goodput },
    { metric: 'bulk_rtt_us', unit: 'us', value: parseBulk(report, WARM_UP_SECONDS).meanRttUs },
    paceMbit === undefined
      ? { metric: 'mean_share', unit: '1', value: mean / capMbit }
      : { metric: 'pace_share', unit: '1', value: goodput / paceMbit },
    {
      metric: 'max_window_share',
      unit: '1',
      value: maxWindowMbit(course, whole, WINDOW_MS) / capMbit,
    },
  ];
}

/** One run: one TCP flow from the pod to the peer. Nothing is left behind. */
export async function measureWiredCap(
  system: Step,
  scenario: WiredCapScenario,
  seconds: number,
  options: BenchOptions,
  folder: string,
): Promise<Measured> {
  const undo = new UndoStack();
  try {
    const { pod, address, counter } = await makeScene(system, scenario, options, folder, undo);
    const pace = scenario.paceMbit === undefined ? [] : ['--fq-rate', `${scenario.paceMbit}M`];
    return await measureUndisturbed(async () => {
      counter.reset();
      const { result: report, stallMs } = await watchingStalls(() =>
        runIperf(pod, seconds, pace, options.signal),
      );
      const frames = counter.readWire().get(address);
      if (frames === undefined)
        throw new Error(`Cannot measure: no data frame came from ${address}`);
      return { metrics: metricsOf(scenario, report, frames, seconds), stallMs };
    });
  } finally {
    await undo.run();
  }
}
