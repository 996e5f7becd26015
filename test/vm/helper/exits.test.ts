// Every kind of exit: found by itself while the helper runs, and the cap held on the frames that leave the node.

import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { capture } from '../../../scripts/lib/process.ts';
import { inNamespace } from '../../../scripts/measure/testbed.ts';
import { UndoStack } from '../../../scripts/measure/undo.ts';
import {
  CAP_MBIT,
  exitNamed,
  giveIpv6,
  holds,
  ipIn,
  makeOwnScene,
  makeScene,
  measure,
  SECOND_PORT,
  type Scene,
} from '../../kit/exit-scene.ts';

/** For tests that leave the node's uplink as it is. */
const shared = new UndoStack();
let scene: Scene;

test.before(async (t) => {
  t.timeout(300_000);
  scene = await makeScene(shared);
});

test.after.always(() => shared.run());

/** Devices of the shared node that go with the test. */
function takeAway(t: ExecutionContext, ...devices: readonly string[]): void {
  t.timeout(300_000);
  t.teardown(() => {
    for (const device of devices) ipIn(scene.bed.node)(`link delete ${device}`);
    for (const device of devices) {
      // The other end of a pair is gone with it.
      const isThere = ipIn(scene.bed.peer)('-o link show').includes(` ${device}:`);
      if (isThere || ipIn(scene.bed.peer)('-o link show').includes(` ${device}@`))
        ipIn(scene.bed.peer)(`link delete ${device}`);
    }
  });
}

/** Commands of `ip` that make an exit: {local} and {remote} are the ends of the uplink. */
const EXITS: Readonly<Record<string, readonly string[]>> = {
  vlan: ['link add link uplink name exit type vlan id 7'],
  // Without an MTU of its own it would have fragments outside, and their headers are nobody's.
  vxlan: ['link add exit mtu 1450 type vxlan id 7 local {local} remote {remote} dstport 4789'],
  geneve: ['link add exit type geneve id 7 remote {remote}'],
  ipip: ['link add exit type ipip local {local} remote {remote}'],
  gretap: ['link add exit type gretap local {local} remote {remote}'],
};

const ENDS = { node: ['198.51.100.1', '203.0.113.1'], peer: ['198.51.100.2', '203.0.113.2'] } as const;

function makeExit({ bed }: Scene, commands: readonly string[]): void {
  const sides = [
    [ipIn(bed.node), ENDS.node, ENDS.peer],
    [ipIn(bed.peer), ENDS.peer, ENDS.node],
  ] as const;
  for (const [ip, [local, inner], [remote]] of sides) {
    for (const command of commands) ip(command.replace('{local}', local).replace('{remote}', remote));
    ip(`address add ${inner}/24 dev exit`);
    ip('link set exit up');
  }
}

for (const [kind, commands] of Object.entries(EXITS)) {
  test.serial(`${kind}: the cap holds on the frames outside`, async (t) => {
    takeAway(t, 'exit');
    makeExit(scene, commands);
    const exit = await exitNamed(t, scene, 'exit');
    t.like(exit, { kind, role: 'uplink' });
    holds(t, await measure(scene, '203.0.113.2'));
  });
}

test.serial('IPv6: the cap holds', async (t) => {
  t.timeout(300_000);
  holds(t, await measure(scene, giveIpv6(scene)));
});

/** Masters over two slaves with four queues each: the commands that make one. */
const MASTERS: Readonly<Record<string, readonly string[]>> = {
  'bond (active-backup)': ['ip link add exit type bond mode active-backup miimon 100'],
  'bond (balance-xor)': ['ip link add exit type bond mode balance-xor miimon 100 xmit_hash_policy layer3+4'],
  'bond (802.3ad)': [
    'ip link add exit type bond mode 802.3ad miimon 100 lacp_rate fast xmit_hash_policy layer3+4',
  ],
  'team (roundrobin)': ['ip link add exit type team', 'teamnl exit setoption mode roundrobin'],
};
const SLAVES = ['slave1', 'slave2'];

function makeMaster({ bed: { node, peer } }: Scene, commands: readonly string[]): void {
  for (const slave of SLAVES) {
    const far = `peer name ${slave} netns ${path.basename(peer)} numtxqueues 4 numrxqueues 4`;
    ipIn(node)(`link add ${slave} numtxqueues 4 numrxqueues 4 type veth ${far}`);
  }
  for (const [netns, [, inner]] of [
    [node, ENDS.node],
    [peer, ENDS.peer],
  ] as const) {
    const slaves = SLAVES.flatMap((slave) => [
      `ip link set ${slave} gso_max_segs 1`,
      `ip link set ${slave} master exit`,
      `ip link set ${slave} up`,
    ]);
    const up = [`ip address add ${inner}/24 dev exit`, 'ip link set exit up'];
    execFileSync(...inNamespace(netns, 'sh', '-ec', [...commands, ...slaves, ...up].join('\n')));
  }
}

