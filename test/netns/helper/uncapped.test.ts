// Pods that are added without a cap, by the built executables: the plugin leaves a record of each,
// the helper lists, enrols and forgets them, and `set` caps one while it runs. Native kernels here
// have no sch_fq: there `set` is refused, and what it makes is left by the test.

import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import type {
  AttachmentStatus,
  UncappedPod,
  UnknownPod,
} from '../../../helper/protocol/messages.ts';
import { formatRecord, parseRecord } from '../../../helper/shaping/record-schema.ts';
import type { AttachmentRecord, UncappedRecord } from '../../../helper/shaping/records.ts';
import { PODPACED } from '../../bed/helper.ts';
import { temporaryDirectory } from '../../bed/temporary-directory.ts';
import { startOwnHelper, type TestHelper } from '../../kit/helper.ts';
import { makeNetns, type TestNetns } from '../../kit/netns.ts';
import {
  call,
  makeWiredPod,
  makeWishScene,
  until,
  type Called,
  type WishScene,
} from '../../kit/wish-scene.ts';

const UID = '7d0a3c5e-1c7f-4f0e-9a53-0f4f4f6f2b11';
const WEB = { podNamespace: 'default', podName: 'web-0', podUid: UID };
const WEB_ARGS = `IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web-0;K8S_POD_UID=${UID}`;
const NO_CAP = { egressRate: 0, egressBurst: 0 };
const OFTEN = ['--reconcile-seconds', '1'];
const SELDOM = ['--reconcile-seconds', '3600'];

interface All {
  readonly attachments: readonly AttachmentStatus[];
  readonly uncapped: readonly UncappedPod[];
  readonly unknown: readonly UnknownPod[];
}

function podpaced(scene: Pick<WishScene, 'socket'>, ...args: readonly string[]) {
  const argv = [...args, '--socket', scene.socket];
  const { status, stdout, stderr } = spawnSync(PODPACED, argv, { encoding: 'utf8' });
  return { status, stdout, stderr };
}

function listAll(scene: WishScene, ...args: readonly string[]): All {
  return JSON.parse(podpaced(scene, 'list', '--all', '--json', ...args).stdout) as All;
}

function idsOf(pods: readonly { readonly containerId: string }[]): string[] {
  return pods.map(({ containerId }) => containerId);
}

function add(
  t: ExecutionContext,
  scene: WishScene,
  pod: TestNetns,
  more: object = {},
  args?: string,
): Called {
  const env = args === undefined ? {} : { CNI_ARGS: args };
  const added = call(scene, 'ADD', pod, { ...NO_CAP, ...more }, env);
  t.is(added.status, 0, added.stdout);
  return added;
}

function folderOf({ directories }: WishScene): string {
  return path.join(directories.run, 'uncapped');
}

function fileOf(scene: WishScene, pod: TestNetns): string {
  return path.join(folderOf(scene), `c-${pod.name}:eth0.json`);
}

function readRecord(scene: WishScene, pod: TestNetns): UncappedRecord {
  const text = fs.readFileSync(fileOf(scene, pod), 'utf8');
  return parseRecord('uncapped', `c-${pod.name}:eth0`, text);
}

function rewrite(scene: WishScene, pod: TestNetns, changes: Partial<UncappedRecord>): void {
  const record = { ...readRecord(scene, pod), ...changes };
  fs.writeFileSync(fileOf(scene, pod), formatRecord('uncapped', record));
}

function filesOf(scene: WishScene): string[] {
  return fs.existsSync(folderOf(scene)) ? fs.readdirSync(folderOf(scene)).toSorted() : [];
}

function linesWith(helper: TestHelper, text: string): string[] {
  return helper
    .log()
    .split('\n')
    .filter((line) => line.includes(text));
}

