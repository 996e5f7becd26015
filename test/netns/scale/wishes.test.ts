// A pod that was added without its cap, by the built executables: what it was to have is known,
// told of, and goes with it. Native kernels here have no sch_fq, so the refusal is real; where one
// has it, a shaper of somebody's on the uplink refuses.

import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { PODPACED } from '../../bed/helper.ts';
import { startOwnHelper, type TestHelper } from '../../kit/helper.ts';
import type { TestNetns } from '../../kit/netns.ts';
import { call, makeWiredPod, makeWishScene, namesOf, until } from '../../kit/wish-scene.ts';

const FLAGS = ['--reconcile-seconds', '1'];
const VALID = 'cni.dev/valid-attachments';

const REASON = /no sch_fq|tbf/;

/** Every command tells of a wish, and none takes it for a cap. */
async function requireTold(t: ExecutionContext, helper: TestHelper, pod: TestNetns): Promise<void> {
  const key = { containerId: `c-${pod.name}`, ifname: 'eth0' };
  const status = await helper.ask('status', {});
  t.is(status.state, 'degraded');
  const own = status.problems.filter((problem) => problem.startsWith(`${key.containerId}/eth0: `));
  t.is(own.length, 1, status.problems.join('\n'));
  t.regex(own[0] ?? '', /: egress 10 Mbit\/s is not enforced: /);
  t.regex(own[0] ?? '', REASON);
  t.deepEqual(
    status.notEnforced?.filter(({ containerId }) => containerId === key.containerId),
    [{ ...key, directions: ['egress'] }],
  );
  const { attachments } = await helper.ask('list', {});
  const listed = attachments.find(({ containerId }) => containerId === key.containerId);
  t.like(listed, {
    ...key,
    network: 'pods',
    effective: { egress: { rateBitsPerSec: 10_000_000 } },
  });
  t.regex(listed?.problemsByDirection?.egress?.join() ?? '', REASON);
  t.is(listed?.problemsByDirection?.ingress, undefined);
  t.is(listed?.egressAggregateId, undefined);
  t.deepEqual((await helper.ask('counters', {})).attachments, []);
  const changes = { rateBitsPerSec: 20_000_000 };
  for (const asked of [
    helper.ask('set', { ...key, direction: 'egress', changes }),
    helper.ask('counters', { only: key }),
  ])
    await t.throwsAsync(asked, { message: /egress 10 Mbit\/s is not enforced: / });
  const text = spawnSync(PODPACED, ['list', '--socket', helper.socket], {
    encoding: 'utf8',
  }).stdout;
  t.regex(text, new RegExp(`${key.containerId} .*10 Mbit/s .* NOT ENFORCED: .*(no sch_fq|tbf)`));
}

async function isUntold(helper: TestHelper, pod: TestNetns): Promise<boolean> {
  const { problems } = await helper.ask('status', {});
  const { attachments } = await helper.ask('list', {});
  const containerId = `c-${pod.name}`;
  return (
    !problems.some((problem) => problem.includes(containerId)) &&
    !attachments.some((attachment) => attachment.containerId === containerId)
  );
}

test.serial(
  'a cap that was refused under allow is told of by every command, until DEL',
  async (t) => {
    const scene = makeWishScene(t);
    const pod = makeWiredPod(t, scene, 'pod0');
    const helper = await startOwnHelper(t, scene.node, scene.directories, FLAGS);
    const refused = call(scene, 'ADD', pod, { onUnenforceable: 'fail' });
    t.is(refused.status, 1, refused.stdout);
    t.deepEqual(namesOf(scene), [], 'nothing is kept under fail');
    t.false(fs.existsSync(scene.wishes));

    const added = call(scene, 'ADD', pod);
    t.is(added.status, 0, added.stdout);
    const { problems } = await helper.ask('status', {});
    t.true(
      problems.some((problem) =>
        problem.startsWith(`c-${pod.name}/eth0: egress 10 Mbit/s is not enforced: `),
      ),
    );
    t.regex(
      added.stderr,
      /WARNING: the cap is not enforced .*; podpaced puts it in force as soon as it can be/,
    );
    const file = path.join(scene.wishes, `c-${pod.name}:eth0.json`);
    t.is(fs.statSync(file).mode & 0o777, 0o600);
    t.is(fs.statSync(scene.wishes).mode & 0o777, 0o700);
    const exits = scene.node.tc('qdisc', 'show', 'dev', 'uplink');
    await until(t, 'the helper has tried', () =>
      helper.log().includes(`c-${pod.name}/eth0: egress 10 Mbit/s`),
    );
    await sleep(2500);
    t.is(helper.log().match(/egress 10 Mbit\/s is not enforced/g)?.length, 1, 'logged once');
    await requireTold(t, helper, pod);
    t.is(scene.node.tc('qdisc', 'show', 'dev', 'uplink'), exits);

    const checked = call(scene, 'CHECK', pod);
    t.is(checked.status, 0, checked.stdout);
    t.regex(checked.stderr, /WARNING: the cap is not enforced .*egress 10 Mbit\/s is not enforced/);
    t.is(call(scene, 'CHECK', pod, { onUnenforceable: 'fail' }).status, 1);

    t.is(call(scene, 'DEL', pod).status, 0);
    t.false(fs.existsSync(scene.wishes), 'the directory goes with the last wish');
    t.true(await isUntold(helper, pod));
    await sleep(1500);
    t.notRegex(helper.log(), /Solved: /, 'a pod that went has solved nothing');
  },
);

