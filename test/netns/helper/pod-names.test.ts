// Pods have names, by the built executables: the plugin takes them from CNI_ARGS, the helper keeps
// and tells them, and commands find a pod by them. Native kernels here have no sch_fq, so a cap is
// a wish, host routing is in force, and `set` meets records that were left.

import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import test, { type ExecutionContext } from 'ava';
import type { ListResult, StatusResult } from '../../../helper/protocol/messages.ts';
import { nameOf } from '../../../helper/protocol/pod-names.ts';
import { PODPACED } from '../../bed/helper.ts';
import {
  leaveRecord,
  makeHelperDirectories,
  paramsOf,
  startOwnHelper,
  wirePod,
  type TestHelper,
} from '../../kit/helper.ts';
import { makeNetns } from '../../kit/netns.ts';
import { call, makeWiredPod, makeWishScene, until } from '../../kit/wish-scene.ts';

const UID = '7d0a3c5e-1c7f-4f0e-9a53-0f4f4f6f2b11';
/** As containerd says it, in any order. */
const WEB_ARGS = `K8S_POD_UID=${UID};IgnoreUnknown=1;K8S_POD_NAME=web-0;K8S_POD_INFRA_CONTAINER_ID=4f2a;K8S_POD_NAMESPACE=default`;
const WEB = { podNamespace: 'default', podName: 'web-0', podUid: UID };
/** Clears a terminal, and forges a line of a log. */
const HOSTILE_ARGS = `K8S_POD_NAMESPACE=${'x'.repeat(100)};K8S_POD_NAME=a\u001b[2J\u202e\n2026 info forged;K8S_POD_UID=\u009b`;
const HOSTILE = {
  podNamespace: `${'x'.repeat(62)}…`,
  podName: String.raw`a\u001b[2J\u202e\n2026\u0020info\u0020forged`,
  podUid: String.raw`\u009b`,
};
/** In force on every kernel. */
const ROUTED = { hostRouting: true, egressRate: 0, egressBurst: 0, onUnenforceable: 'fail' };

function podpaced({ socket }: TestHelper, ...args: readonly string[]) {
  const { status, stdout, stderr } = spawnSync(PODPACED, [...args, '--socket', socket], {
    encoding: 'utf8',
  });
  return { status, stdout, stderr };
}

function listed(helper: TestHelper, ...args: readonly string[]): ListResult['attachments'] {
  const { stdout } = podpaced(helper, 'list', '--json', ...args);
  return (JSON.parse(stdout) as ListResult).attachments;
}

/** Nothing but characters that are shown, and line feeds. */
function isShown(t: ExecutionContext, text: string): void {
  t.notRegex(text.replaceAll('\n', ''), /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u);
}

test.serial(
  'ADD names the pod: in list, status, counters and the log, also of the next helper',
  async (t) => {
    const scene = makeWishScene(t);
    const helper = await startOwnHelper(t, scene.node, scene.directories, [
      '--reconcile-seconds',
      '1',
    ]);
    const [routed, wished, hostile, nameless] = ['pod0', 'pod1', 'pod2', 'pod3'].map((name) =>
      makeWiredPod(t, scene, name),
    );
    if (
      routed === undefined ||
      wished === undefined ||
      hostile === undefined ||
      nameless === undefined
    )
      return t.fail();
    const add = (pod: typeof routed, more: object, args?: string) => {
      const added = call(
        scene,
        'ADD',
        pod,
        { ...more },
        args === undefined ? {} : { CNI_ARGS: args },
      );
      t.is(added.status, 0, added.stdout);
      isShown(t, added.stderr);
    };
    const startMs = Date.now();
    add(routed, ROUTED, WEB_ARGS);
    add(wished, {}, WEB_ARGS.replace('web-0', 'web-1'));
    add(hostile, {}, HOSTILE_ARGS);
    add(nameless, ROUTED);

    const requireNamed = (from: TestHelper): void => {
      const attachments = listed(from);
      const of = (pod: typeof routed) =>
        attachments.find(({ containerId }) => containerId === `c-${pod.name}`);
      t.like(of(routed), WEB);
      t.like(of(wished), { ...WEB, podName: 'web-1' });
      t.like(of(hostile), HOSTILE);
      for (const name of ['podNamespace', 'podName', 'podUid', 'addedAt'])
        t.false(name in (of(nameless) ?? {}), name);
      const addedMs = Date.parse(of(routed)?.addedAt ?? '');
      t.true(addedMs >= startMs && addedMs <= Date.now());
      const text = podpaced(from, 'list').stdout;
      isShown(t, text);
      t.is(text.split('\n').length, 6, text);
      t.regex(text, /^POD +CONTAINER /);
      t.regex(text, new RegExp(`^default/web-0 +c-${routed.name} +eth0 `, 'm'));
      t.regex(text, new RegExp(`^- +c-${nameless.name} +eth0 `, 'm'));
      t.true(text.includes(`${HOSTILE.podNamespace}/${HOSTILE.podName}  `), text);
      t.deepEqual(
        listed(from, 'default/web-1').map(({ containerId }) => containerId),
        [`c-${wished.name}`],
      );
    };
    requireNamed(helper);

    const told = podpaced(helper, 'status', '--json');
    t.is(told.status, 1);
    const status = JSON.parse(told.stdout) as StatusResult;
    const name = nameOf({
      containerId: `c-${wished.name}`,
      ifname: 'eth0',
      ...WEB,
      podName: 'web-1',
    });
    t.true(
      status.problems.some((text) =>
        text.startsWith(`${name}: egress 10 Mbit/s is not enforced: `),
      ),
    );
    t.like(
      status.notEnforced?.find(({ containerId }) => containerId === `c-${wished.name}`),
      {
        ...{ ...WEB, podName: 'web-1' },
        directions: ['egress'],
      },
    );
    isShown(t, podpaced(helper, 'status').stdout);
    const { stderr } = call(scene, 'CHECK', wished, {}, { CNI_ARGS: WEB_ARGS });
    t.true(stderr.includes(`${name}: egress`), stderr);
    const counted = podpaced(helper, 'counters', 'default/web-0', '--json');
    t.like(JSON.parse(counted.stdout), { attachments: [WEB] });

    await until(t, 'the log names the pods', () => helper.log().includes(HOSTILE.podName));
    t.true(helper.log().includes(name));
    isShown(t, helper.log());
    t.notRegex(helper.log(), /^2026 info forged/m);

    const attachments = path.join(helper.stateDir, 'attachments');
    const file = (pod: typeof routed) =>
      fs.readFileSync(path.join(attachments, `c-${pod.name}:eth0.json`), 'utf8');
    t.notRegex(file(nameless), /pod[NU]|podChecksum|addedAt/);
    const kept = file(routed);
    await helper.end('SIGKILL');
    const next = await startOwnHelper(t, scene.node, scene.directories, [
      '--reconcile-seconds',
      '1',
    ]);
    requireNamed(next);
    t.is(file(routed), kept);
    // Added again, it is the same sandbox.
    add(routed, ROUTED, WEB_ARGS);
    t.is(file(routed), kept);
  },
);

