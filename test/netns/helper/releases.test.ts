// Plugin, helper and commands of different releases on one node, by their executables, and the ways
// from one release to the next and back while pods live. The former releases are those that other
// tests start from as well: both are of protocol 2, and both layouts are among them. Native kernels
// here have no sch_fq, so pods are added with host routing, and the cap is that of a record that
// was left, on the way in: without sch_fq one on the way out would keep others from being added.

import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import test, { type ExecutionContext } from 'ava';
import type { JsonObject } from '../../../cni/types.ts';
import type { AttachmentStatus } from '../../../helper/protocol/messages.ts';
import { AGGREGATE_CONFIG, AGGREGATE_KEY } from '../../../helper/wire/aggregate.ts';
import {
  buildRevision,
  FIRST_LAYOUT_REVISION,
  NAMELESS_REVISION,
  type BuiltRevision,
} from '../../../scripts/lib/revisions.ts';
import { PODPACED } from '../../bed/helper.ts';
import { readMap } from '../../kit/device-picture.ts';
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
import { cniVariables, type Answer } from '../../kit/plugin.ts';

type Release = Pick<BuiltRevision, 'podpace' | 'podpaced'>;
const PRESENT: Release = {
  podpace: path.join(path.dirname(PODPACED), 'podpace'),
  podpaced: PODPACED,
};
const CAPS = { ingress: { rateBitsPerSec: 100_000_000 } };
const CAPPED = 'c-capped';

let first: Release;
let nameless: Release;
test.before(async (t) => {
  t.timeout(600_000);
  first = await buildRevision(FIRST_LAYOUT_REVISION);
  nameless = await buildRevision(NAMELESS_REVISION);
});

interface Pod {
  /** Of its host interface. */
  readonly name: string;
  readonly sandbox: TestNetns;
}

interface Scene {
  readonly node: TestNetns;
  readonly directories: HelperDirectories;
  readonly capped: Pod;
  /** Of the capped pod's host interface. */
  readonly ifindex: number;
}

/** A node with an uplink and the record of a pod with a cap. */
function makeScene(t: ExecutionContext): Scene {
  t.timeout(120_000);
  const [node, peer, directories] = [makeNetns(t), makeNetns(t), makeHelperDirectories(t)];
  addUplink(node, peer, 'uplink', 1);
  const sandbox = makeNetns(t);
  wirePod(node, sandbox, 'capped');
  const ifindex = leaveRecord(node, directories, paramsOf('capped', sandbox, CAPS));
  return { node, directories, capped: { name: 'capped', sandbox }, ifindex };
}

function makePod(t: ExecutionContext, { node }: Scene, name: string): Pod {
  const sandbox = makeNetns(t);
  wirePod(node, sandbox, name);
  return { name, sandbox };
}

/** Starts the helper of a release; no reconciliation puts right what another has left out. */
function start(t: ExecutionContext, { node, directories }: Scene, release: Release) {
  const flags = ['--reconcile-seconds', '3600'];
  return startOwnHelper(t, node, directories, flags, release.podpaced);
}

interface Called {
  readonly status: number | null;
  readonly answer: Answer;
  readonly stderr: string;
}

/** Calls the plugin of a release behind another one, with host routing. */
function call(
  { node, directories }: Scene,
  { podpace }: Release,
  command: string,
  { name, sandbox }: Pod,
  more: JsonObject = {},
): Called {
  const config = {
    ...{ cniVersion: '1.1.0', name: 'pods', type: 'podpace', hostRouting: true },
    socket: path.join(directories.run, 'helper.sock'),
    prevResult: {
      cniVersion: '1.1.0',
      interfaces: [{ name }, { name: 'eth0', sandbox: sandbox.netns.path }],
      ips: [{ address: `10.9.0.${name.at(-1)}/24`, interface: 1 }],
    },
    ...more,
  };
  const env = { ...cniVariables(command, sandbox.netns.path), CNI_CONTAINERID: `c-${name}` };
  const { status, stdout, stderr } = spawnSync(
    'nsenter',
    [`--net=/run/netns/${node.name}`, podpace],
    { env, input: JSON.stringify(config), encoding: 'utf8' },
  );
  return { status, stderr, answer: JSON.parse(stdout || '{}') as Answer };
}

