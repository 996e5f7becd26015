// All that a cap changes on the node and in the pod is given back with it, as it was: a complete
// look before and after.

import { execFileSync } from 'node:child_process';
import test, { type ExecutionContext } from 'ava';
import {
  leaveRecord,
  makeHelperDirectories,
  paramsOf,
  startOwnHelper,
  wirePod,
  type HelperDirectories,
  type TestHelper,
} from '../../kit/helper.ts';
import { makeNetns, waitForCarrier, type TestNetns } from '../../kit/netns.ts';

const CAPS = { egress: { rateBitsPerSec: 10_000_000 }, ingress: { rateBitsPerSec: 100_000_000 } };
const KEY = { containerId: 'c-pod0', ifname: 'eth0' };
/** What an operator had before podpace: BIG TCP, and fewer segments than the default. */
const OPERATORS = { gso_max_size: 196_608, gso_max_segs: 1000 };

interface Scene {
  readonly node: TestNetns;
  readonly sandbox: TestNetns;
  readonly before: string[];
  readonly directories: HelperDirectories;
  readonly helper: TestHelper;
}

/**
 * Everything of a namespace that `ip`, `tc` and sysctl show, without what the kernel counts or
 * draws anew.
 */
function snapshot({ name, ip, tc }: TestNetns): string[] {
  const links = JSON.parse(ip('-d', '-j', 'link', 'show')) as Record<string, unknown>[];
  const devices = links.map(({ ifname }) => String(ifname));
  const filters = devices.flatMap((device) =>
    ['ingress', 'egress'].map((hook) => tc('filter', 'show', 'dev', device, hook)),
  );
  const sysctls = execFileSync('ip', ['netns', 'exec', name, 'sysctl', '-a', '-r', '^net\\.'], {
    stdio: ['ignore', 'pipe', 'ignore'],
  })
    .toString()
    .split('\n')
    .filter(
      (line) => !/fs-nr|max_orphans|_mem|nf_conntrack|neigh|stable_secret|age|random/.test(line),
    );
  return [
    ...links.map((link) => JSON.stringify(link)),
    tc('qdisc', 'show'),
    ...filters,
    ...sysctls,
  ];
}

function limits({ ipJson }: TestNetns): unknown {
  const [link] = ipJson('-d', 'link', 'show', 'dev', 'eth0');
  return { gso_max_size: link?.['gso_max_size'], gso_max_segs: link?.['gso_max_segs'] };
}

function setLimits(
  { ip }: TestNetns,
  { gso_max_size: size, gso_max_segs: segs }: typeof OPERATORS,
): void {
  ip('link', 'set', 'eth0', 'gso_max_size', String(size), 'gso_max_segs', String(segs));
}

async function makeScene(t: ExecutionContext, found: typeof OPERATORS): Promise<Scene> {
  const [node, sandbox, directories] = [makeNetns(t), makeNetns(t), makeHelperDirectories(t)];
  wirePod(node, sandbox, 'pod0');
  setLimits(sandbox, found);
  await waitForCarrier(node, 'pod0');
  await waitForCarrier(sandbox, 'eth0');
  const before = [...snapshot(node), ...snapshot(sandbox)];
  leaveRecord(node, directories, paramsOf('pod0', sandbox, CAPS));
  return { node, sandbox, before, directories, helper: await startOwnHelper(t, node, directories) };
}

function setRate({ helper }: Scene, rateBitsPerSec: number): Promise<unknown> {
  return helper.ask('set', { ...KEY, direction: 'egress', changes: { rateBitsPerSec } });
}

test.serial('a pod that is let go has what it had, on the node and inside', async (t) => {
  const scene = await makeScene(t, OPERATORS);
  const { node, sandbox, helper, before } = scene;
  await setRate(scene, 12_000_000);
  t.like(limits(sandbox), { gso_max_segs: 5 });
  await setRate(scene, 100_000_000);
  t.like(limits(sandbox), { gso_max_segs: 8 });
  // A cap that limits nothing raises nothing either.
  await setRate(scene, 10_000_000_000);
  t.deepEqual(limits(sandbox), OPERATORS);
  await setRate(scene, 12_000_000);
  // The next helper knows it from the record.
  await helper.end('SIGTERM');
  const successor = await startOwnHelper(t, node, scene.directories);
  await successor.ask('detach', KEY);
  t.deepEqual([...snapshot(node), ...snapshot(sandbox)], before);
});

test.serial(
  'uninstall gives back what pods had, and leaves a later choice of somebody alone',
  async (t) => {
    const scene = await makeScene(t, OPERATORS);
    const { node, sandbox, helper, before } = scene;
    await setRate(scene, 12_000_000);
    await helper.ask('uninstall', {});
    t.deepEqual([...snapshot(node), ...snapshot(sandbox)], before);

    const other = await makeScene(t, OPERATORS);
    await setRate(other, 12_000_000);
    const later = { gso_max_size: 30_000, gso_max_segs: 20 };
    setLimits(other.sandbox, later);
    await other.helper.ask('detach', KEY);
    t.deepEqual(limits(other.sandbox), later);
  },
);

for (const [what, chosen] of [
  ['what was there before', OPERATORS],
  ['what was chosen meanwhile', { gso_max_size: 32_768, gso_max_segs: 600 }],
] as const) {
  test.serial(
    `after uninstall the next helper limits pods again, and gives back ${what}`,
    async (t) => {
      const scene = await makeScene(t, OPERATORS);
      const { node, sandbox, helper, directories } = scene;
      await setRate(scene, 12_000_000);
      const atCap = limits(sandbox);
      t.like(atCap, { gso_max_segs: 5 });
      await helper.ask('uninstall', {});
      await helper.end('SIGTERM');
      t.deepEqual(limits(sandbox), OPERATORS);
      setLimits(sandbox, chosen);
      const second = await startOwnHelper(t, node, directories);
      t.deepEqual(limits(sandbox), atCap);
      await second.end('SIGTERM');
      const third = await startOwnHelper(t, node, directories);
      t.deepEqual(limits(sandbox), atCap);
      await third.ask('detach', KEY);
      t.deepEqual(limits(sandbox), chosen);
    },
  );
}

test.serial('a later choice of somebody outlives a restart', async (t) => {
  const scene = await makeScene(t, OPERATORS);
  await setRate(scene, 12_000_000);
  const later = { gso_max_size: 30_000, gso_max_segs: 20 };
  setLimits(scene.sandbox, later);
  await scene.helper.end('SIGTERM');
  const next = await startOwnHelper(t, scene.node, scene.directories);
  t.deepEqual(limits(scene.sandbox), later);
  await next.ask('detach', KEY);
  t.deepEqual(limits(scene.sandbox), later);
});

test.serial(
  'a pod whose record does not say what it had gets the default of the kernel',
  async (t) => {
    // As podpace leaves it at 10 Mbit/s: four frames of 1500 and a header.
    const scene = await makeScene(t, { gso_max_size: 6320, gso_max_segs: 4 });
    await setRate(scene, 12_000_000);
    await scene.helper.ask('detach', KEY);
    t.deepEqual(limits(scene.sandbox), { gso_max_size: 65_536, gso_max_segs: 65_535 });
  },
);