test.serial(
  'ADD without a cap leaves a record while the helper is away, which lists the pod later; DEL takes it',
  async (t) => {
    const scene = makeWishScene(t);
    const pod = makeWiredPod(t, scene, 'pod0');
    const before = makeWiredPod(t, scene, 'before');
    const startMs = Date.now();
    t.is(add(t, scene, pod, {}, WEB_ARGS).stderr, '');
    t.is(fs.statSync(folderOf(scene)).mode & 0o777, 0o700);
    t.is(fs.statSync(fileOf(scene, pod)).mode & 0o777, 0o600);
    t.deepEqual(filesOf(scene), [`c-${pod.name}:eth0.json`]);
    const left = readRecord(scene, pod);
    t.like(left, { ...WEB, network: 'pods', sandbox: `/run/netns/${pod.name}` });
    t.regex(left.sandboxNetns ?? '', new RegExp(`^[0-9]+:${pod.netns.inode}$`));
    const addedMs = Date.parse(left.addedAt ?? '');
    t.true(addedMs >= startMs && addedMs <= Date.now());

    const helper = await startOwnHelper(t, scene.node, scene.directories, OFTEN);
    const known = { containerId: `c-${pod.name}`, hostInterface: 'pod0', kind: 'veth', ...WEB };
    const all = listAll(scene);
    t.deepEqual(all.attachments, []);
    t.is(all.uncapped.length, 1);
    t.like(all.uncapped[0], known);
    t.like(all.unknown, [{ hostInterface: 'before', kind: 'veth' }]);
    t.is(all.unknown.length, 1, 'the uplink is no pod');
    t.is(
      all.unknown[0]?.hostInterfaceIndex,
      Number(scene.node.ipJson('link', 'show', 'dev', 'before')[0]?.['ifindex']),
    );
    t.like(readRecord(scene, pod), { hostInterface: 'pod0', isAsked: true, ...WEB });
    const text = podpaced(scene, 'list', '--all', '--wide').stdout;
    t.regex(
      text,
      new RegExp(`^default/web-0 +c-${pod.name} +eth0 +pods +pod0 +veth .* no cap$`, 'm'),
    );
    t.regex(text, /^- .* +unknown \(before\): no record of it/m);
    t.is(podpaced(scene, 'list').stdout, 'No pod on this node has a cap\n');
    t.deepEqual(idsOf(listAll(scene, 'default/web-0').uncapped), [`c-${pod.name}`]);
    t.is((await helper.ask('status', {})).attachments, 0);

    await helper.end('SIGTERM');
    t.is(call(scene, 'DEL', pod, NO_CAP).status, 0);
    t.deepEqual(filesOf(scene), []);
    t.is(call(scene, 'DEL', pod, NO_CAP).status, 0);
    await startOwnHelper(t, scene.node, scene.directories, OFTEN);
    const rest = listAll(scene);
    t.deepEqual(rest.uncapped, []);
    t.deepEqual(
      rest.unknown.map(({ hostInterface }) => hostInterface).toSorted(),
      [before, pod].map((one) => (one === pod ? 'pod0' : 'before')).toSorted(),
    );
  },
);

test.serial(
  'hostile names are cut and escaped in the record, and wherever it is told of',
  async (t) => {
    const scene = makeWishScene(t);
    const pod = makeWiredPod(t, scene, 'pod0');
    const args = `K8S_POD_NAMESPACE=${'x'.repeat(100)};K8S_POD_NAME=../\u001b[2J\u202e\nforged`;
    add(
      t,
      scene,
      pod,
      {
        prevResult: {
          cniVersion: '1.1.0',
          interfaces: [
            { name: '../../etc' },
            { name: 'e\u001b\u202e' },
            { name: 'no such one, and too long' },
            { name: 'eth0', sandbox: `/run/netns/${pod.name}` },
            { name: '../../x', sandbox: `/run/netns/${pod.name}` },
          ],
        },
      },
      args,
    );
    t.deepEqual(filesOf(scene), [`c-${pod.name}:eth0.json`]);
    t.like(readRecord(scene, pod), {
      podNamespace: `${'x'.repeat(62)}…`,
      podName: String.raw`../\u001b[2J\u202e\nforged`,
    });
    await startOwnHelper(t, scene.node, scene.directories, SELDOM);
    const { stdout } = podpaced(scene, 'list', '--all');
    t.notRegex(stdout.replaceAll('\n', ''), /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u);
    t.true(stdout.includes(String.raw`/../\u001b[2J\u202e\nforged `), stdout);
  },
);

test.serial(
  'a main plugin knows the host interface, and a chained one believes no result until the kernel was asked',
  async (t) => {
    const scene = makeWishScene(t);
    const bin = temporaryDirectory(t);
    const answer = JSON.stringify({ cniVersion: '1.1.0', ips: [{ address: '10.9.0.2/24' }] });
    fs.writeFileSync(path.join(bin, 'ipam'), `#!/bin/sh\necho '${answer}'\n`, { mode: 0o755 });
    const main = makeNetns(t);
    const added = call(
      scene,
      'ADD',
      main,
      { ...NO_CAP, prevResult: undefined, ipam: { type: 'ipam' } },
      { CNI_PATH: bin },
    );
    t.is(added.status, 0, added.stdout);
    const [host] = (JSON.parse(added.stdout) as { interfaces: { name: string }[] }).interfaces;
    t.like(readRecord(scene, main), { hostInterface: host?.name, kind: 'veth', isAsked: true });
    const chained = makeWiredPod(t, scene, 'pod0');
    add(t, scene, chained);
    t.false('isAsked' in readRecord(scene, chained));
    await startOwnHelper(t, scene.node, scene.directories, OFTEN);
    t.deepEqual(
      new Set(listAll(scene).uncapped.map(({ hostInterface }) => hostInterface)),
      new Set([host?.name, 'pod0']),
    );
  },
);

