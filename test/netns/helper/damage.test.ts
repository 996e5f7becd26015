// Whatever of the datapath somebody damages, alters or takes away: it is reported, put back within
// seconds, and told of. A row for each object: each map that the helper fills, and each program at
// a hook.

import fs from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import {
  deleteElement,
  lookupElement,
  mapInfo,
  mapKeys,
  openPinned,
  updateElement,
} from '../../../helper/kernel/bpf.ts';
import { deleteFilter } from '../../../helper/kernel/filters.ts';
import { openHooks } from '../../../helper/kernel/hooks.ts';
import type { HookName } from '../../../helper/wire/hook-place.ts';
import { inNetns } from '../../../helper/kernel/netns.ts';
import { aggregatePage, AGGREGATE_KEY, INTERFACE_KEY } from '../../../helper/wire/aggregate.ts';
import {
  encodeExemption,
  encodeExemptionKey,
  parseExemption,
} from '../../../helper/wire/exemption.ts';
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
import { UndoStack } from '../../bed/undo.ts';
import { makeNetns, type TestNetns } from '../../kit/netns.ts';

const REPAIR_MS = 3000;
/** An emulated processor that others use, too, seldom gets it all done between two looks. */
const DAMAGE_ATTEMPTS = 15;
/** Only the quick look gets to it. */
const FLAGS = [
  '--reconcile-seconds',
  '3600',
  '--exempt',
  '192.0.2.128/25',
  '--exempt',
  '!192.0.2.129',
];
const CAPS = { egress: { rateBitsPerSec: 10_000_000 }, ingress: { rateBitsPerSec: 100_000_000 } };
const EXEMPT = ['203.0.113.0/24'];

interface Scene {
  readonly node: TestNetns;
  readonly directories: HelperDirectories;
  /** Indexes of devices. */
  readonly pod: number;
  readonly uplink: number;
  readonly tunnel: number;
  readonly egressId: number;
}

/** One object of the datapath. */
interface Row {
  readonly object: string;
  readonly damage: (scene: Scene) => void | Promise<void>;
  /** The object as it is, to compare; of one that is made anew only whether it is there. */
  readonly read: (scene: Scene) => unknown;
  /**
   * In `status` meanwhile; absent where the kernel is asked no more often than things are put
   * right.
   */
  readonly problem?: RegExp;
  /** In the log afterwards. */
  readonly told: RegExp;
}

function withMap<T>({ directories }: Scene, name: string, use: (fd: number) => T): T {
  const fd = openPinned(path.join(directories.pins, name));
  try {
    return use(fd);
  } finally {
    fs.closeSync(fd);
  }
}

function readEntry(scene: Scene, map: string, key: Buffer): string | undefined {
  return withMap(scene, map, (fd) =>
    lookupElement(fd, key, mapInfo(fd).valueSize)?.toString('hex'),
  );
}

/** All bytes of an entry inverted. */
function alter(scene: Scene, map: string, key: Buffer): void {
  withMap(scene, map, (fd) => {
    const value = lookupElement(fd, key, mapInfo(fd).valueSize);
    if (value === undefined) throw new Error(`${map} has no such entry`);
    updateElement(fd, key, Buffer.from(value.map((byte) => byte ^ 0xff)));
  });
}

function pageKey({ egressId }: Scene): Buffer {
  const key = Buffer.alloc(4);
  key.writeUInt32LE(aggregatePage(egressId));
  return key;
}

function pageRow(map: string): Row {
  return {
    object: map,
    damage: (scene) => void withMap(scene, map, (fd) => deleteElement(fd, pageKey(scene))),
    read: (scene) => readEntry(scene, map, pageKey(scene)) !== undefined,
    told: /The state of aggregates .* was gone: made room/,
  };
}

function exemptionKey(list: number, text: string): Buffer {
  return encodeExemptionKey(list, parseExemption(text));
}

function exemptionRow(
  what: string,
  list: (scene: Scene) => number,
  damage: (map: number, list: number) => void,
): Row {
  return {
    object: `exemptions, ${what}`,
    damage: (scene) => withMap(scene, 'exemptions', (fd) => damage(fd, list(scene))),
    read: (scene) =>
      withMap(scene, 'exemptions', (fd) =>
        [...mapKeys(fd, mapInfo(fd).keySize)]
          .map((key) => `${key.toString('hex')} ${lookupElement(fd, key, 8)?.toString('hex')}`)
          .toSorted(),
      ),
    problem: /The exempt addresses of .* are not those in the map/,
    told: /The exempt addresses of .* were not its own/,
  };
}

/** First key of a map: the scene has few entries. */
function firstKey(scene: Scene, map: string): Buffer {
  return withMap(scene, map, (fd) => [...mapKeys(fd, mapInfo(fd).keySize)][0] ?? Buffer.alloc(0));
}

function allEntries(scene: Scene, map: string): string[] {
  const keys = withMap(scene, map, (fd) => [...mapKeys(fd, mapInfo(fd).keySize)]);
  return keys.map((key) => `${key.toString('hex')} ${readEntry(scene, map, key)}`).toSorted();
}

