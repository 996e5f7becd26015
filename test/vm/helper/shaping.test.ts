// Attach, check, detach and repair on a kernel that can hold packets: what stands on the devices
// afterwards.

import { execFileSync, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { deleteLink, listLinks } from '../../../helper/kernel/links.ts';
import { HelperError } from '../../../helper/protocol/client.ts';
import { isTcxSupported } from '../../../helper/kernel/tcx.ts';
import { PODPACED } from '../../bed/helper.ts';
import {
  addUplink,
  makeHelperDirectories,
  paramsOf,
  startOwnHelper,
  wirePod,
  type HelperDirectories,
  type TestHelper,
} from '../../kit/helper.ts';
import { makeNetns, type TestNetns } from '../../kit/netns.ts';
import { wholeFile } from '../../kit/whole-file.ts';

const CAPS = { egress: { rateBitsPerSec: 10_000_000, burstBits: 4294967295 } };
/** Long enough that no repair gets between a test's damage and its check. */
const NO_REPAIR = ['--reconcile-seconds', '3600'];
const QUICK_REPAIR = ['--reconcile-seconds', '1'];
const RESPECT = [...NO_REPAIR, '--foreign-qdisc', 'respect'];
const REPLACE = [...NO_REPAIR, '--foreign-qdisc', 'replace'];
/**
 * By then the helper has looked at what it and the test have made themselves, and looks again only
 * when more happens.
 */
const CALM_MS = 3000;
const EMPTY_WITHIN_MS = 30_000;
/** By then a request has been sent. */
const SENT_MS = 100;

interface Scene {
  readonly node: TestNetns;
  readonly sandbox: TestNetns;
  readonly helper: TestHelper;
}

/**
 * A node for all tests that need a helper with the same flags. Who ends its helper leaves it to the
 * next by `startAgain`, with the flags that this one needs: on an emulated processor a start is
 * most of what a test costs.
 */
interface SharedNode extends Scene {
  readonly peer: TestNetns;
  readonly directories: HelperDirectories;
}

const shared = new Map<string, SharedNode>();
const untilEnd = wholeFile(test, () => shared.clear());

async function nodeWith(flags: readonly string[]): Promise<SharedNode> {
  const known = shared.get(flags.join(' '));
  if (known !== undefined) return known;
  const [node, sandbox, peer] = [1, 2, 3].map(() => makeNetns(untilEnd)) as [
    TestNetns,
    TestNetns,
    TestNetns,
  ];
  const directories = makeHelperDirectories(untilEnd);
  const helper = await startOwnHelper(untilEnd, node, directories, flags);
  const made = { node, sandbox, peer, directories, helper };
  shared.set(flags.join(' '), made);
  return made;
}

/** Starts a successor of a node's helper, which has been ended, with flags of its own. */
async function startAgain(former: SharedNode, flags: readonly string[]): Promise<SharedNode> {
  forget(former);
  const helper = await startOwnHelper(untilEnd, former.node, former.directories, flags);
  const again = { ...former, helper };
  shared.set(flags.join(' '), again);
  return again;
}

/** No later test is to use the node. */
function forget({ node }: SharedNode): void {
  for (const [flags, known] of shared) if (known.node === node) shared.delete(flags);
}

/** Takes away what tests before have left, and waits until the helper knows. */
async function empty({ node, helper }: SharedNode): Promise<void> {
  for (const { name, index } of await listLinks(node.rt))
    if (['pod0', 'uplink', 'other'].includes(name)) await deleteLink(node.rt, index);
  const deadlineMs = performance.now() + EMPTY_WITHIN_MS;
  for (;;) {
    const [{ attachments }, { exits }] = await Promise.all([
      helper.ask('list', {}),
      helper.ask('status', {}),
    ]);
    if (attachments.length + exits.length === 0) return;
    if (performance.now() > deadlineMs)
      throw new Error(`left of the test before: ${JSON.stringify({ attachments, exits })}`);
    await sleep(100);
  }
}

/** The node of all tests that need a helper with these flags, with a pod and an uplink. */
async function makeScene(queues = 4, flags: readonly string[] = NO_REPAIR): Promise<SharedNode> {
  const here = await nodeWith(flags);
  await empty(here);
  wirePod(here.node, here.sandbox, 'pod0');
  addUplink(here.node, here.peer, 'uplink', queues);
  return here;
}

/** A node of the test's own. */
async function makeLoneScene(
  t: ExecutionContext,
  queues: number,
  flags: readonly string[],
): Promise<Scene> {
  const [node, sandbox, peer] = [makeNetns(t), makeNetns(t), makeNetns(t)];
  wirePod(node, sandbox, 'pod0');
  addUplink(node, peer, 'uplink', queues);
  const helper = await startOwnHelper(t, node, makeHelperDirectories(t), [...NO_REPAIR, ...flags]);
  return { node, helper, sandbox };
}

/** Kinds of a device's qdiscs, root first, without the handles that the kernel draws. */
function kinds(node: TestNetns, device: string): string {
  const own = node
    .tcJson('qdisc', 'show', 'dev', device)
    .filter(({ kind }) => kind !== 'clsact' && kind !== 'ingress');
  return own
    .map(
      ({ kind, handle, root }) =>
        `${String(kind)}${root === true ? ` root ${String(handle)}` : ''}`,
    )
    .join(', ');
}

const CAPPED = 'mq root 7070:, fq, fq, fq, fq';

test.serial('the first cap puts fq under the uplink, the last one takes it away', async (t) => {
  const { node, sandbox, helper } = await makeScene();
  t.is(kinds(node, 'uplink'), 'noqueue root 0:');
  await helper.ask('attach', paramsOf('pod0', sandbox, CAPS));
  t.is(kinds(node, 'uplink'), CAPPED);
  const status = await helper.ask('status', {});
  t.is(status.state, 'ok');
  t.like(status.exits[0], { name: 'uplink', queues: 4, rootQdisc: 'mq', departureProgram: true });
  t.deepEqual(status.exits[0]?.leafQdiscs, ['fq', 'fq', 'fq', 'fq']);
  const { attachments } = await helper.ask('list', {});
  t.like(attachments[0], { hostInterface: 'pod0', problems: [] });
  await helper.ask('check', paramsOf('pod0', sandbox, CAPS));
  await helper.ask('detach', { containerId: 'c-pod0', ifname: 'eth0' });
  t.is(kinds(node, 'uplink'), 'noqueue root 0:');
  t.is((await helper.ask('status', {})).exits[0]?.departureProgram, false);
  t.notRegex(node.tc('qdisc', 'show'), /clsact/);
});

test.serial('a single queue gets fq itself', async (t) => {
  const { node, sandbox, helper } = await makeScene(1);
  await helper.ask('attach', paramsOf('pod0', sandbox, CAPS));
  t.is(kinds(node, 'uplink'), 'fq root 7070:');
  await helper.ask('check', paramsOf('pod0', sandbox, CAPS));
});

test.serial('a qdisc that somebody chose comes back with its options', async (t) => {
  const { node, sandbox, helper } = await makeScene(1);
  node.tc('qdisc', 'add', 'dev', 'uplink', 'root', 'handle', '5:', 'pfifo', 'limit', '77');
  const before = node.tc('qdisc', 'show', 'dev', 'uplink');
  await helper.ask('attach', paramsOf('pod0', sandbox, CAPS));
  t.is(kinds(node, 'uplink'), 'fq root 7070:');
  await helper.ask('detach', { containerId: 'c-pod0', ifname: 'eth0' });
  t.is(node.tc('qdisc', 'show', 'dev', 'uplink'), before);
});

test.serial('mq that somebody chose comes back with its leaves', async (t) => {
  const { node, sandbox, helper } = await makeScene();
  node.tc('qdisc', 'add', 'dev', 'uplink', 'root', 'handle', '5:', 'mq');
  for (const queue of [1, 2, 3, 4]) {
    node.tc(
      'qdisc',
      'add',
      'dev',
      'uplink',
      'parent',
      `5:${queue}`,
      'handle',
      `1${queue}:`,
      'pfifo',
      'limit',
      `7${queue}`,
    );
  }
  const lines = () => node.tc('qdisc', 'show', 'dev', 'uplink').trim().split('\n').toSorted();
  const before = lines();
  await helper.ask('attach', paramsOf('pod0', sandbox, CAPS));
  t.is(kinds(node, 'uplink'), CAPPED);
  await helper.ask('detach', { containerId: 'c-pod0', ifname: 'eth0' });
  t.deepEqual(lines(), before);
});

test.serial('a shaper that somebody configured is respected, and the cap refused', async (t) => {
  const { node, sandbox, helper } = await makeScene(1);
  node.tc(
    'qdisc',
    'add',
    'dev',
    'uplink',
    'root',
    'handle',
    '1:',
    'tbf',
    'rate',
    '1gbit',
    'burst',
    '100k',
    'latency',
    '1ms',
  );
  const before = node.tc('qdisc', 'show');
  const error = await t.throwsAsync(helper.ask('attach', paramsOf('pod0', sandbox, CAPS)), {
    instanceOf: HelperError,
  });
  t.regex(error?.message ?? '', /uplink has a tbf root qdisc that somebody configured/);
  t.is(node.tc('qdisc', 'show'), before);
  t.deepEqual((await helper.ask('list', {})).attachments, []);
});

test.serial(
  'an fq that somebody tuned is respected too, one without options of its own is not',
  async (t) => {
    const { node, sandbox, helper } = await makeScene(1);
    node.tc('qdisc', 'add', 'dev', 'uplink', 'root', 'handle', '5:', 'fq', 'maxrate', '1gbit');
    const before = node.tc('qdisc', 'show', 'dev', 'uplink');
    const error = await t.throwsAsync(helper.ask('attach', paramsOf('pod0', sandbox, CAPS)), {
      instanceOf: HelperError,
    });
    t.regex(error?.message ?? '', /uplink has a fq root qdisc that somebody configured/);
    t.is(node.tc('qdisc', 'show', 'dev', 'uplink'), before);
    node.tc('qdisc', 'replace', 'dev', 'uplink', 'root', 'handle', '6:', 'fq');
    await helper.ask('attach', paramsOf('pod0', sandbox, CAPS));
    t.is(kinds(node, 'uplink'), 'fq root 7070:');
  },
);

test.serial(
  'a shaper is replaced when the operator says so, and then the default is put back',
  async (t) => {
    const { node, sandbox, helper } = await makeScene(1, REPLACE);
    const shapers = ['tbf rate 1gbit burst 100k latency 1ms', 'htb default 1'];
    for (const shaper of shapers) {
      node.tc('qdisc', 'replace', 'dev', 'uplink', 'root', 'handle', '1:', ...shaper.split(' '));
      await helper.ask('attach', paramsOf('pod0', sandbox, CAPS));
      t.is(kinds(node, 'uplink'), 'fq root 7070:');
      t.is((await helper.ask('status', {})).state, 'ok');
      await helper.ask('detach', { containerId: 'c-pod0', ifname: 'eth0' });
      t.is(kinds(node, 'uplink'), 'noqueue root 0:');
    }
  },
);

test.serial('an uplink by which nothing can leave is refused by name', async (t) => {
  const alone = await makeLoneScene(t, 1, ['--uplink', 'lo']);
  const error = await t.throwsAsync(
    alone.helper.ask('attach', paramsOf('pod0', alone.sandbox, CAPS)),
    {
      instanceOf: HelperError,
    },
  );
  t.regex(
    error?.message ?? '',
    /the node has no uplink: "lo" can be no uplink: it is the loopback device/,
  );
  const besides = await makeLoneScene(t, 1, ['--uplink', 'uplink', '--uplink', 'lo']);
  await besides.helper.ask('attach', paramsOf('pod0', besides.sandbox, CAPS));
  const { state, problems } = await besides.helper.ask('status', {});
  t.is(state, 'degraded');
  t.deepEqual(problems, ['"lo" can be no uplink: it is the loopback device']);
  const { node } = besides;
  node.ip('link', 'add', 'other', 'type', 'veth', 'peer', 'name', 'other-far');
  node.ip('link', 'set', 'other', 'up');
  node.ip('route', 'add', '203.0.113.0/24', 'dev', 'other');
  const sentence = /What pods send by other is not held: routes lead there/;
  t.regex((await besides.helper.ask('status', {})).problems.join('\n'), sentence);
  const { attachments } = await besides.helper.ask('list', {});
  t.regex(attachments[0]?.problems.join('\n') ?? '', sentence);
});

const damages: readonly [string, (scene: Scene) => void, RegExp][] = [
  [
    'a leaf qdisc',
    ({ node }) => node.tc('qdisc', 'replace', 'dev', 'uplink', 'parent', '7070:2', 'pfifo'),
    /uplink queue 2 has the leaf qdisc pfifo/,
  ],
  [
    'the options of a leaf',
    ({ node }) =>
      node.tc('qdisc', 'change', 'dev', 'uplink', 'parent', '7070:3', 'fq', 'flow_limit', '100'),
    /uplink queue 3/,
  ],
  [
    'the root qdisc',
    ({ node }) => node.tc('qdisc', 'replace', 'dev', 'uplink', 'root', 'pfifo'),
    /uplink has the root qdisc pfifo/,
  ],
  ['the uplink', ({ node }) => node.ip('link', 'delete', 'uplink'), /no uplink/],
  ['the host interface', ({ node }) => node.ip('link', 'delete', 'pod0'), /pod0 is gone/],
];
for (const [what, damage, expected] of damages) {
  test.serial(`check and status tell of the loss of ${what}`, async (t) => {
    const scene = await makeScene();
    const { sandbox, helper } = scene;
    await helper.ask('attach', paramsOf('pod0', sandbox, CAPS));
    await sleep(CALM_MS);
    // Stopped meanwhile: a pod whose interface is gone is forgotten as soon as the kernel tells of
    // it.
    const { pid } = helper;
    process.kill(pid, 'SIGSTOP');
    damage(scene);
    const checked = t.throwsAsync(helper.ask('check', paramsOf('pod0', sandbox, CAPS)), {
      instanceOf: HelperError,
    });
    const status = helper.ask('status', {});
    await sleep(SENT_MS);
    process.kill(pid, 'SIGCONT');
    t.regex((await checked)?.message ?? '', expected);
    t.is((await status).state, 'degraded');
  });
}

/**
 * What CHECK says while something is missing, and undefined when it was back each time before:
 * without tcx the helper hears of it at once, and with tcx it looks every 2 s.
 */
async function missedByCheck(
  { sandbox, helper }: Scene,
  damage: () => void,
): Promise<string | undefined> {
  for (let attempt = 0; attempt < 5; attempt += 1) {
    damage();
    const said = await helper
      .ask('check', paramsOf('pod0', sandbox, CAPS))
      .then(() => undefined, String);
    if (said !== undefined) return said;
  }
  return undefined;
}

/**
 * Takes a program from a device as an operator's hand would, on either kind of kernel, where it
 * stands there.
 */
function detachByHand({ node, helper }: Scene, device: string, hook: 'ingress' | 'egress'): void {
  const index = String(node.ipJson('link', 'show', 'dev', device)[0]?.['ifindex']);
  const pin = `${helper.pinDir}/links/${index}-${hook}`;
  if (isTcxSupported()) fs.rmSync(pin, { force: true });
  else if (node.tc('filter', 'show', 'dev', device, hook).includes('podpace'))
    node.tc('filter', 'delete', 'dev', device, hook);
}

test.serial(
  'set changes a cap in force, gives a direction a new one and takes it away again',
  async (t) => {
    const { node, sandbox, helper } = await makeScene();
    const key = { containerId: 'c-pod0', ifname: 'eth0' };
    const params = paramsOf('pod0', sandbox, CAPS);
    await helper.ask('attach', params);
    const uplinkBefore = node.tc('qdisc', 'show', 'dev', 'uplink');
    const pod0Before = kinds(node, 'pod0');
    const changed = {
      ...key,
      direction: 'egress',
      changes: { rateBitsPerSec: 5_000_000 },
    } as const;
    t.like((await helper.ask('set', changed)).after, { rateBitsPerSec: 5_000_000 });
    t.is(node.tc('qdisc', 'show', 'dev', 'uplink'), uplinkBefore);
    await helper.ask('check', params);
    await helper.ask('set', {
      ...key,
      direction: 'ingress',
      changes: { rateBitsPerSec: 1_000_000 },
    });
    t.regex(kinds(node, 'pod0'), /^(mq|fq) root 7070:/);
    await helper.ask('check', params);
    t.like((await helper.ask('list', {})).attachments[0], { caps: CAPS, problems: [] });
    await helper.ask('set', { ...key, direction: 'ingress', reset: true, changes: {} });
    t.is(kinds(node, 'pod0'), pod0Before);
    await helper.ask('attach', params);
    const { attachments } = await helper.ask('list', {});
    t.like(attachments[0], {
      effective: { egress: { rateBitsPerSec: 10_000_000, changed: [] } },
      problems: [],
    });
    t.is(attachments[0]?.changes, undefined);
  },
);

test.serial('another program’s filter on the same hook stays', async (t) => {
  const { node, sandbox, helper } = await makeScene();
  node.tc('qdisc', 'add', 'dev', 'uplink', 'clsact');
  node.tc(
    'filter',
    'add',
    'dev',
    'uplink',
    'egress',
    'pref',
    '7',
    'u32',
    'match',
    'u32',
    '0',
    '0',
    'action',
    'ok',
  );
  const before = node.tc('filter', 'show', 'dev', 'uplink', 'egress', 'pref', '7');
  await helper.ask('attach', paramsOf('pod0', sandbox, CAPS));
  t.is(node.tc('filter', 'show', 'dev', 'uplink', 'egress', 'pref', '7'), before);
  await helper.ask('detach', { containerId: 'c-pod0', ifname: 'eth0' });
  t.is(node.tc('filter', 'show', 'dev', 'uplink', 'egress', 'pref', '7'), before);
  t.regex(node.tc('qdisc', 'show', 'dev', 'uplink'), /clsact/);
});

/** The successor is started with flags that the tests after it need. */
function isRepairedByRestart(
  role: string,
  device: string,
  hook: 'ingress' | 'egress',
  [flags, next]: readonly [readonly string[], readonly string[]],
): void {
  test.serial(`check fails without the ${role}, and a restarted helper repairs it`, async (t) => {
    const scene = await makeScene(4, flags);
    const { node, sandbox, helper } = scene;
    await helper.ask('attach', paramsOf('pod0', sandbox, CAPS));
    await sleep(CALM_MS);
    const missed = await missedByCheck(scene, () => detachByHand(scene, device, hook));
    if (missed === undefined && !isTcxSupported())
      t.regex(
        node.tc('filter', 'show', 'dev', device, hook),
        /podpace/,
        'neither missed nor put back',
      );
    else t.regex(missed ?? '', new RegExp(`${role} is missing on ${device}`));
    await helper.end('SIGTERM');
    detachByHand(scene, device, hook);
    const successor = (await startAgain(scene, next)).helper;
    await successor.ask('check', paramsOf('pod0', sandbox, CAPS));
    t.is((await successor.ask('status', {})).state, 'ok');
  });
}

isRepairedByRestart('classifier', 'pod0', 'ingress', [NO_REPAIR, RESPECT]);

for (const shaper of ['htb default 1', 'cake bandwidth 1gbit', 'fq maxrate 1gbit']) {
  test.serial(
    `${shaper}, put on an uplink that holds a cap, is respected and told of, or replaced`,
    async (t) => {
      for (const flags of [RESPECT, REPLACE]) {
        const { node, sandbox, helper } = await makeScene(1, flags);
        await helper.ask('attach', paramsOf('pod0', sandbox, CAPS));
        node.tc('qdisc', 'replace', 'dev', 'uplink', 'root', 'handle', '1:', ...shaper.split(' '));
        // The helper waits until whoever changes qdiscs has had time to finish.
        await sleep(2500);
        const { state, problems } = await helper.ask('status', {});
        const left = kinds(node, 'uplink');
        if (flags === REPLACE) {
          t.is(left, 'fq root 7070:');
          t.is(state, 'ok');
          continue;
        }
        const [kind = ''] = shaper.split(' ');
        t.is(left, `${kind} root 1:`);
        t.is(state, 'degraded');
        const told = new RegExp(`uplink has a ${kind} root qdisc that somebody configured`);
        t.regex(problems.join('\n'), told);
        const { attachments } = await helper.ask('list', {});
        t.regex(attachments[0]?.problems.join('\n') ?? '', told);
      }
    },
  );
}

isRepairedByRestart('departure program', 'uplink', 'egress', [RESPECT, QUICK_REPAIR]);

test.serial('what was damaged is repaired by itself', async (t) => {
  const { node, sandbox, helper } = await makeScene(4, QUICK_REPAIR);
  await helper.ask('attach', paramsOf('pod0', sandbox, CAPS));
  node.tc('qdisc', 'replace', 'dev', 'uplink', 'root', 'pfifo');
  for (let attempt = 0; attempt < 50 && kinds(node, 'uplink') !== CAPPED; attempt += 1)
    await sleep(100);
  t.is(kinds(node, 'uplink'), CAPPED);
  await helper.ask('check', paramsOf('pod0', sandbox, CAPS));
});

test.serial('caps outlive the helper, and its successor knows them', async (t) => {
  const scene = await makeScene(4, QUICK_REPAIR);
  const { node, sandbox, helper } = scene;
  await helper.ask('attach', paramsOf('pod0', sandbox, CAPS));
  await helper.end('SIGKILL');
  t.is(kinds(node, 'uplink'), CAPPED);
  const { helper: successor } = await startAgain(scene, NO_REPAIR);
  await successor.ask('check', paramsOf('pod0', sandbox, CAPS));
  t.is((await successor.ask('list', {})).attachments.length, 1);
  await successor.end('SIGKILL');
  node.ip('link', 'delete', 'pod0');
  const { helper: last } = await startAgain(scene, NO_REPAIR);
  t.deepEqual((await last.ask('list', {})).attachments, []);
  t.is(kinds(node, 'uplink'), 'noqueue root 0:');
});

test.serial('uninstall gives the node back, with the helper running and without it', async (t) => {
  for (const [isRunning, flags] of [
    [true, NO_REPAIR],
    [false, REPLACE],
  ] as const) {
    const scene = await makeScene(4, flags);
    forget(scene);
    const { node, sandbox, helper } = scene;
    const before = node.tc('qdisc', 'show');
    await helper.ask(
      'attach',
      paramsOf('pod0', sandbox, { ...CAPS, ingress: { rateBitsPerSec: 5_000_000 } }),
    );
    t.not(node.tc('qdisc', 'show'), before);
    if (isRunning) {
      t.deepEqual(await helper.ask('uninstall', { forget: true }), {
        restoredExits: ['uplink', 'pod0'].toSorted(),
        detached: 1,
        kept: 0,
      });
      await helper.end('SIGTERM');
    } else {
      await helper.end('SIGKILL');
      const settings = [
        '--socket',
        helper.socket,
        '--state-dir',
        helper.stateDir,
        '--pin-dir',
        helper.pinDir,
      ];
      execFileSync('nsenter', [
        `--net=/run/netns/${node.name}`,
        PODPACED,
        'uninstall',
        '--forget',
        ...settings,
      ]);
    }
    t.is(node.tc('qdisc', 'show'), before);
    t.false(fs.existsSync(helper.pinDir));
    t.false(fs.existsSync(helper.stateDir));
    t.is(
      spawnSync('tc', ['-n', node.name, 'filter', 'show', 'dev', 'uplink', 'egress'], {
        encoding: 'utf8',
      }).stdout,
      '',
    );
  }
});
