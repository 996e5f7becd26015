// The built podpaced follows the annotations of running pods at a stand-in for the API server. What
// is capped already stays so on kernels without sch_fq too, and its rate can be changed there; to cap
// a pod that had none is refused there.

import fs from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import test, { type ExecutionContext } from 'ava';
import type { AttachmentStatus, Direction } from '../../../helper/protocol/messages.ts';
import { UndoStack } from '../../bed/undo.ts';
import { makeCertificates, StandInApiServer } from '../../kit/api-server.ts';
import {
  addUplink,
  leaveRecord,
  makeHelperDirectories,
  paramsOf,
  startOwnHelper,
  wirePod,
  type HelperDirectories,
  type TestHelper,
} from '../../kit/helper.ts';
import { makeNetns, type TestNetns } from '../../kit/netns.ts';
import { call, makeWiredPod, makeWishScene, until } from '../../kit/wish-scene.ts';

const EGRESS = 'kubernetes.io/egress-bandwidth';
const INGRESS = 'kubernetes.io/ingress-bandwidth';
const SELDOM = ['--reconcile-seconds', '3600'];
const OFTEN = ['--reconcile-seconds', '1'];

const undo = new UndoStack();
const certificates = makeCertificates(undo);
test.after.always('take the certificates away', () => undo.run());

interface Scene {
  readonly node: TestNetns;
  readonly directories: HelperDirectories;
  readonly server: StandInApiServer;
}

async function makeScene(t: ExecutionContext): Promise<Scene> {
  t.timeout(120_000);
  const [node, peer, directories] = [makeNetns(t), makeNetns(t), makeHelperDirectories(t)];
  node.ip('link', 'set', 'lo', 'up');
  addUplink(node, peer, 'uplink', 1);
  const server = await StandInApiServer.start(t, { netns: node.netns, certificates });
  return { node, directories, server };
}

/** A pod that a former helper has capped as its annotations asked then. */
function leavePod(
  t: ExecutionContext,
  { node, directories }: Scene,
  name: string,
  rates: { readonly [D in Direction]?: number },
  more: object = {},
): void {
  const sandbox = makeNetns(t);
  wirePod(node, sandbox, name);
  const { egress, ingress } = rates;
  const caps = {
    ...(egress !== undefined && { egress: { rateBitsPerSec: egress } }),
    ...(ingress !== undefined && { ingress: { rateBitsPerSec: ingress } }),
  };
  const sources = {
    ...(egress !== undefined && { egress: { source: 'annotation' as const } }),
    ...(ingress !== undefined && { ingress: { source: 'annotation' as const } }),
  };
  const pod = { podNamespace: 'default', podName: name, podUid: `uid-of-${name}` };
  const params = { ...paramsOf(name, sandbox, caps), ...pod, capSources: sources, ...more };
  leaveRecord(node, directories, params);
}

function start(t: ExecutionContext, scene: Scene, flags: readonly string[]): Promise<TestHelper> {
  const { node, directories, server } = scene;
  const cluster = ['--kubernetes', '--kubeconfig', server.kubeconfig(), '--node-name', 'node-1'];
  return startOwnHelper(t, node, directories, [...cluster, ...flags]);
}

async function podOf(helper: TestHelper, name: string): Promise<AttachmentStatus | undefined> {
  const { attachments } = await helper.ask('list', {});
  return attachments.find(({ podName }) => podName === name);
}

/** Waits until a pod has these rates; returns after how long. */
async function untilCapped(
  t: ExecutionContext,
  helper: TestHelper,
  name: string,
  rates: { readonly [D in Direction]?: number },
): Promise<number> {
  const startMs = performance.now();
  const ratesOf = async (): Promise<object> => {
    const { effective = {} } = (await podOf(helper, name)) ?? {};
    const [egress, ingress] = [effective.egress, effective.ingress];
    return {
      ...(egress !== undefined && { egress: egress.rateBitsPerSec }),
      ...(ingress !== undefined && { ingress: ingress.rateBitsPerSec }),
    };
  };
  await until(t, `${name} is capped`, async () => isDeepStrictEqual(await ratesOf(), rates));
  t.deepEqual(await ratesOf(), rates);
  return performance.now() - startMs;
}

