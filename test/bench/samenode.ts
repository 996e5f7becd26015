// What a pod with a cap on what it sends gets through to another pod of its node, which has none.

import { setTimeout as delay } from 'node:timers/promises';
import { attachCounter } from '../bed/counter.ts';
import { startHelper } from '../bed/helper.ts';
import { receive, startServer } from '../bed/iperf.ts';
import { addPod, addressOf, podpaceWith } from '../bed/plugins.ts';
import type { Network } from '../bed/plugins.ts';
import { INTERVAL_MS, meanMbit, ratesMbit } from '../bed/series.ts';
import { temporaryDirectory } from '../bed/temporary-directory.ts';
import { makeTestBed } from '../bed/testbed.ts';
import type { TestBed } from '../bed/testbed.ts';
import type { UndoStack } from '../bed/undo.ts';
import { SAMENODE_SCENARIOS } from './names.ts';
import type { SamenodeScenario } from './names.ts';
import { argumentsFor } from './node.ts';
import { metric } from './record.ts';
import type { SingleBench } from './runner.ts';
import { measureUndisturbed } from './stalls.ts';

type Capper = 'podpace' | 'tbf';

/** The start is TCP's, not the cap's. */
const WARM_UP_SECONDS = 1;
/** The receiver is there a moment before podpace has seen it. */
const FOLLOW_MS = 1000;

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
): Promise<string> {
  const network =
    wiring === 'netkit'
      ? podpaceWith(temporaryDirectory(undo), wiring, { device: 'netkit' })
      : NETWORKS[wiring][system];
  const add = (pod: 'sender' | 'receiver', egressMbit?: number): Promise<string> => {
    const netns = bed.pods.get(pod) ?? '';
    const capabilityArguments = argumentsFor(system, { egressMbit });
    return addPod({ network, bed, netns, capabilityArguments }, undo);
  };
  const address = addressOf(await add('sender', capMbit));
  await add('receiver');
  return address;
}

/** The bench. */
export function samenodeBench(seconds: number): SingleBench<SamenodeScenario, Capper> {
  return {
    name: 'samenode',
    scenarios: SAMENODE_SCENARIOS,
    systemsOf: cappersOf,
    measure: async (system, scenario, { undo, signal }) => {
      const bed = await makeTestBed(['sender', 'receiver'], undo, signal, { label: `${system}-` });
      if (system === 'podpace') await startHelper(bed, undo, signal);
      const address = await addPods(system, scenario, bed, undo);
      const [sender = '', receiver = ''] = [bed.pods.get('sender'), bed.pods.get('receiver')];
      const counter = await attachCounter({ netns: receiver, device: 'eth0' }, undo);
      await startServer(sender, undo, signal);
      await delay(FOLLOW_MS, undefined, { signal });
      const whole = seconds + WARM_UP_SECONDS;
      return await measureUndisturbed(async () => {
        counter.reset();
        await receive(receiver, address, whole, signal);
        const payload = counter.readPayload().get(address);
        const frames = counter.readWire().get(address);
        if (payload === undefined || frames === undefined)
          throw new Error(`Cannot measure ${system}: the receiver saw no frame from ${address}`);
        const settled = payload.slice((WARM_UP_SECONDS * 1000) / INTERVAL_MS);
        const goodput = meanMbit(settled, seconds * 1000);
        return {
          metrics: [metric('goodput_mbit', 'Mbit/s', goodput)],
          ratesMbit: ratesMbit(frames, whole * 1000),
        };
      });
    },
  };
}