test.serial('a cap asked for while the helper was down is known to the next one', async (t) => {
  const scene = makeWishScene(t);
  const [pod, gone, other] = [
    makeWiredPod(t, scene, 'pod0'),
    makeWiredPod(t, scene, 'pod1'),
    makeWiredPod(t, scene, 'pod2'),
  ] as const;
  const warnings = [pod, gone, other].map((each) => {
    const added = call(scene, 'ADD', each);
    t.is(added.status, 0, added.stdout);
    return added.stderr;
  });
  t.is(call(scene, 'DEL', gone).status, 0, 'without a helper');
  fs.mkdirSync(scene.wishes, { recursive: true, mode: 0o700 });
  fs.writeFileSync(path.join(scene.wishes, 'torn:eth0.json'), '{"recordVersion":1,');

  const helper = await startOwnHelper(t, scene.node, scene.directories, FLAGS);
  await requireTold(t, helper, pod);
  await requireTold(t, helper, other);
  t.true(await isUntold(helper, gone));
  for (const warning of warnings)
    t.regex(warning, /WARNING: .*no helper listens there.*; podpaced puts it in force/);
  const { problems } = await helper.ask('status', {});
  t.true(
    problems.some((problem) =>
      /Cannot read the wish \/.*\/wishes\/torn:eth0\.json: /.test(problem),
    ),
  );

  // Its sandbox goes without DEL, and the pair with that.
  scene.node.ip('netns', 'delete', other.name);
  await until(t, 'the wish of a pod that is gone is dropped', () => isUntold(helper, other));
  t.regex(helper.log(), new RegExp(`The pod of pod2 is gone: forgetting c-${other.name}/eth0`));
  await requireTold(t, helper, pod);

  await helper.end('SIGTERM');
  t.is(call(scene, 'DEL', pod).status, 0);
  t.deepEqual(namesOf(scene), ['torn:eth0.json']);
});

test.serial(
  'GC drops the wishes of its network that are not valid, with a helper and without',
  async (t) => {
    const scene = makeWishScene(t);
    const [stays, goes, foreign] = [
      makeWiredPod(t, scene, 'pod0'),
      makeWiredPod(t, scene, 'pod1'),
      makeWiredPod(t, scene, 'pod2'),
    ] as const;
    const valid = { [VALID]: [{ containerID: `c-${stays.name}`, ifname: 'eth0' }] };
    const add = (): void => {
      t.is(call(scene, 'ADD', stays).status, 0);
      t.is(call(scene, 'ADD', goes).status, 0);
      t.is(call(scene, 'ADD', foreign, { name: 'others' }).status, 0);
      t.is(namesOf(scene).length, 3);
    };
    const left = [stays, foreign].map(({ name }) => `c-${name}:eth0.json`).toSorted();
    add();
    t.is(call(scene, 'GC', stays, valid).status, 0);
    t.deepEqual(namesOf(scene), left);

    const helper = await startOwnHelper(t, scene.node, scene.directories, FLAGS);
    add();
    const { removed } = await helper.ask('gc', {
      network: 'pods',
      valid: [{ containerId: `c-${stays.name}`, ifname: 'eth0' }],
    });
    t.deepEqual(removed, [{ containerId: `c-${goes.name}`, ifname: 'eth0' }]);
    t.deepEqual(namesOf(scene), left);
  },
);

test.serial('uninstall keeps wishes unless told to forget', async (t) => {
  const scene = makeWishScene(t);
  const pod = makeWiredPod(t, scene, 'pod0');
  t.is(call(scene, 'ADD', pod).status, 0);
  const first = await startOwnHelper(t, scene.node, scene.directories, FLAGS);
  await first.ask('uninstall', {});
  await until(t, 'the helper has ended', () => first.log().includes(' uninstalled'));
  t.is(namesOf(scene).length, 1);
  const second = await startOwnHelper(t, scene.node, scene.directories, FLAGS);
  await requireTold(t, second, pod);
  await second.ask('uninstall', { forget: true });
  await until(t, 'the helper has ended', () => second.log().includes(' uninstalled'));
  t.false(fs.existsSync(scene.wishes));
});

test.serial('a directory of wishes that others can write to is not used, and said', async (t) => {
  const scene = makeWishScene(t);
  const pod = makeWiredPod(t, scene, 'pod0');
  fs.mkdirSync(scene.wishes);
  fs.chmodSync(scene.wishes, 0o777);
  const added = call(scene, 'ADD', pod);
  t.is(added.status, 0, added.stdout);
  t.regex(
    added.stderr,
    /WARNING: .*nor will it be later: .*wishes: others than root can write to it/,
  );
  t.deepEqual(namesOf(scene), []);
  const helper = await startOwnHelper(t, scene.node, scene.directories, FLAGS);
  const { problems } = await helper.ask('status', {});
  t.true(problems.some((problem) => /wishes: others than root can write to it/.test(problem)));
  t.is(call(scene, 'DEL', pod).status, 0);
});
