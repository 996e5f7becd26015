// What podpace on a node costs those that it does not cap: the node itself, a pod without caps,
// exempt traffic of a capped pod.

import { startHelper } from '../bed/helper.ts';
import { parseReceived, runIperf, startServer } from '../bed/iperf.ts';
import { addPod } from '../bed/plugins.ts';
import { makeTestBed } from '../bed/testbed.ts';
import type { UndoStack } from '../bed/undo.ts';
import { PEER_ADDRESS } from '../bed/uplink.ts';
import { BYSTANDER_SCENARIOS } from './names.ts';
import type { BystanderScenario } from './names.ts';
import { argumentsFor } from './node.ts';
import { metric } from './record.ts';
import type { SingleBench } from './runner.ts';
import { measureUndisturbed } from './stalls.ts';

const SYSTEMS = ['podpace', 'none'] as const;
type System = (typeof SYSTEMS)[number];

/** Of the pod that makes podpace work at all. */
const CAPS = { egressMbit: 10, ingressMbit: 10 } as const;
const FLOWS = '4';

/**
 * A node with a capped pod and one without caps, under podpace or, both without, under nothing.
 * Returns the namespace of who is to send.
 */
async function makeNode(
  system: System,
  { sender }: BystanderScenario,
  undo: UndoStack,
  signal: AbortSignal,
): Promise<string> {
  const bed = await makeTestBed(['capped', 'plain'], undo, signal, { label: `${system}-` });
  await startServer(bed.peer, undo, signal);
  const exempt = sender === 'exempt' ? ['--exempt', PEER_ADDRESS] : [];
  if (system === 'podpace') await startHelper(bed, undo, signal, exempt);
  const network = system === 'podpace' ? 'podpace' : 'ptp';
  for (const [pod, netns] of bed.pods) {
    const capabilityArguments = argumentsFor(system, pod === 'capped' ? CAPS : {});
    await addPod({ network, bed, netns, capabilityArguments }, undo);
  }
  if (sender === 'host') return bed.node;
  return bed.pods.get(sender === 'exempt' ? 'capped' : 'plain') ?? '';
}

/** The bench. */
export function bystandersBench(seconds: number): SingleBench<BystanderScenario, System> {
  return {
    name: 'bystanders',
    scenarios: BYSTANDER_SCENARIOS,
    systemsOf: () => SYSTEMS,
    measure: async (system, scenario, { undo, signal }) => {
      const sender = await makeNode(system, scenario, undo, signal);
      return await measureUndisturbed(async () => {
        const load = ['--parallel', FLOWS, '--omit', '1'];
        const mbit = parseReceived(await runIperf(sender, seconds, load, signal));
        return { metrics: [metric('mbit', 'Mbit/s', mbit)] };
      });
    },
  };
}
