// What a pod sends to the node itself, on kernels that hold packets: it keeps to the cap whichever
// way it comes to the node's sockets, and requests beside it do not wait. PODPACE_NODE_ROWS=all
// takes every combination.

import test, { type ExecutionContext } from 'ava';
import { inNetns } from '../../helper/kernel/netns.ts';
import { writeSysctl } from '../../helper/kernel/sysctl.ts';
import { capture } from '../../scripts/lib/process.ts';
import {
  measureNodeTraffic,
  NODE_ROUTES,
  NODE_TRAFFIC_ROWS,
  nodeRules,
  PORT,
  type NodeTrafficRow,
} from '../bed/node-traffic.ts';
import { inNamespace } from '../bed/testbed.ts';
import { UndoStack } from '../bed/undo.ts';
import {
  addUplink,
  makeHelperDirectories,
  paramsOf,
  startOwnHelper,
  wirePod,
} from '../kit/helper.ts';
import { makeNetns, type TestNetns } from '../kit/netns.ts';
import { listenOn, type NodeListener } from '../bed/node-listener.ts';

const CAP_MBIT = 10;
const SECONDS = 4;
/**
 * p99 of a request at 10 Mbit/s beside one bulk flow behind the bandwidth plugin's TBF is 114 ms:
 * test/bench/results/README.md.
 */
const REQUEST_P99_MS = 114 / 8;
const POD = { 4: '10.86.0.2', 6: '2001:db8:86::2' } as const;
const NODE = { 4: '10.86.0.1', 6: '2001:db8:86::1' } as const;

/** Each way, protocol and family. */
const FEW_ROWS: readonly NodeTrafficRow[] = [
  { protocol: 'TCP', family: 4, way: 'direct' },
  { protocol: 'UDP', family: 6, way: 'DNAT' },
  { protocol: 'TCP', family: 6, way: 'TPROXY' },
];
const ROWS = process.env['PODPACE_NODE_ROWS'] === 'all' ? NODE_TRAFFIC_ROWS : FEW_ROWS;

interface Scene {
  readonly node: TestNetns;
  readonly pod: TestNetns;
  readonly listener: NodeListener;
}

function inTurn({ ip }: TestNetns, commands: readonly string[]): void {
  for (const command of commands) ip(...command.split(' '));
}

async function makeScene(t: ExecutionContext): Promise<Scene> {
  const [node, pod, peer] = [makeNetns(t), makeNetns(t), makeNetns(t)];
  wirePod(node, pod, 'pod0');
  addUplink(node, peer, 'uplink', 1);
  inNetns(node.netns, () => {
    writeSysctl('net/ipv4/ip_forward', '1');
    writeSysctl('net/ipv6/conf/all/forwarding', '1');
  });
  inTurn(node, [
    'link set lo up',
    `address add ${NODE[4]}/24 dev pod0`,
    `-6 address add ${NODE[6]}/64 dev pod0 nodad`,
    ...NODE_ROUTES,
  ]);
  inTurn(pod, [
    `address add ${POD[4]}/24 dev eth0`,
    `route add default via ${NODE[4]}`,
    `-6 address add ${POD[6]}/64 dev eth0 nodad`,
    `-6 route add default via ${NODE[6]}`,
  ]);
  await capture(...inNamespace(node.netns.path, 'nft', nodeRules(NODE)));
  const helper = await startOwnHelper(t, node, makeHelperDirectories(t));
  await helper.ask('attach', paramsOf('pod0', pod, { egress: { rateBitsPerSec: CAP_MBIT * 1e6 } }));
  const { state, problems, nodeTraffic, notices } = await helper.ask('status', {});
  t.is(state, 'ok', problems.join('; '));
  t.is(nodeTraffic, 'policed', notices.join('; '));
  return { node, pod, listener: listenOn(t, node.netns, PORT) };
}

interface Measured {
  readonly mean: number;
  readonly most: number;
  readonly p99Ms: number;
  readonly lost: number;
}

async function measure(
  t: ExecutionContext,
  { pod, listener }: Scene,
  row: NodeTrafficRow,
): Promise<Measured> {
  const undo = UndoStack.of(t);
  const sender = { netns: pod.netns, undo };
  const { mbit, p99Ms, lost, sent } = await measureNodeTraffic(
    sender,
    NODE,
    listener,
    row,
    SECONDS,
  );
  // In the first second the sender is not yet at what it offers.
  const settled = mbit.slice(1);
  const mean = settled.reduce((sum, each) => sum + each, 0) / settled.length;
  const most = Math.max(...mbit);
  const seconds = mbit.map((each) => each.toFixed(2)).join(' ');
  t.log(
    `${row.protocol} IPv${row.family} ${row.way}: ${mean.toFixed(3)} Mbit/s of ${CAP_MBIT} (${seconds}); ` +
      `requests p99 ${p99Ms.toFixed(2)} ms, ${lost} of ${sent} lost`,
  );
  return { mean, most, p99Ms, lost };
}

test.serial(
  'what a pod sends to the node itself keeps to its cap, and requests do not wait',
  async (t) => {
    t.timeout(300_000);
    const scene = await makeScene(t);
    for (const row of ROWS) {
      const { mean, most, p99Ms, lost } = await measure(t, scene, row);
      const what = JSON.stringify(row);
      t.true(mean >= (row.protocol === 'TCP' ? 0.85 : 0.99) * CAP_MBIT, `${what}: ${mean} Mbit/s`);
      t.true(mean <= 1.01 * CAP_MBIT, `${what}: ${mean} Mbit/s`);
      t.true(most <= 1.01 * CAP_MBIT, `${what}: ${most} Mbit/s in a second`);
      t.true(p99Ms <= REQUEST_P99_MS, `${what}: ${p99Ms} ms`);
      t.is(lost, 0, `${what}: requests lost`);
    }
  },
);
