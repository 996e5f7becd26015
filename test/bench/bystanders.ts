// What podpace on a node costs those that it does not cap: the node itself, a pod without caps,
// exempt traffic of a capped pod.

import { BackgroundProcess } from '../bed/background.ts';
import { addressOf, bandwidthArguments, callPlugins, startHelper } from '../bed/systems.ts';
import { inNamespace, makeTestBed } from '../bed/testbed.ts';
import { UndoStack } from '../bed/undo.ts';
import { PEER_ADDRESS } from '../bed/uplink.ts';
import { parseReceived, runIperf } from './bulk.ts';
import { BYSTANDER_SCENARIOS } from './names.ts';
import type { BystanderScenario } from './names.ts';
import { measureUndisturbed, sayRun } from './network.ts';
import type { BenchOptions } from './network.ts';
import type { Measured, Recorder } from './record.ts';
import { watchingStalls } from './stalls.ts';

const SYSTEMS = ['podpace', 'none'] as const;
type System = (typeof SYSTEMS)[number];

/** Of the pod that makes podpace work at all. */
const CAPS = { egressMbit: 10, ingressMbit: 10 } as const;
const FLOWS = '4';

/** A node with a capped pod and one without caps, under podpace or, both without, under nothing. */
async function makeNode(
  system: System,
  { sender }: BystanderScenario,
  { cnitool, signal }: BenchOptions,
  undo: UndoStack,
): Promise<string> {
  const bed = await makeTestBed(['capped', 'plain'], undo, signal, { label: `${system}-` });
  const [command, args] = inNamespace(bed.peer, 'iperf3', '--server', '--forceflush');
  const server = await BackgroundProcess.start(command, args);
  undo.defer('end the iperf3 server', () => server.stop());
  await server.ready((output) => output.includes('Server listening'), signal);
  const exempt = sender === 'exempt' ? ['--exempt', PEER_ADDRESS] : [];
  if (system === 'podpace') await startHelper(bed, undo, signal, exempt);
  for (const pod of ['capped', 'plain'] as const) {
    const call = {
      ...({ network: system === 'podpace' ? 'podpace' : 'ptp', bed, cnitool } as const),
      netns: bed.pods.get(pod) ?? '',
      capabilityArguments: bandwidthArguments(system === 'podpace' && pod === 'capped' ? CAPS : {}),
    };
    undo.defer(
      `take the ${pod} pod away`,
      async () => void (await callPlugins({ ...call, verb: 'del' })),
    );
    addressOf(await callPlugins({ ...call, verb: 'add' }));
  }
  if (sender === 'host') return bed.node;
  return bed.pods.get(sender === 'exempt' ? 'capped' : 'plain') ?? '';
}

async function measure(
  system: System,
  scenario: BystanderScenario,
  seconds: number,
  options: BenchOptions,
): Promise<Measured> {
  const undo = new UndoStack();
  try {
    const sender = await makeNode(system, scenario, options, undo);
    return await measureUndisturbed(async () => {
      const { result: report, stallMs } = await watchingStalls(() =>
        runIperf(sender, seconds, ['--parallel', FLOWS, '--omit', '1'], options.signal),
      );
      return {
        metrics: [{ metric: 'mbit', unit: 'Mbit/s', value: parseReceived(report) }],
        stallMs,
      };
    });
  } finally {
    await undo.run();
  }
}

/** Runs the bench; every run is recorded as soon as it is over. Nothing is left behind. */
export async function runBystanders(
  { repeats, udpSeconds }: { readonly repeats: number; readonly udpSeconds: number },
  recorder: Recorder,
  options: BenchOptions,
): Promise<void> {
  for (const scenario of BYSTANDER_SCENARIOS.filter(({ name }) => options.isWanted(name))) {
    for (let repeat = 0; repeat < repeats; repeat += 1) {
      for (const system of SYSTEMS) {
        const key = { scenario: scenario.name, system, repeat };
        if (recorder.has(key)) continue;
        options.signal.throwIfAborted();
        const measured = await measure(system, scenario, udpSeconds, options);
        recorder.add({ ...key, ...measured });
        sayRun('bystanders', key, measured);
      }
    }
  }
}
