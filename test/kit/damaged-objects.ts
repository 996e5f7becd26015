// The objects of the datapath that stand for one pod's caps on a node of network namespaces, and how
// somebody damages each: a row for each map that the helper fills, and each program at a hook.

import fs from 'node:fs';
import path from 'node:path';
import type { ExecutionContext } from 'ava';
import {
  deleteElement,
  lookupElement,
  mapInfo,
  mapKeys,
  openPinned,
  updateElement,
} from '../../helper/kernel/bpf.ts';
import { deleteFilter } from '../../helper/kernel/filters.ts';
import { openHooks } from '../../helper/kernel/hooks.ts';
import type { HookName } from '../../helper/wire/hook-place.ts';
import { inNetns } from '../../helper/kernel/netns.ts';
import { aggregatePage, AGGREGATE_KEY, INTERFACE_KEY } from '../../helper/wire/aggregate.ts';
import {
  encodeExemption,
  encodeExemptionKey,
  parseExemption,
} from '../../helper/wire/exemption.ts';
import {
  addUplink,
  leaveRecord,
  makeHelperDirectories,
  paramsOf,
  wirePod,
  type HelperDirectories,
} from './helper.ts';
import { makeNetns, type TestNetns } from './netns.ts';

/** Of the helper: only the quick look gets to what is damaged, and the node has exempt addresses. */
export const DAMAGE_FLAGS = [
  '--reconcile-seconds',
  '3600',
  '--exempt',
  '192.0.2.128/25',
  '--exempt',
  '!192.0.2.129',
];
const CAPS = { egress: { rateBitsPerSec: 10_000_000 }, ingress: { rateBitsPerSec: 100_000_000 } };
const EXEMPT = ['203.0.113.0/24'];

export interface Scene {
  readonly node: TestNetns;
  readonly directories: HelperDirectories;
  /** Indexes of devices. */
  readonly pod: number;
  readonly uplink: number;
  readonly tunnel: number;
  readonly egressId: number;
}

/** One object of the datapath. */
export interface Row {
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

export const ROWS: readonly Row[] = [
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

/** A node with an uplink and a tunnel, and the record of a pod with both caps and host routing. */
export async function makeScene(t: Pick<ExecutionContext, 'teardown'>): Promise<Scene> {
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