test.serial(
  'set caps a pod that was added without, or is refused as ADD would be and leaves it as it was',
  async (t) => {
    const scene = makeWishScene(t);
    const [pod, bare] = [makeWiredPod(t, scene, 'pod0'), makeNetns(t)];
    bare.ip('link', 'add', 'eth0', 'type', 'bridge');
    add(t, scene, pod, { exempt: ['10.0.0.0/8'] }, WEB_ARGS);
    add(t, scene, bare);
    await startOwnHelper(t, scene.node, scene.directories, OFTEN);
    const rate = ['--egress', '--rate', '5M'];
    const refusal = podpaced(scene, 'set', 'default/web-0', ...rate);
    // As a shaper of somebody's on the uplink, or a kernel without sch_fq, has ADD refused.
    const asked = call(scene, 'ADD', pod, { onUnenforceable: 'fail' });
    t.is(asked.status, 1);
    const { msg } = JSON.parse(asked.stdout) as { msg: string };
    t.is(refusal.status, 1);
    const own = /Cannot .*/.exec(refusal.stderr.replace(/^.*?: /, ''))?.[0] ?? '';
    t.true(own !== '' && own.includes(msg.split(': ').at(-1) ?? msg), `${refusal.stderr}\n${msg}`);
    t.is(call(scene, 'ADD', pod, NO_CAP, { CNI_ARGS: WEB_ARGS }).status, 0);
    t.deepEqual(
      idsOf(listAll(scene).uncapped).toSorted(),
      [`c-${pod.name}`, `c-${bare.name}`].toSorted(),
    );
    t.deepEqual(listAll(scene).attachments, []);

    const none = podpaced(scene, 'set', `c-${bare.name}`, ...rate);
    const error = JSON.parse(call(scene, 'ADD', bare, { onUnenforceable: 'fail' }).stdout) as {
      code: number;
      msg: string;
      details: string;
    };
    t.is(error.code, 104);
    t.is(none.status, 1);
    const attachment = `; attachment c-${bare.name}/eth0`;
    t.true(error.details.endsWith(attachment), error.details);
    const remedy = error.details.slice(0, -attachment.length);
    t.true(none.stderr.endsWith(`: ${error.msg}; ${remedy}\n`), none.stderr);
    t.regex(
      podpaced(scene, 'list', '--all').stdout,
      / no cap, and none is possible: it is of kind bridge and has no host interface$/m,
    );
    const nothing = podpaced(scene, 'set', 'default/web-0', '--egress', '--reset');
    t.is(nothing.status, 0, nothing.stderr);
    const burst = podpaced(scene, 'set', 'default/web-0', '--egress', '--burst', '100k');
    t.regex(
      burst.stderr,
      /Cannot change the egress of default\/web-0 .*: it has no cap; set a rate/,
    );
    t.deepEqual(listAll(scene).attachments, []);
  },
);

