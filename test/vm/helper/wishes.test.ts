// A cap that a pod was added without is put in force as soon as the node can hold it.

import fs from 'node:fs';
import test, { type ExecutionContext } from 'ava';
import { nameOf } from '../../../helper/protocol/pod-names.ts';
import { startOwnHelper, type TestHelper } from '../../kit/helper.ts';
import type { TestNetns } from '../../kit/netns.ts';
import { call, makeWiredPod, makeWishScene, until, type WishScene } from '../../kit/wish-scene.ts';

const EVERY_SECOND = ['--reconcile-seconds', '1'];

async function hasProblems(helper: TestHelper, { name }: TestNetns): Promise<boolean> {
  const { attachments } = await helper.ask('list', {});
  const own = attachments.find(({ containerId }) => containerId === `c-${name}`);
  return own?.problems.length !== 0;
}

/** As after an ADD that succeeded at once. */
async function requireInForce(
  t: ExecutionContext,
  scene: WishScene,
  helper: TestHelper,
  pod: TestNetns,
  name = `c-${pod.name}/eth0`,
): Promise<void> {
  await until(t, 'the cap is in force', async () => !(await hasProblems(helper, pod)));
  const status = await helper.ask('status', {});
  t.is(status.state, 'ok', status.problems.join('\n'));
  const { attachments } = await helper.ask('list', {});
  const own = attachments.find(({ containerId }) => containerId === `c-${pod.name}`);
  t.is(own?.effective.egress?.rateBitsPerSec, 10_000_000);
  t.not(own?.egressAggregateId, undefined);
  t.true(helper.log().includes(`info ${name}: egress 10 Mbit/s is in force now`), helper.log());
  t.false(fs.existsSync(scene.wishes));
  const checked = call(scene, 'CHECK', pod, { onUnenforceable: 'fail' });
  t.is(checked.status, 0, checked.stdout);
}

test.serial(
  'a cap that was refused, or asked for without a helper, is in force as soon as it can be',
  async (t) => {
    const scene = makeWishScene(t);
    const pod = makeWiredPod(t, scene, 'pod0');
    const helper = await startOwnHelper(t, scene.node, scene.directories, EVERY_SECOND);
    const added = call(scene, 'ADD', pod);
    t.is(added.status, 0, added.stdout);
    const { state, problems } = await helper.ask('status', {});
    t.is(state, 'degraded');
    t.regex(added.stderr, /WARNING: .*tbf.*; podpaced puts it in force/);
    t.regex(problems.join('\n'), /eth0: egress 10 Mbit\/s is not enforced: .*tbf/);

    scene.node.tc('qdisc', 'delete', 'dev', 'uplink', 'root');
    await requireInForce(t, scene, helper, pod);

    await helper.end('SIGTERM');
    const late = makeWiredPod(t, scene, 'pod1');
    const env = { CNI_ARGS: 'K8S_POD_NAME=web-0;IgnoreUnknown=1;K8S_POD_NAMESPACE=default' };
    t.regex(call(scene, 'ADD', late, {}, env).stderr, /WARNING: .*no helper listens there/);
    const addedBefore = new Date().toISOString();
    const next = await startOwnHelper(t, scene.node, scene.directories, EVERY_SECOND);
    const containerId = `c-${late.name}`;
    const pod1 = { containerId, ifname: 'eth0', podNamespace: 'default', podName: 'web-0' };
    await requireInForce(t, scene, next, late, nameOf(pod1));
    // It was added when the plugin was called, not when its cap could be held.
    const own = (await next.ask('list', {})).attachments.find(
      (one) => one.containerId === containerId,
    );
    t.like(own, pod1);
    t.true((own?.addedAt ?? addedBefore) < addedBefore, own?.addedAt);
    const changes = { rateBitsPerSec: 20_000_000 };
    t.like(await next.ask('set', { containerId, ifname: 'eth0', direction: 'egress', changes }), {
      podName: 'web-0',
      after: { rateBitsPerSec: 20_000_000 },
    });
    t.false(await hasProblems(next, pod));
  },
);
