// Annotations of a running pod that was added without any: added, changed and removed, they are in
// force within a second, by frames at the peer. A stand-in is the API server.

import { setTimeout as sleep } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { inNetns } from '../../../helper/kernel/netns.ts';
import { writeSysctl } from '../../../helper/kernel/sysctl.ts';
import { attachCounter, compileCounter, type Counter } from '../../bed/counter.ts';
import { parseDatagrams, runIperf, startServer } from '../../bed/iperf.ts';
import { COUNTED_INTERVAL_MS } from '../../bed/series.ts';
import { UndoStack } from '../../bed/undo.ts';
import { StandInApiServer } from '../../kit/api-server.ts';
import {
  addUplink,
  makeHelperDirectories,
  startOwnHelper,
  wirePod,
  type TestHelper,
} from '../../kit/helper.ts';
import { makeNetns, runBatch } from '../../kit/netns.ts';
import { FRAME_BYTES, openSender, sendAll, type Flow } from '../../kit/udp-load.ts';
import { call, until } from '../../kit/wish-scene.ts';

const EGRESS = 'kubernetes.io/egress-bandwidth';
const POD = { name: 'web-0', address: '10.86.1.2', gateway: '10.86.1.1' };
const PEER = '198.51.100.2';
const OFFERED_MBIT = 30;
const LOAD_MS = 2000;
const WITHIN_MS = 1000;
const LOOK_MS = 20;
/** How far from its cap a pod may be. */
const TOLERANCE = 0.01;

/** Datagrams of iperf3, while a cap comes and goes. */
const IN_ORDER_SECONDS = 4;
const DATAGRAM_BYTES = 1448;

interface Scene {
  readonly server: StandInApiServer;
  readonly helper: TestHelper;
  /** At the peer. */
  readonly counter: Counter;
  readonly flow: Flow;
  readonly peer: string;
  readonly sandbox: string;
}

/** A node that follows the cluster, and a pod on it that the plugin has added without a cap. */
async function makeScene(t: ExecutionContext): Promise<Scene> {
  t.timeout(600_000);
  compileCounter();
  const [node, peer, sandbox] = [makeNetns(t), makeNetns(t), makeNetns(t)];
  const directories = makeHelperDirectories(t);
  node.ip('link', 'set', 'lo', 'up');
  addUplink(node, peer, 'uplink', 1);
  await runBatch(peer, ['route add 10.86.0.0/16 via 198.51.100.1']);
  inNetns(node.netns, () => writeSysctl('net/ipv4/ip_forward', '1'));
  wirePod(node, sandbox, POD.name);
  await runBatch(node, [`address add ${POD.gateway}/24 dev ${POD.name}`]);
  await runBatch(sandbox, [
    `address add ${POD.address}/24 dev eth0`,
    `route add default via ${POD.gateway}`,
  ]);
  const server = await StandInApiServer.start(t, { netns: node.netns });
  server.put(POD.name, {});
  const helper = await startOwnHelper(t, node, directories, [
    ...['--reconcile-seconds', '3600', '--kubernetes', '--node-name', 'node-1'],
    ...['--kubeconfig', server.kubeconfig()],
  ]);
  const socket = `${directories.run}/helper.sock`;
  const names = `K8S_POD_NAMESPACE=default;K8S_POD_NAME=${POD.name};K8S_POD_UID=uid-of-${POD.name}`;
  const added = call(
    { node, directories, socket, wishes: '' },
    'ADD',
    sandbox,
    { egressRate: undefined, egressBurst: undefined },
    { CNI_ARGS: names },
  );
  t.is(added.status, 0, added.stdout + added.stderr);
  await until(t, 'the watch', () => server.watching === 1);
  const place = { netns: `/run/netns/${peer.name}`, device: 'uplink' };
  const flow = {
    socket: openSender(t, sandbox.netns),
    to: PEER,
    bitsPerSec: OFFERED_MBIT * 1e6,
  };
  const counter = await attachCounter(place, UndoStack.of(t));
  return {
    ...{ server, helper, counter, flow },
    peer: `/run/netns/${peer.name}`,
    sandbox: `/run/netns/${sandbox.name}`,
  };
}

