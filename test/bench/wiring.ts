// What a pod pays for the way to its node: bulk and requests, out of the pod and into it, for each
// kind of wiring. All stand side by side and are measured in turn.

import { execFile } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { BackgroundProcess } from '../bed/background.ts';
import {
  addressOf,
  callPlugins,
  podpaceWith,
  startHelper,
  type OwnNetwork,
} from '../bed/systems.ts';
import { inNamespace, makeTestBed, type TestBed } from '../bed/testbed.ts';
import { UndoStack } from '../bed/undo.ts';
import { NODE_ADDRESS, PEER_ADDRESS } from '../bed/uplink.ts';
import { parseReceived, runIperf } from './bulk.ts';
import { WIRED_CAP_SCENARIOS, WIRING_SCENARIOS } from './names.ts';
import type { WiringScenario } from './names.ts';
import { measureUndisturbed, sayRun } from './network.ts';
import type { BenchOptions } from './network.ts';
import type { Measured, Metric, Recorder } from './record.ts';
import { MESSAGE_BYTES, parseFullLog } from './requests.ts';
import { watchingStalls } from './stalls.ts';
import { percentile } from './statistics.ts';
import { measureWiredCap } from './wired-caps.ts';

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
    const server = ['server', '--tcp', '--ip', address, '--port', REQUEST_PORT];
    const [command, args] = inNamespace(netns, 'stdbuf', '--output=L', 'sockperf', ...server);
    const process = await BackgroundProcess.start(command, args);
    undo.defer('end the sockperf server', () => process.stop());
    await process.ready((output) => output.includes('to block on socket'), signal);
  }
  const [command, args] = inNamespace(sender.bed.peer, 'iperf3', '--server', '--forceflush');
  const server = await BackgroundProcess.start(command, args);
  undo.defer('end the iperf3 server', () => server.stop());
  await server.ready((output) => output.includes('Server listening'), signal);
}

/** A node with one pod, wired as the scenario says; the pod, or the node itself. */
async function makeSender(
  scenario: WiringScenario,
  { cnitool, signal }: BenchOptions,
  undo: UndoStack,
): Promise<Sender> {
  const { name, keys, isNode } = scenario;
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), `pp-${process.pid}-`));
  undo.defer(`remove ${folder}`, () => fs.rmSync(folder, { recursive: true, force: true }));
  const bed = await makeTestBed(['pod'], undo, signal, { label: `${name}-` });
  const place = { scenario, folder, bed };
  if (isNode) return { ...place, netns: bed.node, address: NODE_ADDRESS };
  const netns = bed.pods.get('pod') ?? '';
  const network: OwnNetwork | 'ptp' =
    keys === undefined ? 'ptp' : podpaceWith(folder, 'wiring', keys);
  const helper = keys?.hostRouting === true ? { helper: await startHelper(bed, undo, signal) } : {};
  const call = { network, bed, cnitool, netns, capabilityArguments: '{}' };
  undo.defer('take the pod away', async () => void (await callPlugins({ ...call, verb: 'del' })));
  return {
    ...place,
    ...helper,
    netns,
    address: addressOf(await callPlugins({ ...call, verb: 'add' })),
  };
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
    { metric: `stream_${direction}mbit`, unit: 'Mbit/s', value: mbit },
    {
      metric: `cpu_${direction}s_per_gb`,
      unit: 's/GB',
      value: (busySeconds() - before) / gigabytes,
    },
  ];
}