function succeeds(t: ExecutionContext, command: string, called: Called): void {
  t.is(called.status, 0, `${command}: ${JSON.stringify(called.answer)}${called.stderr}`);
}

/** GC that leaves these pods, by the names of their containers. */
function collect(
  t: ExecutionContext,
  scene: Scene,
  release: Release,
  pod: Pod,
  valid: readonly string[],
): void {
  const attachments = valid.map((containerID) => ({ containerID, ifname: 'eth0' }));
  const more = { 'cni.dev/valid-attachments': attachments };
  succeeds(t, 'GC', call(scene, release, 'GC', pod, more));
}

/** Containers of which there are records. */
function attached({ stateDir }: TestHelper): string[] {
  const names = fs.readdirSync(path.join(stateDir, 'attachments'));
  return names.map((name) => name.replace(':eth0.json', '')).toSorted();
}

/** Bytes per second that the kernel holds the capped pod to; 0 when it does not. */
function heldRate(scene: Scene): number {
  const key = AGGREGATE_KEY.encode(5001 + 2 * scene.ifindex);
  const value = readMap(scene, 'aggregate_config', key, AGGREGATE_CONFIG.size);
  if (value === undefined) return 0;
  return AGGREGATE_CONFIG.decode(Buffer.from(value, 'hex')).rateBytesPerSec;
}

const HELD = 100_000_000 / 8;

/**
 * Every verb of one release's plugin that asks a helper, with a pod beside those that there are.
 */
function playVerbs(t: ExecutionContext, scene: Scene, helper: TestHelper, release: Release): void {
  const others = attached(helper);
  const pod = makePod(t, scene, 'pod1');
  const verb = (command: string, more: JsonObject = {}): Called =>
    call(scene, release, command, pod, more);
  succeeds(t, 'ADD', verb('ADD'));
  t.deepEqual(attached(helper), [...others, 'c-pod1']);
  succeeds(t, 'CHECK', verb('CHECK'));
  // A kernel without sch_fq is what the helper answers, not that it does not understand.
  const capped = verb('ADD', { egressRate: 10_000_000, egressBurst: 80_000 });
  t.true(capped.status === 0 || capped.answer.code === 100, JSON.stringify(capped.answer));
  succeeds(t, 'ADD', verb('ADD'));
  const asked = verb('STATUS');
  t.true(asked.status === 0 || asked.answer.code === 50, JSON.stringify(asked.answer));
  if (asked.status !== 0) t.regex(asked.answer.msg ?? '', /^Every cap would be refused/);
  collect(t, scene, release, pod, [...others, 'c-pod1']);
  t.deepEqual(attached(helper), [...others, 'c-pod1']);
  collect(t, scene, release, pod, others);
  t.deepEqual(attached(helper), others);
  succeeds(t, 'ADD', verb('ADD'));
  succeeds(t, 'DEL', verb('DEL'));
  t.deepEqual(attached(helper), others);
}

/** Runs a command of a release; what it printed, as JSON where it is. */
function command({ podpaced }: Release, { socket }: TestHelper, ...args: readonly string[]) {
  const { status, stdout, stderr } = spawnSync(podpaced, [...args, '--socket', socket], {
    encoding: 'utf8',
  });
  return { status, stdout, stderr };
}

/** The commands of one release beside a helper, which has the capped pod. */
function playCommands(t: ExecutionContext, helper: TestHelper, release: Release): void {
  const json = (...args: readonly string[]): JsonObject => {
    const { status, stdout, stderr } = command(release, helper, ...args, '--json');
    // 1: degraded, as it is without sch_fq.
    t.true(status === 0 || status === 1, stderr);
    return JSON.parse(stdout) as JsonObject;
  };
  t.like(json('list'), { attachments: [{ containerId: CAPPED, caps: CAPS }] });
  t.like(json('status'), { attachments: 1, version: '0.1.0' });
  const { attachments } = json('counters') as { attachments: readonly JsonObject[] };
  t.like(attachments[0], { containerId: CAPPED, ingress: { total: { repaired: 0 } } });
  const set = ['set', CAPPED, '--ingress', '--rate', '5M'];
  t.like(json(...set), {
    before: { rateBitsPerSec: 100_000_000 },
    after: { rateBitsPerSec: 5_000_000 },
  });
}