function routingRow(map: string): Row {
  return {
    object: map,
    damage: (scene) => void withMap(scene, map, (fd) => deleteElement(fd, firstKey(scene, map))),
    read: (scene) => allEntries(scene, map),
    problem: /another entry of host routing/,
    told: /An entry of host routing of c-pod0/,
  };
}

function programRow(device: 'pod' | 'uplink' | 'tunnel', hook: HookName, problem: RegExp): Row {
  const name = device === 'pod' ? 'pod0' : device;
  return {
    object: `program at ${hook} of ${name}`,
    damage: async ({ node, directories, ...scene }) => {
      const pin = path.join(directories.pins, 'links', `${scene[device]}-${hook}`);
      if (fs.existsSync(pin)) return fs.rmSync(pin);
      const isLast = hook === 'ingressLast';
      const place = { priority: isLast ? 0xfff0 : 1, handle: 0x7070 };
      return deleteFilter(node.rt, {
        ...place,
        ifindex: scene[device],
        hook: hook === 'egress' ? hook : 'ingress',
      });
    },
    read: async (scene) => {
      const { node, directories } = scene;
      const places = {
        links: path.join(directories.pins, 'links'),
        marks: path.join(directories.run, 'marks'),
      };
      const ids: Promise<number | undefined>[] = [];
      inNetns(
        node.netns,
        () =>
          void ids.push(
            openHooks(node.rt, places).attachedProgramId({ ifindex: scene[device], hook }),
          ),
      );
      return ids[0];
    },
    problem,
    told: new RegExp(`${name}.* has changed: .*put its program in place`),
  };
}

const ROWS: readonly Row[] = [
  {
    object: 'aggregate_config',
    damage: (scene) => alter(scene, 'aggregate_config', AGGREGATE_KEY.encode(scene.egressId)),
    read: (scene) => readEntry(scene, 'aggregate_config', AGGREGATE_KEY.encode(scene.egressId)),
    problem: /Aggregate \d+ has no configuration or another than its cap/,
    told: /The map entry of the egress cap of c-pod0\/eth0 was wrong/,
  },
  pageRow('aggregate_state'),
  pageRow('aggregate_counters'),
  pageRow('aggregate_books'),
  {
    object: 'host_interfaces',
    damage: (scene) => alter(scene, 'host_interfaces', INTERFACE_KEY.encode(scene.pod)),
    read: (scene) => readEntry(scene, 'host_interfaces', INTERFACE_KEY.encode(scene.pod)),
    problem: /pod0 is not known to the classifier/,
    told: /The map entry of pod0 of c-pod0\/eth0 was wrong/,
  },
  {
    object: 'continuations',
    damage: (scene) =>
      void withMap(scene, 'continuations', (fd) => deleteElement(fd, Buffer.alloc(4))),
    read: (scene) => readEntry(scene, 'continuations', Buffer.alloc(4)),
    problem: /The program behind ingress caps is gone/,
    told: /The program behind ingress caps was gone/,
  },
  exemptionRow(
    'one gone',
    () => 0,
    (fd, list) => void deleteElement(fd, exemptionKey(list, '!192.0.2.129')),
  ),
  exemptionRow(
    'one too many',
    () => 0,
    (fd, list) =>
      updateElement(
        fd,
        exemptionKey(list, '0.0.0.0/0'),
        encodeExemption(parseExemption('0.0.0.0/0')),
      ),
  ),
  exemptionRow(
    'one altered',
    ({ egressId }) => egressId,
    (fd, list) =>
      updateElement(
        fd,
        exemptionKey(list, '203.0.113.0/24'),
        encodeExemption(parseExemption('!203.0.113.0/24')),
      ),
  ),
  {
    object: 'upper_exits',
    damage: (scene) => alter(scene, 'upper_exits', INTERFACE_KEY.encode(scene.tunnel)),
    read: (scene) => readEntry(scene, 'upper_exits', INTERFACE_KEY.encode(scene.tunnel)),
    problem: /tunnel has another overhead than \d+ bytes a packet/,
    told: /The overhead of the exit with index \d+ was wrong/,
  },
  {
    object: 'node_place',
    damage: (scene) => alter(scene, 'node_place', Buffer.alloc(4)),
    read: (scene) => readEntry(scene, 'node_place', Buffer.alloc(4)),
    problem: /What pods send to the node itself is not capped/,
    told: /The program that polices what pods send to the node itself was gone/,
  },
  {
    object: 'program where the sockets of the node take packets',
    damage: ({ directories }) => fs.rmSync(path.join(directories.pins, 'links/node')),
    read: ({ directories }) => fs.existsSync(path.join(directories.pins, 'links/node')),
    problem: /What pods send to the node itself is not capped/,
    told: /The program that polices what pods send to the node itself was gone/,
  },
  routingRow('routed_pods'),
  routingRow('pod_addresses'),
  programRow('pod', 'ingress', /The classifier is missing on pod0/),
  programRow('pod', 'egress', /The departure program for ingress is missing on pod0/),
  programRow('pod', 'ingressLast', /The host routing out of the pod is missing on pod0/),
  programRow('uplink', 'egress', /The departure program is missing on uplink/),
  programRow('uplink', 'ingressLast', /The host routing into pods is missing on uplink/),
  programRow('tunnel', 'egress', /The departure program is missing on tunnel/),
];

