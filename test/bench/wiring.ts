// What a pod pays for the way to its node: bulk and requests, out of the pod and into it, for each
// kind of wiring. All stand side by side and are measured in turn.

import fs from 'node:fs';
import os from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import type { BackgroundProcess } from '../bed/background.ts';
import { startHelper } from '../bed/helper.ts';
import { parseReceived, runIperf, startServer } from '../bed/iperf.ts';
import { addPod, addressOf, podpaceWith } from '../bed/plugins.ts';
import { temporaryDirectory } from '../bed/temporary-directory.ts';
import { inNamespace, makeTestBed, type TestBed } from '../bed/testbed.ts';
import { UndoStack } from '../bed/undo.ts';
import { NODE_ADDRESS, PEER_ADDRESS } from '../bed/uplink.ts';
import { WIRING_SCENARIOS } from './names.ts';
import type { WiringScenario } from './names.ts';
import { metric } from './record.ts';
import type { Measured, Metric, Recorder } from './record.ts';
import { MESSAGE_BYTES, runSockperf, SERVER, startSockperf } from './requests.ts';
import { keepRun, runSingly, type BenchOptions } from './runner.ts';
import { measureUndisturbed } from './stalls.ts';
import { percentile } from '../bed/statistics.ts';
import { wiredCapsBench } from './wired-caps.ts';

const REQUEST_PORT = '11111';
/** Of each load; bulk has another second before it to leave slow start. */
const TURN_SECONDS = 2;
/** What a helper has missed while it was paused, it makes up for first. */
const SETTLE_MS = 3000;
/** USER_HZ (time(7)). */
const TICKS_PER_SECOND = 100;

/** One end of the comparison: a namespace, its address, and the folder for what programs write. */
interface Sender {
  readonly scenario: WiringScenario;
  readonly helper?: BackgroundProcess;
  readonly netns: string;
  readonly address: string;
  readonly folder: string;
  readonly bed: TestBed<'pod'>;
}

async function startListening(sender: Sender, undo: UndoStack, signal: AbortSignal): Promise<void> {
  const ends = [
    [sender.bed.peer, PEER_ADDRESS],
    [sender.netns, sender.address],
  ] as const;
  for (const [netns, address] of ends) {
    const command = [...SERVER, '--tcp', '--ip', address, '--port', REQUEST_PORT] as const;
    await startSockperf(netns, [...command], undo, signal);
  }
  await startServer(sender.bed.peer, undo, signal);
}

/** A node with one pod, wired as the scenario says; the pod, or the node itself. */
async function makeSender(
  scenario: WiringScenario,
  signal: AbortSignal,
  undo: UndoStack,
): Promise<Sender> {
  const { name, keys, isNode } = scenario;
  const folder = temporaryDirectory(undo);
  const bed = await makeTestBed(['pod'], undo, signal, { label: `${name}-` });
  const place = { scenario, folder, bed };
  if (isNode) return { ...place, netns: bed.node, address: NODE_ADDRESS };
  const netns = bed.pods.get('pod') ?? '';
  const network = keys === undefined ? ('ptp' as const) : podpaceWith(folder, 'wiring', keys);
  const helper = keys?.hostRouting === true ? { helper: await startHelper(bed, undo, signal) } : {};
  const address = addressOf(await addPod({ network, bed, netns }, undo));
  return { ...place, ...helper, netns, address };
}

/**
 * Time that the processors have spent on anything but idling, s. From the time they idled, the
 * first line of /proc/stat (proc(5)), which the kernel measures; what it says of work it takes from
 * samples.
 */
function busySeconds(): number {
  const [line = ''] = fs.readFileSync('/proc/stat', 'utf8').split('\n');
  const [, , , idle = 0, waiting = 0] = line.trim().split(/\s+/).slice(1).map(Number);
  return (
    os.availableParallelism() * (performance.now() / 1000) - (idle + waiting) / TICKS_PER_SECOND
  );
}

async function stream(
  { netns }: Sender,
  direction: '' | 'in_',
  signal: AbortSignal,
): Promise<Metric[]> {
  const before = busySeconds();
  const options = ['--omit', '1', ...(direction === '' ? [] : ['--reverse'])];
  const mbit = parseReceived(await runIperf(netns, TURN_SECONDS, options, signal));
  // What is omitted has cost as much as the rest.
  const gigabytes = (mbit * 1e6 * (TURN_SECONDS + 1)) / 8 / 1e9;
  return [
    metric(`stream_${direction}mbit`, 'Mbit/s', mbit),
    metric(`cpu_${direction}s_per_gb`, 's/GB', (busySeconds() - before) / gigabytes),
  ];
}

async function requests(
  sender: Sender,
  direction: '' | 'in_',
  signal: AbortSignal,
): Promise<Metric[]> {
  const [netns, to] =
    direction === '' ? [sender.netns, PEER_ADDRESS] : [sender.bed.peer, sender.address];
  const ends = ['--tcp', '--ip', to, '--port', REQUEST_PORT];
  const load = ['--msg-size', String(MESSAGE_BYTES), '--time', String(TURN_SECONDS)];
  const command = inNamespace(netns, 'sockperf', 'ping-pong', ...ends, ...load);
  const { roundTripsUs, seconds } = await runSockperf(command, sender.folder, signal);
  return [
    metric(`rr_${direction}per_sec`, '1/s', roundTripsUs.length / seconds),
    metric(`rr_${direction}p99_us`, 'us', percentile(roundTripsUs, 99)),
  ];
}

/** One turn: bulk and requests both ways, while the helpers of the others rest. */
async function measure(sender: Sender, signal: AbortSignal): Promise<Measured> {
  sender.helper?.resume();
  try {
    await sleep(SETTLE_MS, undefined, { signal });
    return await measureUndisturbed(async () => ({
      metrics: [
        ...(await stream(sender, '', signal)),
        ...(await stream(sender, 'in_', signal)),
        ...(await requests(sender, '', signal)),
        ...(await requests(sender, 'in_', signal)),
      ],
    }));
  } finally {
    sender.helper?.pause();
  }
}

/** The part of the bench that is of pods without a cap. */
async function runUncapped(
  recorder: Recorder,
  { repeats, isWanted, signal }: BenchOptions,
): Promise<void> {
  const undo = new UndoStack();
  const senders: Sender[] = [];
  try {
    for (const scenario of WIRING_SCENARIOS.filter(({ name }) => isWanted(name))) {
      signal.throwIfAborted();
      const sender = await makeSender(scenario, signal, undo);
      await startListening(sender, undo, signal);
      sender.helper?.pause();
      senders.push(sender);
    }
    for (let turn = 0; turn < repeats; turn += 1) {
      for (const sender of senders) {
        const { name, keys } = sender.scenario;
        const system = keys === undefined ? ('none' as const) : ('podpace' as const);
        const key = { scenario: name, system, repeat: turn };
        if (recorder.has(key)) continue;
        signal.throwIfAborted();
        keepRun('wiring', key, await measure(sender, signal), recorder);
      }
    }
  } finally {
    for (const { helper } of senders) helper?.resume();
    await undo.run();
  }
}

/** Runs the bench; every run is recorded as soon as it is over. Nothing is left behind. */
export async function runWiring(
  seconds: number,
  recorder: Recorder,
  options: BenchOptions,
): Promise<void> {
  await runUncapped(recorder, options);
  await runSingly(wiredCapsBench(seconds), recorder, options);
}
