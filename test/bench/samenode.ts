// What a pod with a cap on what it sends gets through to another pod of its node, which has none.

import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import {
  addressOf,
  bandwidthArguments,
  callPlugins,
  podpaceWith,
  startHelper,
} from '../bed/systems.ts';
import type { Network } from '../bed/systems.ts';
import { attachCounter } from '../bed/counter.ts';
import { receive, startServer } from '../bed/load.ts';
import { INTERVAL_MS, meanMbit, ratesMbit } from '../bed/series.ts';
import { makeTestBed } from '../bed/testbed.ts';
import type { TestBed } from '../bed/testbed.ts';
import { UndoStack } from '../bed/undo.ts';
import { SAMENODE_SCENARIOS } from './names.ts';
import type { SamenodeScenario } from './names.ts';
import { measureUndisturbed, sayRun } from './network.ts';
import type { BenchOptions } from './network.ts';
import type { Measured, Recorder } from './record.ts';
import { watchingStalls } from './stalls.ts';

type Capper = 'podpace' | 'tbf';

const TBF_BURST_BITS = 1_000_000;
/** The start is TCP's, not the cap's. */
const WARM_UP_SECONDS = 1;

const NETWORKS: Readonly<
  Record<Exclude<SamenodeScenario['wiring'], 'netkit'>, Readonly<Record<Capper, Network>>>
> = {
  routed: { podpace: 'podpace', tbf: 'tbf' },
  bridge: { podpace: 'podpace-bridge', tbf: 'tbf-bridge' },
};

/** Nobody else's plugin makes a netkit, and the bandwidth plugin caps veths only. */
function cappersOf({ wiring }: SamenodeScenario): readonly Capper[] {
  return wiring === 'netkit' ? ['podpace'] : ['podpace', 'tbf'];
}

/** Adds both pods, the sender with the cap; returns the sender's address. */
async function addPods(
  system: Capper,
  { capMbit, wiring }: SamenodeScenario,
  bed: TestBed<'sender' | 'receiver'>,
  undo: UndoStack,
  cnitool: string,
): Promise<string> {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), `pp-${process.pid}-`));
  undo.defer(`remove ${folder}`, () => fs.rmSync(folder, { recursive: true, force: true }));
  const network =
    wiring === 'netkit'
      ? podpaceWith(folder, wiring, { device: 'netkit' })
      : NETWORKS[wiring][system];
  const burst = system === 'tbf' ? { burstBits: TBF_BURST_BITS } : {};
  const add = async (pod: 'sender' | 'receiver', egressMbit?: number): Promise<string> => {
    const call = {
      ...{ network, bed, cnitool, netns: bed.pods.get(pod) ?? '' },
      capabilityArguments: bandwidthArguments({ egressMbit, ...burst }),
    };
    undo.defer(
      `take the ${pod} away`,
      async () => void (await callPlugins({ ...call, verb: 'del' })),
    );
    return addressOf(await callPlugins({ ...call, verb: 'add' }));
  };
  const address = await add('sender', capMbit);
  await add('receiver');
  return address;
}

/** The receiver is there a moment before podpace has seen it. */
const FOLLOW_MS = 1000;

async function measure(
  system: Capper,
  scenario: SamenodeScenario,
  seconds: number,
  { cnitool, signal }: BenchOptions,
): Promise<Measured> {
  const undo = new UndoStack();
  try {
    const bed = await makeTestBed(['sender', 'receiver'], undo, signal, { label: `${system}-` });
    if (system === 'podpace') await startHelper(bed, undo, signal);
    const address = await addPods(system, scenario, bed, undo, cnitool);
    const [sender = '', receiver = ''] = [bed.pods.get('sender'), bed.pods.get('receiver')];
    const counter = await attachCounter({ netns: receiver, device: 'eth0' }, undo);
    await startServer(sender, undo, signal);
    await delay(FOLLOW_MS, undefined, { signal });
    const whole = seconds + WARM_UP_SECONDS;
    return await measureUndisturbed(async () => {
      counter.reset();
      const { stallMs } = await watchingStalls(() => receive(receiver, address, whole, signal));
      const payload = counter.readPayload().get(address);
      const frames = counter.readWire().get(address);
      if (payload === undefined || frames === undefined)
        throw new Error(`Cannot measure ${system}: the receiver saw no frame from ${address}`);
      const settled = payload.slice((WARM_UP_SECONDS * 1000) / INTERVAL_MS);
      return {
        metrics: [
          { metric: 'goodput_mbit', unit: 'Mbit/s', value: meanMbit(settled, seconds * 1000) },
        ],
        stallMs,
        ratesMbit: ratesMbit(frames, whole * 1000),
      };
    });
  } finally {
    await undo.run();
  }
}

/** Runs the bench; every run is recorded as soon as it is over. Nothing is left behind. */
export async function runSamenode(
  { repeats, accuracySeconds }: { readonly repeats: number; readonly accuracySeconds: number },
  recorder: Recorder,
  options: BenchOptions,
): Promise<void> {
  for (const scenario of SAMENODE_SCENARIOS.filter(({ name }) => options.isWanted(name))) {
    for (let repeat = 0; repeat < repeats; repeat += 1) {
      for (const system of cappersOf(scenario)) {
        const key = { scenario: scenario.name, system, repeat };
        if (recorder.has(key)) continue;
        options.signal.throwIfAborted();
        const measured = await measure(system, scenario, accuracySeconds, options);
        recorder.add({ ...key, ...measured });
        sayRun('samenode', key, measured);
      }
    }
  }
}