test.serial(
  'a changed annotation is in force within a second, and no other pod changes',
  async (t) => {
    const scene = await makeScene(t);
    const { server } = scene;
    leavePod(t, scene, 'web-0', { egress: 10_000_000 });
    leavePod(t, scene, 'web-1', { egress: 10_000_000, ingress: 50_000_000 });
    server.put('web-0', { [EGRESS]: '10M' });
    server.put('web-1', { [EGRESS]: '10M', [INGRESS]: '50M' });
    const helper = await start(t, scene, SELDOM);
    await until(t, 'the watch', () => server.watching === 1);
    const before = await podOf(helper, 'web-1');
    server.put('web-0', { [EGRESS]: '20M' });
    const tookMs = await untilCapped(t, helper, 'web-0', { egress: 20_000_000 });
    t.true(tookMs < 1000, `${tookMs} ms`);
    t.deepEqual((await podOf(helper, 'web-1'))?.effective, before?.effective);
    t.is((await podOf(helper, 'web-1'))?.egressAggregateId, before?.egressAggregateId);
    server.put('web-1', { [EGRESS]: '10M', [INGRESS]: '1Gi' });
    await untilCapped(t, helper, 'web-1', { egress: 10_000_000, ingress: 1_073_741_824 });
  },
);

test.serial('what the annotation said when nobody looked is in force after a start', async (t) => {
  const scene = await makeScene(t);
  leavePod(t, scene, 'web-0', { egress: 10_000_000 });
  scene.server.put('web-0', { [EGRESS]: '15M' });
  const helper = await start(t, scene, SELDOM);
  await untilCapped(t, helper, 'web-0', { egress: 15_000_000 });
  await helper.end('SIGTERM');
  scene.server.put('web-0', { [EGRESS]: '16M' });
  await untilCapped(t, await start(t, scene, SELDOM), 'web-0', { egress: 16_000_000 });
});

test.serial(
  'set wins until it is taken back, and then the annotation holds as it is now',
  async (t) => {
    const scene = await makeScene(t);
    const { server } = scene;
    leavePod(t, scene, 'web-0', { egress: 10_000_000 });
    server.put('web-0', { [EGRESS]: '10M' });
    const helper = await start(t, scene, SELDOM);
    await until(t, 'the watch', () => server.watching === 1);
    const key = { containerId: 'c-web-0', ifname: 'eth0', direction: 'egress' } as const;
    await helper.ask('set', { ...key, changes: { rateBitsPerSec: 5_000_000 } });
    server.put('web-0', { [EGRESS]: '30M' });
    await until(t, 'the annotation is known', async () => {
      return (await podOf(helper, 'web-0'))?.caps.egress?.rateBitsPerSec === 30_000_000;
    });
    await untilCapped(t, helper, 'web-0', { egress: 5_000_000 });
    await helper.ask('set', { ...key, reset: true, changes: {} });
    await untilCapped(t, helper, 'web-0', { egress: 30_000_000 });
  },
);

test.serial('keys of the network list hold whatever the annotation says', async (t) => {
  const scene = await makeScene(t);
  const conflist = { source: 'conflist' as const };
  const capSources = { egress: conflist, ingress: conflist };
  leavePod(t, scene, 'web-0', { egress: 10_000_000 }, { capSources });
  leavePod(t, scene, 'web-1', { egress: 10_000_000 });
  scene.server.put('web-0', { [EGRESS]: '20M' });
  scene.server.put('web-1', { [EGRESS]: '20M' });
  const helper = await start(t, scene, SELDOM);
  await untilCapped(t, helper, 'web-1', { egress: 20_000_000 });
  await untilCapped(t, helper, 'web-0', { egress: 10_000_000 });
});