/** The pod's rate in force, in Mbit/s; undefined without a cap, or with one that is not enforced. */
async function inForceMbit({ helper }: Scene): Promise<number | undefined> {
  const { attachments } = await helper.ask('list', {});
  const own = attachments.find(({ podName }) => podName === POD.name);
  const rate = own?.effective.egress?.rateBitsPerSec;
  return own?.problems.length === 0 && rate !== undefined ? rate / 1e6 : undefined;
}

/** Annotates the pod and waits until that is in force. */
async function putInForce(
  t: ExecutionContext,
  scene: Scene,
  mbit: number | undefined,
): Promise<void> {
  const startMs = performance.now();
  scene.server.put(POD.name, mbit === undefined ? {} : { [EGRESS]: `${mbit}M` });
  while ((await inForceMbit(scene)) !== mbit && performance.now() - startMs < 10 * WITHIN_MS)
    await sleep(LOOK_MS);
  const tookMs = performance.now() - startMs;
  t.log(`${mbit ?? 'no'} Mbit/s in force after ${tookMs.toFixed(0)} ms`);
  t.is(await inForceMbit(scene), mbit, scene.helper.log());
  t.true(tookMs < WITHIN_MS, `${tookMs} ms`);
}

/** Annotates the pod, waits until that is in force, and sends: Mbit/s of its frames at the peer. */
async function annotate(
  t: ExecutionContext,
  scene: Scene,
  mbit: number | undefined,
): Promise<number> {
  const { counter, flow } = scene;
  await putInForce(t, scene, mbit);
  counter.reset();
  await sendAll([flow], LOAD_MS);
  await sleep(100);
  const intervals = counter.readWire(COUNTED_INTERVAL_MS).get(POD.address) ?? [];
  const bytes = intervals.reduce((sum, each) => sum + each, 0);
  const ms = Math.max(intervals.length * COUNTED_INTERVAL_MS, LOAD_MS);
  const sentMbit = ((bytes - FRAME_BYTES) * 8) / ms / 1000;
  t.log(`${sentMbit.toFixed(3)} Mbit/s at the peer`);
  return sentMbit;
}

/** A full queue of a cap that goes, and one of a cap that comes: no datagram overtakes another. */
async function staysInOrder(t: ExecutionContext, scene: Scene): Promise<void> {
  const { signal } = new AbortController();
  await startServer(scene.sandbox, UndoStack.of(t), signal);
  const load = ['--udp', '--reverse', '--bitrate', `${OFFERED_MBIT}M`];
  const report = runIperf(
    scene.peer,
    IN_ORDER_SECONDS,
    [...load, '--length', String(DATAGRAM_BYTES)],
    ...([signal, { to: POD.address }] as const),
  );
  await sleep(1000);
  for (const mbit of [undefined, 20, undefined]) {
    await putInForce(t, scene, mbit);
    await sleep(500);
  }
  const { sent, outOfOrder } = parseDatagrams(await report);
  t.log(`${outOfOrder} of ${sent} datagrams came after a later one`);
  t.true(sent > OFFERED_MBIT * 100, String(sent));
  t.is(outOfOrder, 0);
}

test.serial(
  'annotations of a running pod, added, changed and removed, are in force within a second',
  async (t) => {
    const scene = await makeScene(t);
    for (const mbit of [10, 20, 5]) {
      const sentMbit = await annotate(t, scene, mbit);
      t.true(Math.abs(sentMbit / mbit - 1) <= TOLERANCE, `${sentMbit} of ${mbit} Mbit/s`);
    }
    const freeMbit = await annotate(t, scene, undefined);
    t.true(freeMbit > 0.9 * OFFERED_MBIT, `${freeMbit} Mbit/s`);
    const againMbit = await annotate(t, scene, 10);
    t.true(Math.abs(againMbit / 10 - 1) <= TOLERANCE, `${againMbit} Mbit/s`);
    await staysInOrder(t, scene);
  },
);