/** One node and its helper for all tests: each leaves whole what it has damaged. */
const shared = new UndoStack();
let scene: Scene;
let helper: TestHelper;

test.before(async () => {
  scene = await makeScene(shared);
  helper = await startOwnHelper(shared, scene.node, scene.directories, FLAGS);
});

test.after.always(() => shared.run());

async function makeScene(t: Pick<ExecutionContext, 'teardown'>): Promise<Scene> {
  const [node, sandbox, peer, directories] = [
    makeNetns(t),
    makeNetns(t),
    makeNetns(t),
    makeHelperDirectories(t),
  ];
  addUplink(node, peer, 'uplink', 1);
  wirePod(node, sandbox, 'pod0');
  const vxlan = ['id', '7', 'remote', '198.51.100.2', 'dstport', '4789', 'dev', 'uplink'];
  node.ip('link', 'add', 'tunnel', 'type', 'vxlan', ...vxlan);
  node.ip('link', 'set', 'tunnel', 'up');
  node.ip('route', 'add', '203.0.113.0/24', 'dev', 'tunnel');
  const hostRouting = {
    addresses: ['192.0.2.2'],
    mac: '02:00:00:00:00:01',
    hostMac: '02:00:00:00:00:02',
  };
  const params = { ...paramsOf('pod0', sandbox, CAPS), exempt: EXEMPT, hostRouting };
  const pod = leaveRecord(node, directories, params);
  const indexOf = (name: string): number =>
    Number(node.ipJson('link', 'show', 'dev', name)[0]?.['ifindex']);
  return {
    node,
    directories,
    pod,
    uplink: indexOf('uplink'),
    tunnel: indexOf('tunnel'),
    egressId: 5000 + 2 * pod,
  };
}

function readAll(rows: readonly Row[]): Promise<unknown[]> {
  return Promise.all(rows.map(({ read }) => read(scene)));
}

/** Damages objects, and gives what `status` says of it before anything of it is repaired. */
async function damageAll(t: ExecutionContext, rows: readonly Row[]): Promise<string> {
  for (let attempt = 1; attempt <= DAMAGE_ATTEMPTS; attempt += 1) {
    const before = helper.log();
    for (const { damage } of rows) await damage(scene);
    const { problems } = await helper.ask('status', {});
    if (helper.log() === before) return problems.join('\n');
    // The look came in between: again, right after the next one.
    await sleep(REPAIR_MS);
  }
  t.fail('each time something was repaired before it was asked for');
  return '';
}

/** Damages objects while a helper runs: each is reported, put back within 3 s, and told of. */
async function arePutBack(t: ExecutionContext, rows: readonly Row[]): Promise<void> {
  const before = helper.log().length;
  const log = (): string => helper.log().slice(before);
  const whole = await readAll(rows);
  for (const [index, { object }] of rows.entries()) t.truthy(whole[index], object);
  const problems = await damageAll(t, rows);
  const startMs = performance.now();
  for (const { object, problem } of rows)
    if (problem !== undefined) t.regex(problems, problem, object);
  const open = async (): Promise<string[]> => {
    const found = await readAll(rows);
    return rows.flatMap(({ object, told }, index) => {
      const isWhole = JSON.stringify(found[index]) === JSON.stringify(whole[index]);
      return isWhole && told.test(log()) ? [] : [object];
    });
  };
  while ((await open()).length > 0 && performance.now() - startMs < REPAIR_MS) await sleep(50);
  t.log(`${(performance.now() - startMs).toFixed(0)} ms`);
  t.deepEqual(await open(), [], log());
}

test.serial(
  'every object that somebody damages is reported, put back within 3 s, and told of',
  (t) => arePutBack(t, ROWS),
);

test.serial('so is the program behind ingress caps where nothing else is damaged', (t) =>
  arePutBack(
    t,
    ROWS.filter(({ object }) => object === 'continuations'),
  ),
);

test.serial(
  'every object that was damaged while no helper ran is put back by the next one',
  async (t) => {
    const whole = await readAll(ROWS);
    await helper.end('SIGTERM');
    for (const { damage } of ROWS) await damage(scene);
    helper = await startOwnHelper(shared, scene.node, scene.directories, FLAGS);
    const found = await readAll(ROWS);
    for (const [index, { object, read }] of ROWS.entries()) {
      // A new helper has new programs.
      if (object.startsWith('program') || object === 'continuations')
        t.truthy(found[index], `${object} ${read.length}`);
      else t.deepEqual(found[index], whole[index], object);
    }
  },
);