test.serial(
  'a pod that set has capped is an attachment, and without its changes a pod without a cap again',
  async (t) => {
    const scene = makeWishScene(t);
    const pod = makeWiredPod(t, scene, 'pod0');
    add(t, scene, pod, {}, WEB_ARGS);
    const [link] = scene.node.ipJson('link', 'show', 'dev', 'pod0');
    // As `set` leaves it where the kernel can hold the cap.
    const record: AttachmentRecord = {
      ...{ containerId: `c-${pod.name}`, ifname: 'eth0', network: 'pods', hostInterface: 'pod0' },
      ...{ sandbox: `/run/netns/${pod.name}`, caps: {}, kind: 'veth', ...WEB },
      hostInterfaceIndex: Number(link?.['ifindex']),
      changes: { egress: { rateBitsPerSec: 5_000_000 } },
      egressAggregateId: 5000,
    };
    const records = path.join(scene.directories.run, 'state', 'attachments');
    fs.mkdirSync(records, { recursive: true });
    const file = path.join(records, `c-${pod.name}:eth0.json`);
    fs.writeFileSync(file, formatRecord('attachments', record));
    const helper = await startOwnHelper(t, scene.node, scene.directories, OFTEN);
    const capped = listAll(scene);
    t.deepEqual([capped.uncapped, capped.unknown], [[], []]);
    t.is(capped.attachments[0]?.effective.egress?.rateBitsPerSec, 5_000_000);
    t.deepEqual(capped.attachments[0]?.effective.egress?.changed, ['rateBitsPerSec']);
    const counted = await helper.ask('counters', {});
    t.truthy(counted.attachments[0]?.egress);

    const set = podpaced(scene, 'set', 'default/web-0', '--egress', '--rate', '4M');
    t.is(set.status, 0, set.stderr);
    const reset = podpaced(scene, 'set', 'default/web-0', '--egress', '--reset');
    t.is(reset.status, 0, reset.stderr);
    t.regex(reset.stdout, /^rate +4 Mbit\/s +-$/m);
    const rest = listAll(scene);
    t.deepEqual([rest.attachments, rest.unknown], [[], []]);
    t.like(rest.uncapped, [{ ...WEB, hostInterface: 'pod0' }]);
    t.false(fs.existsSync(file));
    t.deepEqual((await helper.ask('counters', {})).attachments, []);
    t.deepEqual(filesOf(scene), [`c-${pod.name}:eth0.json`]);
  },
);

test.serial(
  'set does not take a pod for one without a cap whose record cannot be read',
  async (t) => {
    const scene = makeWishScene(t);
    const pod = makeWiredPod(t, scene, 'pod0');
    add(t, scene, pod);
    const records = path.join(scene.directories.run, 'state', 'attachments');
    fs.mkdirSync(records, { recursive: true });
    const file = path.join(records, `c-${pod.name}:eth0.json`);
    fs.writeFileSync(file, '{');
    await startOwnHelper(t, scene.node, scene.directories, OFTEN);
    const set = podpaced(scene, 'set', `c-${pod.name}`, '--egress', '--rate', '5M');
    t.is(set.status, 1);
    t.regex(
      set.stderr,
      /: Cannot read the record .*; what the kernel may hold of it stays in force/,
    );
    t.is(fs.readFileSync(file, 'utf8'), '{');
  },
);

test.serial('DEL of a pod that set has capped takes both records', async (t) => {
  const scene = makeWishScene(t);
  const pod = makeWiredPod(t, scene, 'pod0');
  add(t, scene, pod);
  const helper = await startOwnHelper(t, scene.node, scene.directories, OFTEN);
  const routed = { ...NO_CAP, hostRouting: true, onUnenforceable: 'fail' };
  t.is(call(scene, 'ADD', pod, routed).status, 0);
  const all = listAll(scene);
  t.deepEqual([idsOf(all.attachments), all.uncapped], [[`c-${pod.name}`], []]);
  t.is(call(scene, 'DEL', pod, NO_CAP).status, 0);
  t.deepEqual(filesOf(scene), []);
  t.deepEqual((await helper.ask('list', {})).attachments, []);
});

test.serial(
  'GC removes the records of its network that are not in its list, without a helper',
  (t) => {
    const scene = makeWishScene(t);
    const [stays, goes, other] = [
      makeWiredPod(t, scene, 'pod0'),
      makeWiredPod(t, scene, 'pod1'),
      makeWiredPod(t, scene, 'pod2'),
    ];
    add(t, scene, stays);
    add(t, scene, goes);
    add(t, scene, other, { name: 'others' });
    const torn = path.join(folderOf(scene), 'torn:eth0.json');
    fs.writeFileSync(torn, '{');
    const collect = (valid?: object) =>
      call(scene, 'GC', stays, {
        ...NO_CAP,
        prevResult: undefined,
        'cni.dev/valid-attachments': valid,
      });
    t.is(collect().status, 0);
    t.is(filesOf(scene).length, 4);
    const collected = collect([{ containerID: `c-${stays.name}`, ifname: 'eth0' }]);
    t.is(collected.status, 0, collected.stdout);
    t.deepEqual(
      filesOf(scene),
      [`c-${stays.name}:eth0.json`, `c-${other.name}:eth0.json`, 'torn:eth0.json'].toSorted(),
    );
  },
);