async function requests(
  sender: Sender,
  direction: '' | 'in_',
  signal: AbortSignal,
): Promise<Metric[]> {
  const [netns, to] =
    direction === '' ? [sender.netns, PEER_ADDRESS] : [sender.bed.peer, sender.address];
  const log = path.join(sender.folder, 'requests.csv');
  const ends = ['--tcp', '--ip', to, '--port', REQUEST_PORT];
  const load = ['--msg-size', String(MESSAGE_BYTES), '--time', String(TURN_SECONDS)];
  const output = ['--full-rtt', '--full-log', log];
  const [command, args] = inNamespace(netns, 'sockperf', 'ping-pong', ...ends, ...load, ...output);
  await new Promise<void>((resolve, reject) => {
    execFile(command, args, { signal }, (error, stdout, stderr) => {
      if (error === null) resolve();
      else
        reject(
          new Error(`Cannot measure: sockperf says: ${(stderr + stdout).trim()}`, { cause: error }),
        );
    });
  });
  const report = parseFullLog(fs.readFileSync(log, 'utf8'));
  fs.rmSync(log);
  return [
    {
      metric: `rr_${direction}per_sec`,
      unit: '1/s',
      value: report.roundTripsUs.length / report.seconds,
    },
    { metric: `rr_${direction}p99_us`, unit: 'us', value: percentile(report.roundTripsUs, 99) },
  ];
}

/** One turn: bulk and requests both ways, while the helpers of the others rest. */
async function measure(sender: Sender, signal: AbortSignal): Promise<Measured> {
  sender.helper?.resume();
  try {
    await sleep(SETTLE_MS, undefined, { signal });
    return await measureUndisturbed(async () => {
      const { result: metrics, stallMs } = await watchingStalls(async () => [
        ...(await stream(sender, '', signal)),
        ...(await stream(sender, 'in_', signal)),
        ...(await requests(sender, '', signal)),
        ...(await requests(sender, 'in_', signal)),
      ]);
      return { metrics, stallMs };
    });
  } finally {
    sender.helper?.pause();
  }
}

async function runUncapped(
  repeats: number,
  recorder: Recorder,
  options: BenchOptions,
): Promise<void> {
  const undo = new UndoStack();
  const senders: Sender[] = [];
  try {
    for (const scenario of WIRING_SCENARIOS.filter(({ name }) => options.isWanted(name))) {
      options.signal.throwIfAborted();
      const sender = await makeSender(scenario, options, undo);
      await startListening(sender, undo, options.signal);
      sender.helper?.pause();
      senders.push(sender);
    }
    for (let turn = 0; turn < repeats; turn += 1) {
      for (const sender of senders) {
        const { name, keys } = sender.scenario;
        const system = keys === undefined ? ('none' as const) : ('podpace' as const);
        const key = { scenario: name, system, repeat: turn };
        if (recorder.has(key)) continue;
        options.signal.throwIfAborted();
        const measured = await measure(sender, options.signal);
        recorder.add({ ...key, ...measured });
        sayRun('wiring', key, measured);
      }
    }
  } finally {
    for (const { helper } of senders) helper?.resume();
    await undo.run();
  }
}

async function runCapped(
  repeats: number,
  seconds: number,
  recorder: Recorder,
  options: BenchOptions,
): Promise<void> {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), `pp-${process.pid}-`));
  try {
    const runs = WIRED_CAP_SCENARIOS.filter(({ name }) => options.isWanted(name)).flatMap(
      (scenario) =>
        (scenario.steps ?? (['podpace'] as const)).map((system) => ({ scenario, system })),
    );
    for (let repeat = 0; repeat < repeats; repeat += 1) {
      for (const { scenario, system } of runs) {
        const key = { scenario: scenario.name, system, repeat };
        if (recorder.has(key)) continue;
        options.signal.throwIfAborted();
        const measured = await measureWiredCap(system, scenario, seconds, options, folder);
        recorder.add({ ...key, ...measured });
        sayRun('wiring', key, measured);
      }
    }
  } finally {
    fs.rmSync(folder, { recursive: true, force: true });
  }
}

/** Runs the bench; every run is recorded as soon as it is over. Nothing is left behind. */
export async function runWiring(
  { repeats, accuracySeconds }: { readonly repeats: number; readonly accuracySeconds: number },
  recorder: Recorder,
  options: BenchOptions,
): Promise<void> {
  await runUncapped(repeats, recorder, options);
  await runCapped(repeats, accuracySeconds, recorder, options);
}
