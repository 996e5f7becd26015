// Every kind of exit: found by itself while the helper runs, and the cap held on the frames that
// leave the node.

import { execFileSync } from 'node:child_process';
import path from 'node:path';
import test from 'ava';
import { capture } from '../../../scripts/lib/process.ts';
import { inNamespace } from '../../bed/testbed.ts';
import { UndoStack } from '../../bed/undo.ts';
import {
  carrierOf,
  ENDS,
  EXITS,
  makeExit,
  makeMaster,
  makeWireguardExit,
  MASTERS,
  SLAVES,
  takeAway,
} from '../../kit/exit-kinds.ts';
import {
  CAP_MBIT,
  exitNamed,
  giveIpv6,
  holds,
  ipIn,
  makeScene,
  measure,
  SECOND_PORT,
  type Scene,
} from '../../kit/exit-scene.ts';

/** For tests that leave the node's uplink as it is. */
const shared = new UndoStack();
let scene: Scene;
/** An address of it that is exempt, and one that is not. No other test sends there. */
const EXEMPT_FLAGS = ['--exempt', '192.0.2.0/24', '--exempt', '!192.0.2.3'];
const [EXEMPT, NOT_EXEMPT] = ['192.0.2.2', '192.0.2.3'] as const;

test.before(async (t) => {
  t.timeout(300_000);
  scene = await makeScene(shared, { flags: EXEMPT_FLAGS });
});

test.after.always(() => shared.run());

for (const [kind, commands] of Object.entries(EXITS)) {
  test.serial(`${kind}: the cap holds on the frames outside`, async (t) => {
    takeAway(t, scene, 'exit');
    makeExit(scene, commands);
    const exit = await exitNamed(t, scene, 'exit');
    t.like(exit, { kind, role: 'uplink' });
    holds(t, await measure(scene, '203.0.113.2'));
  });
}

test.serial('IPv6: the cap holds', async (t) => {
  t.timeout(300_000);
  holds(t, await measure(scene, giveIpv6(scene.bed)));
});

/** Queues of the node's slaves that have carried traffic, each an fq. */
function usedQueues({ bed }: Scene): number {
  const qdiscs = SLAVES.flatMap((slave) => {
    const json = execFileSync(
      ...inNamespace(bed.node, 'tc', '-s', '-j', 'qdisc', 'show', 'dev', slave),
    );
    return JSON.parse(String(json)) as { kind: string; bytes: number }[];
  });
  return qdiscs.filter(({ kind, bytes }) => kind === 'fq' && bytes > 100_000).length;
}

for (const [name, commands] of Object.entries(MASTERS)) {
  test.serial(`${name}: the cap holds on the slaves, on more than one queue`, async (t) => {
    takeAway(t, scene, 'exit', ...SLAVES);
    makeMaster(scene, commands);
    await carrierOf(scene);
    const exit = await exitNamed(t, scene, 'exit');
    t.like(exit, { kind: name.split(' ')[0] ?? '', below: SLAVES });
    t.deepEqual(new Set(exit?.leafQdiscs), new Set(['fq']));
    holds(t, await measure(scene, '203.0.113.2', SLAVES));
    t.true(usedQueues(scene) > 1);
  });
}

test.serial(
  'two uplinks at once share one cap, also when a rule sends the pod by the other',
  async (t) => {
    takeAway(t, scene, 'second');
    const { node, peer } = scene.bed;
    ipIn(node)(`link add second type veth peer name second netns ${path.basename(peer)}`);
    for (const [netns, [, inner]] of [
      [node, ENDS.node],
      [peer, ENDS.peer],
    ] as const) {
      ipIn(netns)('link set second gso_max_segs 1');
      ipIn(netns)(`address add ${inner}/24 dev second`);
      ipIn(netns)('link set second up');
    }
    ipIn(node)('route add default via 203.0.113.2 table 77');
    t.like(await exitNamed(t, scene, 'second'), { kind: 'veth', role: 'uplink' });
    const devices = ['uplink', 'second'];
    const [together] = await Promise.all([
      measure(scene, '203.0.113.2', devices),
      measure(scene, '198.51.100.2', devices, { port: SECOND_PORT }),
    ]);
    holds(t, together);
    const rule = `from ${scene.podAddress} lookup 77`;
    ipIn(node)(`rule add ${rule}`);
    t.teardown(() => ipIn(node)(`rule del ${rule}`));
    holds(t, await measure(scene, '198.51.100.2', ['second']));
  },
);

test.serial(
  'another pod of the node: the cap of the sender holds on the way into it',
  async (t) => {
    t.timeout(300_000);
    const { node } = scene.bed;
    const { signal } = new AbortController();
    const undo = UndoStack.of(t);
    execFileSync('ip', ['netns', 'add', `pp-${process.pid}-other`]);
    undo.defer(
      'delete the other pod',
      async () => void (await capture('ip', ['netns', 'delete', `pp-${process.pid}-other`])),
    );
    const other = `/run/netns/pp-${process.pid}-other`;
    ipIn(node)(`link add other type veth peer name eth0 netns ${path.basename(other)}`);
    ipIn(node)('link set other up');
    ipIn(node)('address add 169.254.7.1/32 dev other');
    ipIn(node)('route add 10.86.0.200/32 dev other');
    const ip = ipIn(other);
    for (const line of [
      'link set eth0 gso_max_segs 1',
      'address add 10.86.0.200/32 dev eth0',
      'link set eth0 up',
    ])
      ip(line);
    ip('route add 169.254.7.1 dev eth0');
    ip('route add default via 169.254.7.1');
    t.like(await exitNamed(t, scene, 'other'), { kind: 'veth', role: 'pod' });
    const bed = { ...scene.bed, peer: other };
    signal.throwIfAborted();
    holds(t, await measure({ ...scene, bed }, '10.86.0.200', ['eth0']));
  },
);

test.serial('what goes to an exempt network is not capped, the rest is', async (t) => {
  t.timeout(300_000);
  const { node, peer } = scene.bed;
  const route = '192.0.2.0/24 via 198.51.100.2';
  t.teardown(() => void ipIn(node)(`route del ${route}`));
  ipIn(node)(`route add ${route}`);
  for (const address of [EXEMPT, NOT_EXEMPT]) {
    t.teardown(() => void ipIn(peer)(`address del ${address}/32 dev uplink`));
    ipIn(peer)(`address add ${address}/32 dev uplink`);
  }
  // All that it could would be more than an emulated processor has time for.
  const exempt = await measure(scene, EXEMPT, ['uplink'], { mbit: 12 * CAP_MBIT, seconds: 1 });
  t.true(exempt > 10 * CAP_MBIT, `${exempt} Mbit/s to an exempt address`);
  holds(t, await measure(scene, NOT_EXEMPT));
  holds(t, await measure(scene, '198.51.100.2'));
});

test.serial('WireGuard: the cap holds on the frames outside', async (t) => {
  takeAway(t, scene, 'exit');
  makeWireguardExit(t, scene);
  t.like(await exitNamed(t, scene, 'exit'), { kind: 'wireguard', role: 'uplink' });
  holds(t, await measure(scene, '203.0.113.2'));
});