test.serial(
  'a sandbox that went without DEL is forgotten, and what is another one by now',
  async (t) => {
    const scene = makeWishScene(t);
    const pods = ['pod0', 'pod1', 'pod2', 'pod3', 'pod4', 'pod5'].map((name) =>
      makeWiredPod(t, scene, name),
    );
    const [gone, rebooted, moved, reused, rewired, stays] = pods as [
      TestNetns,
      TestNetns,
      TestNetns,
      TestNetns,
      TestNetns,
      TestNetns,
    ];
    for (const pod of pods) add(t, scene, pod);
    const helper = await startOwnHelper(t, scene.node, scene.directories, OFTEN);
    t.is(listAll(scene).uncapped.length, 6);
    spawnSync('ip', ['netns', 'delete', gone.name]);
    rewrite(scene, rebooted, { bootId: '01234567-89ab-cdef-0123-456789abcdef' });
    rewrite(scene, moved, { nodeNetns: '4:1' });
    const [device] = (readRecord(scene, reused).sandboxNetns ?? '').split(':');
    rewrite(scene, reused, { sandboxNetns: `${device}:1` });
    // The same name of an interface, and another device.
    scene.node.ip('link', 'delete', 'pod4');
    scene.node.ip(
      'link',
      'add',
      'pod4',
      'type',
      'veth',
      'peer',
      'name',
      'eth0',
      'netns',
      rewired.name,
    );
    await until(t, 'one is left', () => filesOf(scene).length === 1);
    const all = listAll(scene);
    t.deepEqual(idsOf(all.uncapped), [`c-${stays.name}`]);
    // The test keeps the first one's namespace.
    const unknown = all.unknown.map(({ hostInterface }) => hostInterface).toSorted();
    t.deepEqual(unknown, ['pod0', 'pod1', 'pod2', 'pod3', 'pod4']);
    for (const [pod, reason] of [
      [gone, /(pod0|\/run\/netns\/\S+) is gone: forgetting /],
      [rebooted, /of another boot: forgetting /],
      [moved, /of another network namespace than that of this node: forgetting /],
      [reused, /is another sandbox now: forgetting /],
      [rewired, /pod4 is gone: forgetting /],
    ] as const) {
      const told = linesWith(helper, `c-${pod.name}/eth0`);
      t.is(told.length, 1, helper.log());
      t.regex(told[0] ?? '', reason);
    }
  },
);

test.serial(
  'records that are damaged are named once, left where they are, and stop nothing',
  async (t) => {
    const scene = makeWishScene(t);
    const [whole, damaged] = [makeWiredPod(t, scene, 'pod0'), makeWiredPod(t, scene, 'pod1')];
    add(t, scene, whole);
    add(t, scene, damaged);
    const folder = folderOf(scene);
    const text = fs.readFileSync(fileOf(scene, damaged), 'utf8');
    fs.writeFileSync(fileOf(scene, damaged), text.replace('"network":"pods"', '"network":"pods2"'));
    fs.writeFileSync(path.join(folder, 'torn:eth0.json'), text.slice(0, 40));
    fs.writeFileSync(path.join(folder, 'other:eth0.json'), text);
    fs.writeFileSync(path.join(folder, 'a\u001b[2J:eth0.json'), 'x');
    fs.writeFileSync(
      path.join(folder, 'newer:eth0.json'),
      text.replace('"recordVersion":1', '"recordVersion":9'),
    );
    fs.mkdirSync(path.join(folder, 'directory:eth0.json'));
    fs.symlinkSync('/etc/passwd', path.join(folder, 'link:eth0.json'));
    fs.writeFileSync(path.join(folder, 'half:eth0.json.new'), '{');
    spawnSync('mkfifo', [path.join(folder, 'pipe:eth0.json')]);
    const helper = await startOwnHelper(t, scene.node, scene.directories, OFTEN);
    await sleep(3000);
    const all = listAll(scene);
    t.deepEqual(idsOf(all.uncapped), [`c-${whole.name}`]);
    t.deepEqual(
      all.unknown.map(({ hostInterface }) => hostInterface),
      ['pod1'],
    );
    const told = linesWith(helper, 'Cannot read the record');
    t.is(told.length, 8, told.join('\n'));
    t.true(told.every((line) => line.includes(' warn ')));
    t.notRegex(helper.log().replaceAll('\n', ''), /\p{Cc}/u);
    t.is(filesOf(scene).length, 9);
    // No cap hangs on them.
    t.deepEqual(
      (await helper.ask('status', {})).problems.filter((text) => text.includes('uncapped')),
      [],
    );
  },
);

/**
 * Calls the plugin where `$1` has been made of the folder of its socket; returns also what is left.
 */