test.serial(
  'a pod is set and counted by its name; of two sandboxes of one name the newer is meant',
  async (t) => {
    const [node, directories] = [makeNetns(t), makeHelperDirectories(t)];
    const egress = { rateBitsPerSec: 10_000_000 };
    const leave = (name: string, pod: object): void => {
      const sandbox = makeNetns(t);
      wirePod(node, sandbox, name);
      leaveRecord(node, directories, { ...paramsOf(name, sandbox, { egress }), ...pod });
    };
    leave('old', { ...WEB, addedAt: '2026-01-01T00:00:00.000Z' });
    leave('new', { ...WEB, podUid: 'other', addedAt: '2026-01-01T00:00:01.000Z' });
    leave('shop', { podNamespace: 'shop', podName: 'web-0', addedAt: '2026-01-01T00:00:00.000Z' });
    leave('none', {});
    const helper = await startOwnHelper(t, node, directories, ['--reconcile-seconds', '3600']);
    const ratesOf = () =>
      Object.fromEntries(
        listed(helper).map(({ containerId, effective }) => [
          containerId,
          effective.egress?.rateBitsPerSec,
        ]),
      );

    const set = podpaced(helper, 'set', 'default/web-0', '--egress', '--rate', '5M');
    t.is(set.status, 0, set.stderr);
    t.is(
      set.stderr,
      'podpaced: default/web-0 has 2 sandboxes: this is of the newest, c-new; the older: c-old\n',
    );
    t.regex(
      set.stdout,
      /^default\/web-0 \(eth0, c-new\) egress +BEFORE +AFTER\nrate +10 Mbit\/s +5 Mbit\/s\n/,
    );
    t.deepEqual(ratesOf(), { 'c-old': 10e6, 'c-new': 5e6, 'c-shop': 10e6, 'c-none': 10e6 });
    await until(t, 'the log tells of it', () =>
      helper
        .log()
        .includes('info Set egress of default/web-0 (eth0, c-new): 10 Mbit/s to 5 Mbit/s'),
    );
    t.is(podpaced(helper, 'set', 'c-old', '--egress', '--rate', '4M').stderr, '');
    const json = podpaced(helper, 'set', 'shop/web-0/eth0', '--egress', '--rate', '3M', '--json');
    t.like(JSON.parse(json.stdout), {
      containerId: 'c-shop',
      podNamespace: 'shop',
      podName: 'web-0',
    });
    t.deepEqual(ratesOf(), { 'c-old': 4e6, 'c-new': 5e6, 'c-shop': 3e6, 'c-none': 10e6 });

    t.deepEqual(
      listed(helper, 'default/web-0').map(({ containerId }) => containerId),
      ['c-new', 'c-old'],
    );
    const counted = podpaced(helper, 'counters', 'default/web-0');
    t.regex(counted.stdout, /^POD .*\ndefault\/web-0 +c-new +eth0 +egress +\d+ .*\n$/);
    t.regex(counted.stderr, /2 sandboxes/);
    for (const command of [
      ['set', 'shop/web-1', '--egress', '--reset'],
      ['counters', 'shop/web-1'],
      ['list', 'shop/web-1'],
    ]) {
      const { status, stdout, stderr } = podpaced(helper, ...command);
      t.deepEqual([status, stdout], [1, '']);
      t.is(
        stderr,
        'podpaced: Cannot find a capped pod "shop/web-1": known are default/web-0 (eth0, c-new), c-none/eth0, ' +
          'default/web-0 (eth0, c-old), shop/web-0 (eth0, c-shop)\n',
      );
    }
    t.is(listed(helper, 'shop/web-0')[0]?.changes?.egress?.rateBitsPerSec, 3e6);
  },
);
