// A cap that a pod was added without is put in force as soon as the node can hold it.

import fs from 'node:fs';
import test, { type ExecutionContext } from 'ava';
import { startHelper, type TestHelper } from '../../kit/helper.ts';
import type { TestNetns } from '../../kit/netns.ts';
import { call, makePod, makeWishScene, until, type WishScene } from '../../kit/wish-scene.ts';

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
): Promise<void> {
  await until(t, 'the cap is in force', async () => !(await hasProblems(helper, pod)));
  const status = await helper.ask('status', {});
  t.is(status.state, 'ok', status.problems.join('\n'));
  const { attachments } = await helper.ask('list', {});
  const own = attachments.find(({ containerId }) => containerId === `c-${pod.name}`);
  t.is(own?.effective.egress?.rateBitsPerSec, 10_000_000);
  t.not(own?.egressAggregateId, undefined);
  t.regex(helper.log(), new RegExp(`info c-${pod.name}/eth0: egress 10 Mbit/s is in force now`));
  t.false(fs.existsSync(scene.wishes));
  const checked = call(scene, 'CHECK', pod, { onUnenforceable: 'fail' });
  t.is(checked.status, 0, checked.stdout);
}

test.serial(
  'a cap that was refused, or asked for without a helper, is in force as soon as it can be',
  async (t) => {
    const scene = makeWishScene(t);
    const pod = makePod(t, scene, 'pod0');
    const helper = await startHelper(t, scene.node, scene.directories, EVERY_SECOND);
    const added = call(scene, 'ADD', pod);
    t.is(added.status, 0, added.stdout);
    t.regex(added.stderr, /WARNING: .*tbf.*; podpaced puts it in force/);
    const { state, problems } = await helper.ask('status', {});
    t.is(state, 'degraded');
    t.regex(problems.join('\n'), /eth0: egress 10 Mbit\/s is not enforced: .*tbf/);

    scene.node.tc('qdisc', 'delete', 'dev', 'uplink', 'root');
    await requireInForce(t, scene, helper, pod);

    await helper.end('SIGTERM');
    const late = makePod(t, scene, 'pod1');
    t.regex(call(scene, 'ADD', late).stderr, /WARNING: .*no helper listens there/);
    const next = await startHelper(t, scene.node, scene.directories, EVERY_SECOND);
    await requireInForce(t, scene, next, late);
    t.false(await hasProblems(next, pod));
  },
);