function addWhere(scene: WishScene, pod: TestNetns, setUp: string): Called & { left: string } {
  const { run } = scene.directories;
  const script = `${setUp}\n"$2" "$3" "$4"; status=$?; ls -A "$1/uncapped" >&3 2>/dev/null; exit $status`;
  const config = {
    ...{ cniVersion: '1.1.0', name: 'pods', type: 'podpace', socket: scene.socket },
    prevResult: {
      cniVersion: '1.1.0',
      interfaces: [{ name: 'eth0', sandbox: `/run/netns/${pod.name}` }],
    },
  };
  const env = {
    ...{ CNI_COMMAND: 'ADD', CNI_CONTAINERID: `c-${pod.name}`, CNI_IFNAME: 'eth0', CNI_PATH: '/x' },
    ...{ CNI_NETNS: `/run/netns/${pod.name}`, PATH: '/usr/sbin:/usr/bin:/sbin:/bin' },
  };
  const podpace = path.join(path.dirname(PODPACED), 'podpace');
  const { status, stdout, stderr, output } = spawnSync(
    'unshare',
    [
      '--mount',
      'sh',
      '-c',
      script,
      'sh',
      run,
      'nsenter',
      `--net=/run/netns/${scene.node.name}`,
      podpace,
    ],
    {
      input: JSON.stringify(config),
      encoding: 'utf8',
      env,
      stdio: ['pipe', 'pipe', 'pipe', 'pipe'],
    },
  );
  return { status, stdout, stderr, left: output[3] ?? '' };
}

const NO_PLACE: readonly (readonly [what: string, setUp: string, reason: RegExp])[] = [
  [
    'is on a full disk',
    'mount -t tmpfs -o size=4k none "$1" && mkdir -m 0700 "$1/uncapped" && head -c 4096 /dev/zero >"$1/fill"',
    /ENOSPC/,
  ],
  [
    'is on a disk without room for a file',
    'mount -t tmpfs -o nr_inodes=2 none "$1" && mkdir -m 0700 "$1/uncapped"',
    /ENOSPC/,
  ],
  ['is read-only', 'mount -t tmpfs -o ro none "$1"', /EROFS/],
  ['is a file', 'mount -t tmpfs none "$1" && touch "$1/uncapped"', /it is no directory/],
  [
    'is a link',
    'mount -t tmpfs none "$1" && mkdir "$1/x" && ln -s x "$1/uncapped"',
    /it is no directory/,
  ],
  [
    'is one that others can write to',
    'mount -t tmpfs none "$1" && mkdir -m 0777 "$1/uncapped"',
    /others than root/,
  ],
];

for (const [what, setUp, reason] of NO_PLACE) {
  test.serial(`ADD without a cap warns and succeeds where the folder ${what}`, (t) => {
    const scene = makeWishScene(t);
    const pod = makeWiredPod(t, scene, 'pod0');
    const { status, stdout, stderr, left } = addWhere(scene, pod, setUp);
    t.is(status, 0, stdout + stderr);
    t.regex(
      stderr,
      new RegExp(
        `^podpace: WARNING: podpaced will not know c-${pod.name}/eth0, which has no cap: `,
      ),
    );
    t.regex(stderr, reason);
    t.is(stderr.split('\n').length, 2, stderr);
    t.notRegex(left, /c-pp/);
  });
}

for (const forget of [false, true]) {
  for (const isAway of [false, true]) {
    const how = `${isAway ? 'without' : 'with'} a helper${forget ? ', with --forget' : ''}`;
    test.serial(`uninstall removes the folder, ${how}`, async (t) => {
      const scene = makeWishScene(t);
      const pod = makeWiredPod(t, scene, 'pod0');
      add(t, scene, pod);
      fs.writeFileSync(path.join(folderOf(scene), 'torn:eth0.json'), '{');
      const helper = await startOwnHelper(t, scene.node, scene.directories, OFTEN);
      if (isAway) await helper.end('SIGTERM');
      const { stateDir, pinDir } = helper;
      const flags = ['--state-dir', stateDir, '--pin-dir', pinDir, ...(forget ? ['--forget'] : [])];
      const argv = [`--net=/run/netns/${scene.node.name}`, PODPACED, 'uninstall', ...flags];
      const { status, stderr } = spawnSync('nsenter', [...argv, '--socket', scene.socket], {
        encoding: 'utf8',
      });
      t.is(status, 0, stderr);
      await until(t, 'the folder is gone', () => !fs.existsSync(folderOf(scene)));
    });
  }
}