test.serial('a ceiling cuts what an annotation asks for: list and an event say so', async (t) => {
  const scene = await makeScene(t);
  const { server } = scene;
  leavePod(t, scene, 'web-0', { egress: 10_000_000 });
  server.put('web-0', { [EGRESS]: '10M' });
  const rule = JSON.stringify({ namespace: 'def*', egress: { most: '50M' } });
  const helper = await start(t, scene, [...SELDOM, '--cap-rules', rule]);
  await until(t, 'the watch', () => server.watching === 1);
  server.put('web-0', { [EGRESS]: '1G' });
  await untilCapped(t, helper, 'web-0', { egress: 50_000_000 });
  t.deepEqual((await podOf(helper, 'web-0'))?.capSources, {
    egress: { source: 'annotation', askedBitsPerSec: 1_000_000_000 },
  });
  await until(t, 'the event', () => server.events.length > 0);
  t.like(server.events[0], {
    reason: 'BandwidthCut',
    involvedObject: { kind: 'Pod', name: 'web-0', uid: 'uid-of-web-0' },
  });
  t.regex(
    server.events[0]?.message ?? '',
    /cuts the bandwidth annotation: egress 1 Gbit\/s to 50 Mbit\/s/,
  );
  await helper.end('SIGTERM');
  const without = await start(t, scene, SELDOM);
  await untilCapped(t, without, 'web-0', { egress: 1_000_000_000 });
});

test.serial(
  'a malformed annotation leaves the cap, and there is one event, over a restart too',
  async (t) => {
    const scene = await makeScene(t);
    const { server } = scene;
    leavePod(t, scene, 'web-0', { egress: 10_000_000 });
    server.put('web-0', { [EGRESS]: '10M' });
    const helper = await start(t, scene, OFTEN);
    await until(t, 'the watch', () => server.watching === 1);
    for (const asked of ['10Mbit', '', '-1', '1', '9'.repeat(3000)])
      server.put('web-0', { [EGRESS]: asked });
    // Where the kernel has no sch_fq, there is an event for that as well.
    const told = () => server.events.filter(({ reason }) => reason === 'BandwidthInvalid');
    await until(t, 'the event', () => told().length > 0);
    t.regex(
      told()[0]?.message ?? '',
      /egress-bandwidth .* in force stays what was: egress 10 Mbit\/s/,
    );
    await untilCapped(t, helper, 'web-0', { egress: 10_000_000 });
    await helper.end('SIGTERM');
    const posts = () => server.requests.filter((one) => one.startsWith('POST')).length;
    const before = posts();
    await start(t, scene, OFTEN);
    await until(t, 'the second try', () => posts() > before);
    t.is(told().length, 1);
  },
);

test.serial('a pod that is deleted while its annotation changes is forgotten', async (t) => {
  const scene = await makeScene(t);
  const { server, node } = scene;
  leavePod(t, scene, 'web-0', { egress: 10_000_000 });
  leavePod(t, scene, 'web-1', { egress: 10_000_000 });
  server.put('web-0', { [EGRESS]: '10M' });
  server.put('web-1', { [EGRESS]: '10M' });
  const helper = await start(t, scene, OFTEN);
  await until(t, 'the watch', () => server.watching === 1);
  node.ip('link', 'delete', 'web-0');
  server.put('web-0', { [EGRESS]: '20M' });
  server.remove('web-0');
  server.put('web-1', { [EGRESS]: '21M' });
  await untilCapped(t, helper, 'web-1', { egress: 21_000_000 });
  await until(t, 'it is forgotten', async () => (await podOf(helper, 'web-0')) === undefined);
});

test.serial(
  'an apiserver that goes away leaves caps as they are, and status says since when',
  async (t) => {
    const scene = await makeScene(t);
    const { server, node } = scene;
    leavePod(t, scene, 'web-0', { egress: 10_000_000 });
    server.put('web-0', { [EGRESS]: '10M' });
    const helper = await start(t, scene, OFTEN);
    await until(t, 'the watch', () => server.watching === 1);
    t.deepEqual(
      (await helper.ask('status', {})).notices.filter((one) => one.includes('annotation')),
      [],
    );
    const { port } = server;
    const closedAtMs = Date.now();
    server.close();
    const told =
      /^Changed annotations of pods are not known since (\S+): .*; caps stay as they are$/;
    await until(t, 'the notice', async () => {
      return (await helper.ask('status', {})).notices.some((one) => told.test(one));
    });
    await sleep(3000);
    const { notices } = await helper.ask('status', {});
    const since = notices.flatMap((one) => told.exec(one)?.[1] ?? [])[0] ?? '';
    t.true(Math.abs(Date.parse(since) - closedAtMs) < 2000, since);
    await untilCapped(t, helper, 'web-0', { egress: 10_000_000 });
    t.is(helper.log().split('Cannot follow the annotations of pods').length - 1, 1);
    await server.open(port, node.netns);
    server.put('web-0', { [EGRESS]: '12M' });
    await untilCapped(t, helper, 'web-0', { egress: 12_000_000 });
    t.regex(helper.log(), /The API server is heard again/);
  },
);

