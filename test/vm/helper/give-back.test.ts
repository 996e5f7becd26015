// What stood on an exit before is back after the last cap: defaults of every kind, also when nobody
// knows any more what it was.

import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import test, { type ExecutionContext } from 'ava';
import {
  makeHelperDirectories,
  paramsOf,
  startOwnHelper,
  wirePod,
  type TestHelper,
} from '../../kit/helper.ts';
import { makeNetns, type TestNetns } from '../../kit/netns.ts';
import { wholeFile } from '../../kit/whole-file.ts';

const CAPS = { egress: { rateBitsPerSec: 10_000_000 }, ingress: { rateBitsPerSec: 20_000_000 } };
const DEFAULT_QDISC = '/proc/sys/net/core/default_qdisc';
/**
 * Defaults that hold a queue management of their own; which of them there are depends on the
 * kernel.
 */
const KINDS = ['cake', 'fq_pie', 'codel', 'pie', 'hhf'];
/** One below an mq too: a tap with more than one queue has 256, which take their time. */
const LEAF_KIND = 'cake';
const SOON_MS = 2000;

interface Scene {
  readonly node: TestNetns;
  readonly sandbox: TestNetns;
  readonly directories: ReturnType<typeof makeHelperDirectories>;
  readonly helper: TestHelper;
}

/** One scene for both tests: a helper that starts is most of what it costs. */
let shared: Scene | undefined;
const untilEnd = wholeFile(test, () => {
  shared = undefined;
});

/** A node with a helper and a pod, and without an uplink. */
async function useScene(t: ExecutionContext): Promise<Scene> {
  if (shared !== undefined) {
    t.deepEqual((await shared.helper.ask('list', {})).attachments, []);
    return shared;
  }
  const [node, sandbox] = [makeNetns(untilEnd), makeNetns(untilEnd)];
  const directories = makeHelperDirectories(untilEnd);
  wirePod(node, sandbox, 'pod0');
  // As an operator has it for BIG TCP.
  sandbox.ip('link', 'set', 'eth0', 'gso_max_size', '196608');
  const helper = await startOwnHelper(untilEnd, node, directories);
  shared = { node, sandbox, directories, helper };
  return shared;
}

/**
 * A device with a default qdisc, which a veth has not. Where nothing names the module's device, it
 * has to be loaded first.
 */
async function addUplink({ ip, ipJson }: TestNetns, queues: number): Promise<void> {
  if (!fs.existsSync('/dev/net/tun')) execFileSync('modprobe', ['tun']);
  ip('tuntap', 'add', 'dev', 'uplink', 'mode', 'tap', ...(queues > 1 ? ['multi_queue'] : []));
  ip('address', 'add', '198.51.100.1/24', 'dev', 'uplink');
  ip('link', 'set', 'uplink', 'up');
  ip('route', 'add', 'default', 'via', '198.51.100.2');
  // Nobody reads from the tap; the kernel tells that it has no carrier a moment after it is up.
  const endMs = performance.now() + SOON_MS;
  while (ipJson('link', 'show', 'uplink')[0]?.['operstate'] !== 'DOWN') {
    if (performance.now() > endMs) throw new Error(`the uplink has a carrier after ${SOON_MS} ms`);
    await sleep(20);
  }
}

function useDefault(t: ExecutionContext, kind: string): boolean {
  const former = fs.readFileSync(DEFAULT_QDISC, 'utf8');
  try {
    fs.writeFileSync(DEFAULT_QDISC, kind);
  } catch {
    return false;
  }
  t.teardown(() => fs.writeFileSync(DEFAULT_QDISC, former));
  return true;
}

/** Devices and qdiscs of both namespaces, with all that iproute2 tells of them. */
function look({ node, sandbox }: Scene): unknown[] {
  return [node, sandbox].flatMap(({ ipJson, tc }) => [
    ipJson('-d', 'link', 'show'),
    tc('qdisc', 'show'),
  ]);
}

/**
 * All is as it was, soon: the kernel tells of a device's state by a queue of its own
 * (net/core/link_watch.c).
 */
async function isAsBefore(
  t: ExecutionContext,
  scene: Scene,
  before: readonly unknown[],
  what: string,
): Promise<void> {
  const endMs = performance.now() + SOON_MS;
  while (!isDeepStrictEqual(look(scene), before) && performance.now() < endMs) await sleep(50);
  t.deepEqual(look(scene), before, what);
}

test.serial(
  'a default of any kind is replaced by a cap, and back after the last one',
  async (t) => {
    const kinds = KINDS.filter((kind) => useDefault(t, kind));
    t.true(kinds.length > 0);
    const scene = await useScene(t);
    for (const kind of kinds) {
      for (const queues of kind === LEAF_KIND ? [1, 4] : [1]) {
        useDefault(t, kind);
        await addUplink(scene.node, queues);
        t.regex(scene.node.tc('qdisc', 'show', 'dev', 'uplink'), new RegExp(`qdisc ${kind} 0: `));
        const before = look(scene);
        const params = paramsOf('pod0', scene.sandbox, CAPS);
        await scene.helper.ask('attach', params);
        t.regex(scene.node.tc('qdisc', 'show', 'dev', 'uplink'), /qdisc (mq|fq) 7070: root/);
        await t.notThrowsAsync(scene.helper.ask('check', params));
        await scene.helper.ask('detach', params);
        await isAsBefore(t, scene, before, `${kind}, ${queues} queues`);
        scene.node.ip('link', 'delete', 'uplink');
      }
    }
    t.log(kinds.join(' '));
  },
);

test.serial('an exit whose record is lost is put back too, and said', async (t) => {
  const scene = await useScene(t);
  // Its helper is ended.
  shared = undefined;
  await addUplink(scene.node, 1);
  const before = look(scene);
  const params = paramsOf('pod0', scene.sandbox, CAPS);
  /** While no helper runs: one that does knows them, and writes them again. */
  const loseRecords = async (helper: TestHelper): Promise<TestHelper> => {
    await helper.end('SIGTERM');
    fs.rmSync(path.join(helper.stateDir, 'exits'), { recursive: true });
    return await startOwnHelper(untilEnd, scene.node, scene.directories);
  };
  await scene.helper.ask('attach', params);
  const second = await loseRecords(scene.helper);
  await second.ask('detach', params);
  await isAsBefore(t, scene, before, 'after the last cap');
  await second.ask('attach', params);
  const third = await loseRecords(second);
  const { restoredExits } = await third.ask('uninstall', {});
  t.deepEqual(restoredExits.toSorted(), [
    'pod0 (its record was lost: the default)',
    'uplink (its record was lost: the default)',
  ]);
  await isAsBefore(t, scene, before, 'after uninstall');
});