test.serial('the plugin and commands of the first layout, beside this helper', async (t) => {
  const scene = makeScene(t);
  const helper = await start(t, scene, PRESENT);
  playCommands(t, helper, first);
  playVerbs(t, scene, helper, first);
});

test.serial('this plugin and its commands, beside a helper of the first layout', async (t) => {
  const scene = makeScene(t);
  const helper = await start(t, scene, first);
  playCommands(t, helper, PRESENT);
  // It would forget what pods were to have.
  const refused = command(PRESENT, helper, 'uninstall');
  t.is(refused.status, 1);
  t.regex(
    refused.stderr,
    /needs "keep", which helpers of protocol version 2 may ignore; upgrade podpaced/,
  );
  t.deepEqual(attached(helper), [CAPPED]);
  // Its GC looks at every cap, and needs sch_fq where there is one.
  succeeds(t, 'DEL', call(scene, PRESENT, 'DEL', scene.capped));
  playVerbs(t, scene, helper, PRESENT);
});

/** The attachments that a helper knows, and what the kernel holds of the capped pod. */
async function requireAll(
  t: ExecutionContext,
  scene: Scene,
  helper: TestHelper,
  containers: readonly string[],
): Promise<void> {
  const { attachments } = await helper.ask('list', {});
  const ids = attachments.map(({ containerId }: AttachmentStatus) => containerId);
  t.deepEqual(ids, [...containers]);
  t.is(heldRate(scene), HELD);
}

test.serial(
  'plugin first, helper first, and back again, while pods live: no cap and no pod is lost',
  async (t) => {
    const scene = makeScene(t);
    const [pod1, pod2, pod3] = ['pod1', 'pod2', 'pod3'].map((name) => makePod(t, scene, name));
    if (pod1 === undefined || pod2 === undefined || pod3 === undefined) return t.fail();
    const before = await start(t, scene, nameless);
    succeeds(t, 'ADD', call(scene, nameless, 'ADD', pod1));

    // The plugin first.
    succeeds(t, 'ADD', call(scene, PRESENT, 'ADD', pod2));
    succeeds(t, 'CHECK', call(scene, PRESENT, 'CHECK', pod1));
    await requireAll(t, scene, before, [CAPPED, 'c-pod1', 'c-pod2']);
    await before.end('SIGTERM');

    // The helper too; to a plugin that is still the former one it has come first.
    const after = await start(t, scene, PRESENT);
    await requireAll(t, scene, after, [CAPPED, 'c-pod1', 'c-pod2']);
    succeeds(t, 'CHECK', call(scene, PRESENT, 'CHECK', pod1));
    succeeds(t, 'ADD', call(scene, nameless, 'ADD', pod3));
    succeeds(t, 'CHECK', call(scene, nameless, 'CHECK', pod2));
    collect(t, scene, nameless, pod3, [CAPPED, 'c-pod1', 'c-pod2', 'c-pod3']);
    await requireAll(t, scene, after, [CAPPED, 'c-pod1', 'c-pod2', 'c-pod3']);
    await after.end('SIGTERM');

    // And back.
    const back = await start(t, scene, nameless);
    await requireAll(t, scene, back, [CAPPED, 'c-pod1', 'c-pod2', 'c-pod3']);
    succeeds(t, 'DEL', call(scene, PRESENT, 'DEL', pod1));
    succeeds(t, 'DEL', call(scene, nameless, 'DEL', pod2));
    await requireAll(t, scene, back, [CAPPED, 'c-pod3']);
    collect(t, scene, PRESENT, pod3, [CAPPED]);
    await requireAll(t, scene, back, [CAPPED]);
  },
);