/** Whether a master can send: by LACP only when both of its slaves have found theirs at the other end. */
function isReady(netns: string): boolean {
  const link = ipIn(netns)('-d link show exit');
  return link.includes('state UP') && (!link.includes('mode 802.3ad') || link.includes('ad_num_ports 2'));
}

/** Waits until the two ends of an aggregate have found each other. */
async function carrierOf({ bed }: Scene): Promise<void> {
  for (let attempt = 0; attempt < 200; attempt += 1) {
    if ([bed.node, bed.peer].every(isReady)) return;
    await sleep(100);
  }
}

/** Queues of the node's slaves that have carried traffic, each an fq. */
function usedQueues({ bed }: Scene): number {
  const qdiscs = SLAVES.flatMap((slave) => {
    const json = execFileSync(...inNamespace(bed.node, 'tc', '-s', '-j', 'qdisc', 'show', 'dev', slave));
    return JSON.parse(String(json)) as { kind: string; bytes: number }[];
  });
  return qdiscs.filter(({ kind, bytes }) => kind === 'fq' && bytes > 100_000).length;
}

for (const [name, commands] of Object.entries(MASTERS)) {
  test.serial(`${name}: the cap holds on the slaves, on more than one queue`, async (t) => {
    takeAway(t, 'exit', ...SLAVES);
    makeMaster(scene, commands);
    await carrierOf(scene);
    const exit = await exitNamed(t, scene, 'exit');
    t.like(exit, { kind: name.split(' ')[0] ?? '', below: SLAVES });
    t.deepEqual(new Set(exit?.leafQdiscs), new Set(['fq']));
    holds(t, await measure(scene, '203.0.113.2', SLAVES));
    t.true(usedQueues(scene) > 1);
  });
}

test.serial('two uplinks at once share one cap, also when a rule sends the pod by the other', async (t) => {
  takeAway(t, 'second');
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
    measure(scene, '198.51.100.2', devices, SECOND_PORT),
  ]);
  holds(t, together);
  const rule = `from ${scene.podAddress} lookup 77`;
  ipIn(node)(`rule add ${rule}`);
  t.teardown(() => ipIn(node)(`rule del ${rule}`));
  holds(t, await measure(scene, '198.51.100.2', ['second']));
});

test.serial('another pod of the node: the cap of the sender holds on the way into it', async (t) => {
  t.timeout(300_000);
  const { node } = scene.bed;
  const { signal } = new AbortController();
  const undo = new UndoStack();
  t.teardown(() => undo.run());
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
});

test.serial('what goes to an exempt network is not capped, the rest is', async (t) => {
  const scene = await makeOwnScene(t, {
    flags: ['--exempt', '203.0.113.0/24', '--exempt', '!203.0.113.3'],
  });
  ipIn(scene.bed.node)('route add 203.0.113.0/24 via 198.51.100.2');
  for (const address of ['203.0.113.2', '203.0.113.3'])
    ipIn(scene.bed.peer)(`address add ${address}/32 dev uplink`);
  const exempt = await measure(scene, '203.0.113.2');
  t.true(exempt > 10 * CAP_MBIT, `${exempt} Mbit/s to an exempt address`);
  holds(t, await measure(scene, '203.0.113.3'));
  holds(t, await measure(scene, '198.51.100.2'));
});

test.serial('WireGuard: the cap holds on the frames outside', async (t) => {
  takeAway(t, 'exit');
  const keys = [0, 1].map(() => {
    const secret = execFileSync('wg', ['genkey'], { encoding: 'utf8' }).trim();
    return { secret, open: execFileSync('wg', ['pubkey'], { input: secret, encoding: 'utf8' }).trim() };
  });
  const sides = [
    [scene.bed.node, ENDS.node, ENDS.peer, 0],
    [scene.bed.peer, ENDS.peer, ENDS.node, 1],
  ] as const;
  for (const [netns, [, inner], [remote], side] of sides) {
    ipIn(netns)('link add exit type wireguard');
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'pp-wg-'));
    t.teardown(() => fs.rmSync(folder, { recursive: true }));
    const keyFile = path.join(folder, 'key');
    fs.writeFileSync(keyFile, keys[side]?.secret ?? '', { mode: 0o600 });
    const set = [
      ...['set', 'exit', 'listen-port', '51820', 'private-key', keyFile, 'peer', keys[1 - side]?.open ?? ''],
      ...['allowed-ips', '0.0.0.0/0', 'endpoint', `${remote}:51820`],
    ];
    execFileSync(...inNamespace(netns, 'wg', ...set));
    ipIn(netns)(`address add ${inner}/24 dev exit`);
    ipIn(netns)('link set exit up');
  }
  t.like(await exitNamed(t, scene, 'exit'), { kind: 'wireguard', role: 'uplink' });
  holds(t, await measure(scene, '203.0.113.2'));
});
