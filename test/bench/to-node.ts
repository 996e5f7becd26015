// What a pod with a cap on what it sends gets through to its own node, on each way to the node's
// sockets, and how long its requests beside that wait.

import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { inNetns, openNetns } from '../../helper/kernel/netns.ts';
import { writeSysctl } from '../../helper/kernel/sysctl.ts';
import { capture } from '../../scripts/lib/process.ts';
import { listenOn } from '../bed/node-listener.ts';
import { measureNodeTraffic, NODE_ROUTES, nodeRules, PORT } from '../bed/node-traffic.ts';
import {
  bandwidthArguments,
  callPlugins,
  podpaceWith,
  startHelper,
  type OwnNetwork,
} from '../bed/systems.ts';
import { inNamespace, makeTestBed, type TestBed } from '../bed/testbed.ts';
import { UndoStack } from '../bed/undo.ts';
import { NODE_SCENARIOS, type NodeScenario } from './names.ts';
import { sayRun, type BenchOptions } from './network.ts';
import type { Measured, Recorder } from './record.ts';
import { watchingStalls } from './stalls.ts';

type Capper = 'podpace' | 'tbf';
const CAPPERS: readonly Capper[] = ['podpace', 'tbf'];

const TBF_BURST_BITS = 1_000_000;
/** Of the node, wherever its pod is. */
const NODE = { 4: '192.0.2.1', 6: '2001:db8:a::1' } as const;
const IPAM = {
  type: 'host-local',
  ranges: [[{ subnet: '10.89.0.0/24' }], [{ subnet: '2001:db8:89::/64' }]],
  routes: [{ dst: '0.0.0.0/0' }, { dst: '::/0' }],
};

/** ptp and the bandwidth plugin, for pods of both families. */
function tbfNetwork(folder: string): OwnNetwork {
  const plugins = [
    { type: 'ptp', ipam: IPAM },
    { type: 'bandwidth', capabilities: { bandwidth: true } },
  ];
  const conflist = path.join(folder, '10-tbf.conflist');
  fs.writeFileSync(conflist, JSON.stringify({ cniVersion: '1.0.0', name: 'to-node-tbf', plugins }));
  return { conflist };
}

async function prepareNode({ node }: TestBed<'pod'>): Promise<void> {
  const place = openNetns(node);
  inNetns(place, () => writeSysctl('net/ipv6/conf/all/forwarding', '1'));
  place.close();
  const commands = [
    'link set lo up',
    `address add ${NODE[4]}/32 dev lo`,
    `-6 address add ${NODE[6]}/128 dev lo nodad`,
    ...NODE_ROUTES,
  ];
  for (const command of commands) await capture(...inNamespace(node, 'ip', ...command.split(' ')));
  await capture(...inNamespace(node, 'nft', nodeRules(NODE)));
}

async function measure(
  system: Capper,
  scenario: NodeScenario,
  seconds: number,
  { cnitool, signal }: BenchOptions,
): Promise<Measured> {
  const undo = new UndoStack();
  try {
    const bed = await makeTestBed(['pod'], undo, signal, { label: `${system}-` });
    await prepareNode(bed);
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), `pp-${process.pid}-`));
    undo.defer(`remove ${folder}`, () => fs.rmSync(folder, { recursive: true, force: true }));
    if (system === 'podpace') await startHelper(bed, undo, signal);
    const network =
      system === 'podpace' ? podpaceWith(folder, 'to-node', { ipam: IPAM }) : tbfNetwork(folder);
    const burst = system === 'tbf' ? { burstBits: TBF_BURST_BITS } : {};
    const pod = bed.pods.get('pod') ?? '';
    const call = {
      ...{ network, bed, cnitool, netns: pod },
      capabilityArguments: bandwidthArguments({ egressMbit: scenario.capMbit, ...burst }),
    };
    undo.defer('take the pod away', async () => void (await callPlugins({ ...call, verb: 'del' })));
    await callPlugins({ ...call, verb: 'add' });
    const [node, netns] = [openNetns(bed.node), openNetns(pod)];
    undo.defer('let go of the namespaces', () => [node, netns].forEach((each) => each.close()));
    const listener = listenOn(undo, node, PORT);
    const { result, stallMs } = await watchingStalls(() =>
      measureNodeTraffic({ netns, undo }, NODE, listener, scenario, seconds + 1),
    );
    const { mbit, p99Ms, lost, sent } = result;
    // In the first second the sender is not yet at what it offers.
    const mean = mbit.slice(1).reduce((sum, each) => sum + each, 0) / seconds;
    return {
      metrics: [
        { metric: 'mean_mbit', unit: 'Mbit/s', value: mean },
        { metric: 'max_second_mbit', unit: 'Mbit/s', value: Math.max(...mbit) },
        { metric: 'rr_p99_us', unit: 'us', value: p99Ms * 1000 },
        { metric: 'rr_lost_share', unit: '1', value: lost / sent },
      ],
      stallMs,
    };
  } finally {
    await undo.run();
  }
}

/** Runs the bench; every run is recorded as soon as it is over. Nothing is left behind. */
export async function runToNode(
  { repeats, accuracySeconds }: { readonly repeats: number; readonly accuracySeconds: number },
  recorder: Recorder,
  options: BenchOptions,
): Promise<void> {
  for (const scenario of NODE_SCENARIOS.filter(({ name }) => options.isWanted(name))) {
    for (let repeat = 0; repeat < repeats; repeat += 1) {
      for (const system of CAPPERS) {
        const key = { scenario: scenario.name, system, repeat };
        if (recorder.has(key)) continue;
        options.signal.throwIfAborted();
        const measured = await measure(system, scenario, accuracySeconds, options);
        recorder.add({ ...key, ...measured });
        sayRun('node', key, measured);
      }
    }
  }
}
