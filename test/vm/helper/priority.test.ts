// The priority of packets (skb->priority), whoever sets it, moves no departure: not a socket of the
// pod, and not a rule of the node, with which fq would send packets of TC_PRIO_CONTROL at once.

import { execFileSync, spawnSync } from 'node:child_process';
import test, { type ExecutionContext } from 'ava';
import { inNamespace } from '../../bed/testbed.ts';
import { PEER_ADDRESS } from '../../bed/uplink.ts';
import { UndoStack } from '../../bed/undo.ts';
import {
  addScenePod,
  CAP_MBIT,
  holds,
  makeSceneNode,
  measure,
  type Scene,
  type SceneNode,
} from '../../kit/exit-scene.ts';
import { deliver, type Datagrams } from '../../kit/timed-datagrams.ts';

/**
 * Of so few the AQM takes one at most, which is charged nothing: whoever comes after it comes in
 * its place.
 */
const LOAD = { count: 30, payloadBytes: 1400 };
/** Of a frame at the cap. */
const FRAME_MS = ((1400 + 42) * 8) / (CAP_MBIT * 1000);
/** By how much an emulated processor is late now and then. */
const LATE_MS = 1;
const SOCKET_PRIORITIES = [1, 2, 4, 6, 7];
/** As nft has them: class and priority, of which fq sees the last four bits. */
const RULES = ['0:1', '0:6', '0:7', '1:7', '1:17'];

const HAS_NETKIT =
  spawnSync('unshare', ['--net', 'ip', 'link', 'add', 'one', 'type', 'netkit']).status === 0;
const DEVICES = HAS_NETKIT ? (['veth', 'netkit'] as const) : (['veth'] as const);

/** For all tests; each adds its pod, and takes it away. */
const shared = new UndoStack();
let node: SceneNode;

test.before(async (t) => {
  t.timeout(300_000);
  node = await makeSceneNode(shared);
});

test.after.always(() => shared.run());

/** Has the node give everything that it sends or forwards a priority while `work` runs. */
async function withPriority<T>(
  { bed }: Scene,
  priority: string,
  work: () => Promise<T>,
): Promise<T> {
  const rules = `table inet priorities {
    chain last { type filter hook postrouting priority 0; meta priority set "${priority}"; }
  }`;
  const nft = (...args: string[]) => execFileSync(...inNamespace(bed.node, 'nft', ...args));
  nft(`${rules}\n`);
  try {
    return await work();
  } finally {
    nft('delete table inet priorities');
  }
}

/** When each datagram came, in ms after the first one. */
async function arrivals(datagrams: Pick<Datagrams, 'from' | 'to' | 'priority'>): Promise<number[]> {
  const times = await deliver({ ...LOAD, ...datagrams });
  return times.map((ms) => ms - (times[0] ?? 0));
}

/**
 * Datagrams come one after the other as the cap has it, except for what may depart at once in the
 * beginning.
 */
function areSpaced(t: ExecutionContext, what: string, times: readonly number[]): void {
  t.true(times.length >= LOAD.count - 1, `${what}: ${times.length} came`);
  const last = times.at(-1) ?? 0;
  t.log(`${what}: the last came ${last.toFixed(2)} ms after the first`);
  t.true(last > (times.length - 3) * FRAME_MS, `${what}: ${last} ms`);
}

/** Each datagram comes when it does with no priority. */
function areAs(
  t: ExecutionContext,
  what: string,
  times: readonly number[],
  plain: readonly number[],
): void {
  areSpaced(t, what, times);
  const both = Math.min(times.length, plain.length);
  const worst = Math.max(
    ...times.slice(0, both).map((ms, index) => Math.abs(ms - (plain[index] ?? 0))),
  );
  t.true(worst <= LATE_MS, `${what}: ${worst} ms beside its time`);
}

for (const device of DEVICES) {
  test.serial(
    `${device}: no priority moves a departure, and the cap holds with each`,
    async (t) => {
      t.timeout(300_000);
      const undo = UndoStack.of(t);
      const caps = { egressMbit: CAP_MBIT, ingressMbit: CAP_MBIT };
      const scene = await addScenePod(node, { keys: { device }, caps }, undo);
      const { peer, pods } = scene.bed;
      const pod = pods.get('pod') ?? '';
      const out = { from: pod, to: { netns: peer, address: PEER_ADDRESS } };
      const into = { from: peer, to: { netns: pod, address: scene.podAddress } };
      // One ahead, to find the neighbours.
      await deliver({ ...out, count: 1, payloadBytes: 1 });
      for (const [way, ends] of Object.entries({ out, into })) {
        const plain = await arrivals(ends);
        areSpaced(t, way, plain);
        for (const priority of SOCKET_PRIORITIES)
          areAs(t, `${way}, SO_PRIORITY ${priority}`, await arrivals({ ...ends, priority }), plain);
        for (const rule of RULES) {
          const times = await withPriority(scene, rule, () => arrivals(ends));
          areAs(t, `${way}, meta priority ${rule}`, times, plain);
        }
      }
      holds(t, await withPriority(scene, '0:7', () => measure(scene, PEER_ADDRESS)));
    },
  );
}