test.serial('a pod in the network of the node that carries an annotation is told so', async (t) => {
  const scene = await makeScene(t);
  scene.server.put('proxy', { [EGRESS]: '10M' }, { hostNetwork: true });
  scene.server.put('stranger', { [EGRESS]: '10M' });
  scene.server.put('quiet', {});
  await start(t, scene, SELDOM);
  await until(t, 'both events', () => scene.server.events.length === 2);
  const byName = new Map(scene.server.events.map((one) => [one.involvedObject.name, one]));
  t.is(byName.get('proxy')?.reason, 'BandwidthIgnored');
  t.regex(byName.get('proxy')?.message ?? '', /hostNetwork/);
  t.is(byName.get('stranger')?.reason, 'BandwidthNotEnforced');
  t.regex(byName.get('stranger')?.message ?? '', /podpace has not added this pod; delete it/);
});

test.serial(
  'a pod that was added without its cap is told why, not that it is unknown',
  async (t) => {
    const wishScene = makeWishScene(t);
    const { node, directories } = wishScene;
    node.ip('link', 'set', 'lo', 'up');
    const pod = makeWiredPod(t, wishScene, 'web-0');
    const names = 'K8S_POD_NAMESPACE=default;K8S_POD_NAME=web-0;K8S_POD_UID=uid-of-web-0';
    const added = call(wishScene, 'ADD', pod, {}, { CNI_ARGS: names });
    t.is(added.status, 0, added.stdout + added.stderr);
    const server = await StandInApiServer.start(t, { netns: node.netns, certificates });
    server.put('web-0', { [EGRESS]: '20M' });
    const helper = await start(t, { node, directories, server }, SELDOM);
    await until(t, 'the warning', () => /default\/web-0: /.test(helper.log()));
    t.regex(helper.log(), /default\/web-0: .*egress 10 Mbit\/s is not enforced: /);
    await until(t, 'the event', () => server.events.length > 0);
    t.true(server.events.every(({ reason }) => reason === 'BandwidthNotEnforced'));
    t.notRegex(helper.log(), /has not added this pod/);
  },
);

test.serial('a cap that cannot be held is told of at the pod, once', async (t) => {
  const scene = await makeScene(t);
  const { node, server } = scene;
  node.tc(...'qdisc add dev uplink root tbf rate 1gbit burst 1mb latency 10ms'.split(' '));
  leavePod(t, scene, 'web-0', { egress: 10_000_000 });
  server.put('web-0', { [EGRESS]: '10M' });
  await start(t, scene, OFTEN);
  await until(t, 'the event', () => server.events.length > 0);
  t.is(server.events[0]?.reason, 'BandwidthNotEnforced');
  t.regex(server.events[0]?.message ?? '', /uplink/);
  await sleep(3000);
  t.is(server.events.length, 1);
});

test.serial(
  'podpaced refuses to start without a name of the node, or a way to the API server',
  async (t) => {
    const scene = await makeScene(t);
    const { node, directories, server } = scene;
    const run = (...flags: string[]) =>
      startOwnHelper(t, node, directories, ['--kubernetes', ...flags]);
    await t.throwsAsync(run('--kubeconfig', server.kubeconfig()), {
      message: /without its name in the cluster: give --node-name or NODE_NAME/,
    });
    await t.throwsAsync(run('--node-name', 'node-1'), { message: /or give --kubeconfig/ });
    const missing = path.join(directories.run, 'missing');
    await t.throwsAsync(run('--node-name', 'node-1', '--kubeconfig', missing), {
      message: /Cannot use the kubeconfig .*missing: ENOENT/,
    });
    fs.writeFileSync(missing, 'kind: Config\n');
    await t.throwsAsync(run('--node-name', 'node-1', '--kubeconfig', missing), {
      message: /Cannot use the kubeconfig .*"current-context" must be/,
    });
  },
);
