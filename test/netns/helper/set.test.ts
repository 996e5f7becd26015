// A running attachment is changed, counted and repaired, on any kernel: no packet has to be held
// for this.

import { execFile, execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import test, { type ExecutionContext } from 'ava';
import { HelperError } from '../../../helper/protocol/client.ts';
import {
  createMap,
  deleteElement,
  lookupElement,
  MAP_TYPE,
  openPinned,
  pinObject,
  updateElement,
} from '../../../helper/kernel/bpf.ts';
import { possibleCpus } from '../../../helper/kernel/cpus.ts';
import { MapPages } from '../../../helper/kernel/map-pages.ts';
import { inNetns } from '../../../helper/kernel/netns.ts';
import { writeSysctl } from '../../../helper/kernel/sysctl.ts';
import type { SetParams } from '../../../helper/protocol/messages.ts';
import {
  AGGREGATE_CONFIG,
  aggregateIndex,
  aggregatePage,
  AGGREGATES_PER_PAGE,
  decodeAggregateClock,
  AGGREGATE_KEY,
  INTERFACE_KEY,
  type AggregateConfig,
} from '../../../helper/wire/aggregate.ts';
import { PODPACED } from '../../bed/helper.ts';
import {
  leaveRecord,
  makeHelperDirectories,
  paramsOf,
  placeFlags,
  startOwnHelper,
  wirePod,
  type HelperDirectories,
  type TestHelper,
} from '../../kit/helper.ts';
import { makeNetns, type TestNetns } from '../../kit/netns.ts';

/** Long enough that only the quick repair of maps gets to it. */
const NO_REPAIR = ['--reconcile-seconds', '3600'];
const KEY = { containerId: 'c-pod0', ifname: 'eth0' };
/** Of the ingress cap when nothing else is set: see rates.ts. */
const TARGET_NS = 7_288_540;
const CAPS = { egress: { rateBitsPerSec: 10_000_000 }, ingress: { rateBitsPerSec: 100_000_000 } };

interface Scene {
  readonly node: TestNetns;
  readonly sandbox: TestNetns;
  readonly directories: HelperDirectories;
  readonly helper: TestHelper;
  readonly ifindex: number;
  /** Aggregate ids. */
  readonly ids: { readonly egress: number; readonly ingress: number };
}

async function makeScene(t: ExecutionContext, caps: Partial<typeof CAPS> = CAPS): Promise<Scene> {
  const [node, sandbox, directories] = [makeNetns(t), makeNetns(t), makeHelperDirectories(t)];
  // The kernel's own router solicitations and group reports would be counted among the packets of a
  // test.
  for (const { netns } of [node, sandbox])
    inNetns(netns, () => writeSysctl('net/ipv6/conf/default/disable_ipv6', '1'));
  wirePod(node, sandbox, 'pod0');
  node.ip('address', 'add', '192.0.2.1/24', 'dev', 'pod0');
  sandbox.ip('address', 'add', '192.0.2.2/24', 'dev', 'eth0');
  const mac = String(sandbox.ipJson('link', 'show', 'dev', 'eth0')[0]?.['address']);
  node.ip('neighbour', 'replace', '192.0.2.2', 'lladdr', mac, 'dev', 'pod0');
  const ifindex = leaveRecord(node, directories, paramsOf('pod0', sandbox, caps));
  const helper = await startOwnHelper(t, node, directories, NO_REPAIR);
  const ids = { egress: 5000 + 2 * ifindex, ingress: 5001 + 2 * ifindex };
  return { node, sandbox, directories, helper, ifindex, ids };
}

function withMap<T>({ helper }: Scene, name: string, use: (fd: number) => T): T {
  const fd = openPinned(path.join(helper.pinDir, name));
  try {
    return use(fd);
  } finally {
    fs.closeSync(fd);
  }
}

function readConfig(scene: Scene, id: number): AggregateConfig {
  return withMap(scene, 'aggregate_config', (fd) =>
    AGGREGATE_CONFIG.decode(lookupElement(fd, AGGREGATE_KEY.encode(id), AGGREGATE_CONFIG.size)!),
  );
}

/** What `read` reads in a map of pages. */
function inPages<T>(scene: Scene, map: string, read: (pages: MapPages) => T): T {
  return withMap(scene, map, (fd) => {
    const page = {
      type: 0,
      name: '',
      keySize: 4,
      valueSize: 0,
      maxEntries: AGGREGATES_PER_PAGE,
      flags: 0,
    };
    const pages = new MapPages(fd, page);
    try {
      return read(pages);
    } finally {
      pages.close();
    }
  });
}

/** An aggregate's state; undefined when its page is not there. */
function readState(scene: Scene, id: number): Buffer | undefined {
  return inPages(scene, 'aggregate_state', (pages) => pages.get(aggregateIndex(id)));
}

function readClockNs(scene: Scene, id: number): bigint | undefined {
  const state = readState(scene, id);
  return state && decodeAggregateClock(state).lastNs;
}

/** Sends `count` packets into the pod. */
function send({ node }: Scene, count: number): void {
  const script = `for packet in $(seq ${count}); do echo > /dev/udp/192.0.2.2/9; done`;
  execFileSync('ip', ['netns', 'exec', node.name, 'bash', '--norc', '-c', script]);
}

function set(
  { helper }: Scene,
  changes: SetParams['changes'],
  more: Partial<Pick<SetParams, 'direction' | 'reset'>> = {},
) {
  return helper.ask('set', { ...KEY, direction: 'ingress', changes, ...more });
}

async function until(
  t: ExecutionContext,
  isTrue: () => boolean,
  deadlineMs: number,
): Promise<void> {
  const start = performance.now();
  while (!isTrue() && performance.now() - start < deadlineMs) await sleep(50);
  t.true(isTrue());
}

test.serial(
  'set changes the configuration of one direction and leaves clock, flows and counters',
  async (t) => {
    const scene = await makeScene(t);
    t.like(readConfig(scene, scene.ids.ingress), {
      rateBytesPerSec: 12_500_000,
      targetNs: TARGET_NS,
    });
    send(scene, 3);
    const before = readState(scene, scene.ids.ingress);
    const otherBefore = readConfig(scene, scene.ids.egress);
    t.true(decodeAggregateClock(before!).lastNs > 0n);
    const result = await set(scene, {
      rateBitsPerSec: 20_000_000,
      burstBits: 100_000,
      horizonNs: 30_000_000,
    });
    t.like(result.before, { rateBitsPerSec: 100_000_000, changed: [] });
    t.like(result.after, { rateBitsPerSec: 20_000_000, burstNs: 5_000_000, horizonNs: 30_000_000 });
    t.deepEqual(readConfig(scene, scene.ids.ingress), {
      rateBytesPerSec: 2_500_000,
      horizonNs: 30_000_000,
      idleCreditNs: 2_147_908,
      sparseCreditNs: 2_852_092,
      targetNs: 16_297_670,
      intervalNs: 100_000_000,
      exemptions: 0,
    });
    t.deepEqual(readConfig(scene, scene.ids.egress), otherBefore);
    t.deepEqual(readState(scene, scene.ids.ingress), before);
    await set(scene, { aqmTargetNs: 0 });
    t.like(readConfig(scene, scene.ids.ingress), { rateBytesPerSec: 2_500_000, targetNs: 0 });
    await set(scene, { rateBitsPerSec: null });
    t.like(readConfig(scene, scene.ids.ingress), { rateBytesPerSec: 12_500_000, targetNs: 0 });
    await set(scene, {}, { reset: true });
    t.like(readConfig(scene, scene.ids.ingress), { horizonNs: 50_000_000, targetNs: TARGET_NS });
  },
);

test.serial('a change outlives the helper, is listed, and ends with the next ADD', async (t) => {
  const scene = await makeScene(t, { egress: CAPS.egress });
  const { directories, node, sandbox, helper, ids } = scene;
  await set(scene, { rateBitsPerSec: 5_000_000 }, { direction: 'egress' });
  await helper.end('SIGKILL');
  const successor = await startOwnHelper(t, node, directories, NO_REPAIR);
  t.is(readConfig(scene, ids.egress).rateBytesPerSec, 625_000);
  const { attachments } = await successor.ask('list', {});
  t.like(attachments[0], {
    caps: { egress: CAPS.egress },
    changes: { egress: { rateBitsPerSec: 5_000_000 } },
  });
  t.like(attachments[0]?.effective.egress, {
    rateBitsPerSec: 5_000_000,
    changed: ['rateBitsPerSec'],
  });
  await t.throwsAsync(successor.ask('attach', paramsOf('pod0', sandbox, CAPS)), {
    instanceOf: HelperError,
  });
  // Refused, since this node has no uplink: then the former cap is in force as it was.
  t.is(readConfig(scene, ids.egress).rateBytesPerSec, 625_000);
  t.like((await successor.ask('list', {})).attachments[0], {
    changes: { egress: { rateBitsPerSec: 5_000_000 } },
  });
});

test.serial('the segment size of the pod follows its cap', async (t) => {
  const scene = await makeScene(t, { egress: CAPS.egress });
  const limit = () =>
    scene.sandbox.ipJson('-d', 'link', 'show', 'dev', 'eth0')[0]?.['gso_max_segs'];
  await set(scene, { rateBitsPerSec: 100_000_000 }, { direction: 'egress' });
  t.is(limit(), 8);
  await set(scene, { rateBitsPerSec: 12_000_000 }, { direction: 'egress' });
  t.is(limit(), 5);
});

test.serial('what cannot be set is refused whole', async (t) => {
  const scene = await makeScene(t, { ingress: CAPS.ingress });
  const before = readConfig(scene, scene.ids.ingress);
  const refusals: readonly [Promise<unknown>, RegExp][] = [
    [set(scene, { rateBitsPerSec: 999 }), /rateBitsPerSec.*from 1000/],
    [
      set(scene, { rateBitsPerSec: 500_000_000, aqmTargetNs: 50_000_000 }),
      /target 50 ms is not below the horizon/,
    ],
    [set(scene, { aqmIntervalNs: 1_000_000 }), /interval 1 ms is below the target 7.289 ms/],
    [
      set(scene, { horizonNs: 5_000_000 }, { direction: 'egress' }),
      /egress of c-pod0\/eth0: it has no cap/,
    ],
    [
      scene.helper.ask('set', { ...KEY, ifname: 'eth9', direction: 'egress', changes: {} }),
      /No cap is known for c-pod0\/eth9/,
    ],
  ];
  for (const [refusal, expected] of refusals) {
    await t.throwsAsync(refusal, { instanceOf: HelperError, message: expected });
  }
  t.deepEqual(readConfig(scene, scene.ids.ingress), before);
  t.is((await scene.helper.ask('list', {})).attachments[0]?.changes, undefined);
});

test.serial('counters tell of the packets of a pod, in all and by CPU', async (t) => {
  const scene = await makeScene(t);
  const [none] = (await scene.helper.ask('counters', {})).attachments;
  t.is(none?.egress?.total.packets, 0);
  send(scene, 10);
  const [counted] = (await scene.helper.ask('counters', { only: KEY, perCpu: true })).attachments;
  const { total, perCpu, backlogNs } = counted!.ingress!;
  const { packets = 0, bytes = 0 } = total;
  t.true(packets >= 10 && bytes >= 10 * 43);
  t.is(
    total.sojourn.reduce((sum, count) => sum + count, 0),
    packets,
  );
  t.is(
    Object.values(perCpu ?? {}).reduce((sum, of) => sum + (of.packets ?? 0), 0),
    packets,
  );
  t.true(backlogNs >= 0 && backlogNs < 50_000_000);
});

const damages: readonly [string, (config: Buffer) => void, RegExp][] = [
  [
    'a rate of zero',
    (config) => config.fill(0, 0, 8),
    /found rate 0 bit\/s, horizon 50 ms.*wrote rate 100 Mbit/,
  ],
  ['an absurd rate', (config) => config.fill(0xff, 0, 8), /found rate .*wrote rate 100 Mbit/],
  ['an absurd horizon', (config) => config.fill(0xff, 8, 12), /horizon 4\.295 s/],
  ['no AQM', (config) => config.fill(0, 20, 24), /AQM off/],
];
for (const [what, damage, expected] of damages) {
  test.serial(`a map entry with ${what} is repaired within seconds, and told of`, async (t) => {
    const scene = await makeScene(t);
    const whole = readConfig(scene, scene.ids.ingress);
    withMap(scene, 'aggregate_config', (fd) => {
      const key = AGGREGATE_KEY.encode(scene.ids.ingress);
      const value = lookupElement(fd, key, AGGREGATE_CONFIG.size)!;
      damage(value);
      updateElement(fd, key, value);
    });
    t.notDeepEqual(readConfig(scene, scene.ids.ingress), whole);
    await until(t, () => scene.helper.log().includes('was wrong'), 5_000);
    t.deepEqual(readConfig(scene, scene.ids.ingress), whole);
    t.regex(scene.helper.log(), /warn The map entry of the ingress cap of c-pod0\/eth0 was wrong/);
    t.regex(scene.helper.log(), expected);
  });
}

test.serial('a lost entry of a host interface and a lost state are made again', async (t) => {
  const scene = await makeScene(t);
  send(scene, 2);
  const { ifindex, ids, helper } = scene;
  withMap(scene, 'host_interfaces', (fd) =>
    t.true(deleteElement(fd, INTERFACE_KEY.encode(ifindex))),
  );
  const page = Buffer.alloc(4);
  page.writeUInt32LE(aggregatePage(ids.ingress));
  withMap(scene, 'aggregate_state', (fd) => t.true(deleteElement(fd, page)));
  t.is(readClockNs(scene, ids.ingress), undefined);
  await until(t, () => helper.log().includes('map entry of pod0'), 5_000);
  await until(t, () => helper.log().includes('was gone: made room for it again'), 5_000);
  t.is(readClockNs(scene, ids.ingress), 0n);
  send(scene, 2);
  t.true(readClockNs(scene, ids.ingress)! > 0n);
});

test.serial('what a pod leaves behind is gone with it', async (t) => {
  const scene = await makeScene(t);
  send(scene, 2);
  await scene.helper.ask('detach', KEY);
  t.is(readClockNs(scene, scene.ids.ingress), 0n);
  t.is(readConfig(scene, scene.ids.ingress).rateBytesPerSec, 0);
  const counters = inPages(scene, 'aggregate_counters', (pages) =>
    pages.getEachCpu(aggregateIndex(scene.ids.ingress)),
  );
  t.is(counters.length, possibleCpus().length);
  t.true(counters.every((value) => value.every((byte) => byte === 0)));
});

async function podpaced(
  ...args: string[]
): Promise<{ code: number; stdout: string; stderr: string }> {
  const outcome = await promisify(execFile)(PODPACED, args).catch((error: object) => error);
  return { code: 0, ...(outcome as { stdout: string; stderr: string }) };
}

test.serial('the command line sets, shows and refuses', async (t) => {
  const scene = await makeScene(t);
  const socket = ['--socket', scene.helper.socket];
  const done = await podpaced(
    'set',
    'c-p',
    '--ingress',
    '--rate',
    '20M',
    '--aqm-target',
    'off',
    ...socket,
  );
  t.is(done.stderr, '');
  t.regex(done.stdout, /c-pod0\/eth0 ingress +BEFORE +AFTER\nrate +100 Mbit\/s +20 Mbit\/s\n/);
  t.regex(done.stdout, /AQM +target 7.289 ms, interval 100 ms +off\n/);
  t.regex(
    (await podpaced('list', ...socket)).stdout,
    / egress +10 Mbit\/s [^]* ingress +20 Mbit\/s \(set\)/,
  );
  const json = await podpaced('set', 'c-pod0/eth0', '--ingress', '--reset', '--json', ...socket);
  t.like(JSON.parse(json.stdout), {
    containerId: 'c-pod0',
    direction: 'ingress',
    after: { changed: [] },
  });
  t.regex(
    (await podpaced('counters', ...socket)).stdout,
    /c-pod0 +eth0 +egress +0 .*\n- +c-pod0 +eth0 +ingress /,
  );
  t.regex((await podpaced('counters', 'c-', '--json', ...socket)).stdout, /"sojourn"/);
  t.like(await podpaced('set', 'c-pod0', '--ingress', '--rate', '10X', ...socket), { code: 2 });
  const unknown = await podpaced('set', 'nobody', '--ingress', '--rate', '10M', ...socket);
  t.is(unknown.code, 1);
  t.regex(
    unknown.stderr,
    /^podpaced: Cannot find a capped pod "nobody": known are c-pod0\/eth0\n$/,
  );
});

test.serial(
  'maps of another version are refused by name, and uninstall takes them away',
  async (t) => {
    const [node, directories] = [makeNetns(t), makeHelperDirectories(t)];
    fs.mkdirSync(directories.pins);
    const shape = { type: MAP_TYPE.ARRAY, keySize: 4, valueSize: 16, maxEntries: 16_384, flags: 0 };
    const fd = createMap({ ...shape, name: 'aggregate_config' });
    pinObject(fd, path.join(directories.pins, 'aggregate_config'));
    fs.closeSync(fd);
    const error = await t.throwsAsync(startOwnHelper(t, node, directories));
    t.regex(error.message, /aggregate_config: its valueSize is 16, not 32.*podpaced uninstall/);
    const places = placeFlags(directories);
    const command = [`--net=/run/netns/${node.name}`, PODPACED, 'uninstall', ...places];
    execFileSync('nsenter', command);
    t.false(fs.existsSync(directories.pins));
    await startOwnHelper(t, node, directories);
  },
);
