// What a pod with a cap on what it sends gets through to its own node, on each way to the node's
// sockets, and how long its requests beside that wait.

import fs from 'node:fs';
import path from 'node:path';
import { openNetns } from '../../helper/kernel/netns.ts';
import { writeSysctl } from '../../helper/kernel/sysctl.ts';
import { capture } from '../../scripts/lib/process.ts';
import { startHelper } from '../bed/helper.ts';
import { inNetnsAt } from '../bed/namespaces.ts';
import { listenOn } from '../bed/node-listener.ts';
import { measureNodeTraffic, NODE_ROUTES, nodeRules, PORT } from '../bed/node-traffic.ts';
import { addPod, dualIpam, podpaceWith, type OwnNetwork } from '../bed/plugins.ts';
import { temporaryDirectory } from '../bed/temporary-directory.ts';
import { inNamespace, makeTestBed, type TestBed } from '../bed/testbed.ts';
import { NODE_SCENARIOS, type NodeScenario } from './names.ts';
import { argumentsFor } from './node.ts';
import { metric } from './record.ts';
import type { SingleBench } from './runner.ts';
import { measureUndisturbed } from './stalls.ts';

type Capper = 'podpace' | 'tbf';
const CAPPERS: readonly Capper[] = ['podpace', 'tbf'];

/** Of the node, wherever its pod is. */
const NODE = { 4: '192.0.2.1', 6: '2001:db8:a::1' } as const;
const IPAM = dualIpam('10.89.0.0/24', '2001:db8:89::/64');

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
  inNetnsAt(node, () => writeSysctl('net/ipv6/conf/all/forwarding', '1'));
  const commands = [
    'link set lo up',
    `address add ${NODE[4]}/32 dev lo`,
    `-6 address add ${NODE[6]}/128 dev lo nodad`,
    ...NODE_ROUTES,
  ];
  for (const command of commands) await capture(...inNamespace(node, 'ip', ...command.split(' ')));
  await capture(...inNamespace(node, 'nft', nodeRules(NODE)));
}

/** The bench. */
export function nodeBench(seconds: number): SingleBench<NodeScenario, Capper> {
  return {
    name: 'node',
    scenarios: NODE_SCENARIOS,
    systemsOf: () => CAPPERS,
    measure: async (system, scenario, { undo, signal }) => {
      const bed = await makeTestBed(['pod'], undo, signal, { label: `${system}-` });
      await prepareNode(bed);
      const folder = temporaryDirectory(undo);
      if (system === 'podpace') await startHelper(bed, undo, signal);
      const network =
        system === 'podpace' ? podpaceWith(folder, 'to-node', { ipam: IPAM }) : tbfNetwork(folder);
      const pod = bed.pods.get('pod') ?? '';
      const capabilityArguments = argumentsFor(system, { egressMbit: scenario.capMbit });
      await addPod({ network, bed, netns: pod, capabilityArguments }, undo);
      const [node, netns] = [openNetns(bed.node), openNetns(pod)];
      undo.defer('let go of the namespaces', () => [node, netns].forEach((each) => each.close()));
      const listener = listenOn(undo, node, PORT);
      return await measureUndisturbed(async () => {
        const { mbit, p99Ms, lost, sent } = await measureNodeTraffic(
          { netns, undo },
          NODE,
          listener,
          scenario,
          seconds + 1,
        );
        // In the first second the sender is not yet at what it offers.
        const mean = mbit.slice(1).reduce((sum, each) => sum + each, 0) / seconds;
        return {
          metrics: [
            metric('mean_mbit', 'Mbit/s', mean),
            metric('max_second_mbit', 'Mbit/s', Math.max(...mbit)),
            metric('rr_p99_us', 'us', p99Ms * 1000),
            metric('rr_lost_share', '1', lost / sent),
          ],
        };
      });
    },
  };
}
