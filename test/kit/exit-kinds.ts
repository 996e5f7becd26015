// Exits of every kind between the node and the peer of a scene, and their two ends.

import { execFileSync } from 'node:child_process';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ExecutionContext } from 'ava';
import { inNamespace } from '../bed/testbed.ts';
import { ipIn, type Scene } from './exit-scene.ts';
import { joinByWireguard } from './wireguard.ts';

/** Outer and inner address of each end. */
export const ENDS = {
  node: ['198.51.100.1', '203.0.113.1'],
  peer: ['198.51.100.2', '203.0.113.2'],
} as const;

/** Commands of `ip` that make an exit: {local} and {remote} are the ends of the uplink. */
export const EXITS = {
  vlan: ['link add link uplink name exit type vlan id 7'],
  // Without an MTU of its own it would have fragments outside, and their headers are nobody's.
  vxlan: ['link add exit mtu 1450 type vxlan id 7 local {local} remote {remote} dstport 4789'],
  geneve: ['link add exit type geneve id 7 remote {remote}'],
  ipip: ['link add exit type ipip local {local} remote {remote}'],
  gretap: ['link add exit type gretap local {local} remote {remote}'],
} as const satisfies Readonly<Record<string, readonly string[]>>;

/** Makes an exit at both ends, and gives it addresses. */
export function makeExit({ bed }: Scene, commands: readonly string[]): void {
  const sides = [
    [ipIn(bed.node), ENDS.node, ENDS.peer],
    [ipIn(bed.peer), ENDS.peer, ENDS.node],
  ] as const;
  for (const [ip, [local, inner], [remote]] of sides) {
    for (const command of commands)
      ip(command.replace('{local}', local).replace('{remote}', remote));
    ip(`address add ${inner}/24 dev exit`);
    ip('link set exit up');
  }
}

/** Masters over two slaves with four queues each: the commands that make one. */
export const MASTERS = {
  'bond (active-backup)': ['ip link add exit type bond mode active-backup miimon 100'],
  'bond (balance-xor)': [
    'ip link add exit type bond mode balance-xor miimon 100 xmit_hash_policy layer3+4',
  ],
  'bond (802.3ad)': [
    'ip link add exit type bond mode 802.3ad miimon 100 lacp_rate fast xmit_hash_policy layer3+4',
  ],
  'team (roundrobin)': ['ip link add exit type team', 'teamnl exit setoption mode roundrobin'],
} as const satisfies Readonly<Record<string, readonly string[]>>;
export const SLAVES = ['slave1', 'slave2'] as const;

/** Makes a master at both ends, and gives it addresses. */
export function makeMaster({ bed: { node, peer } }: Scene, commands: readonly string[]): void {
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

/** How long the two ends of a master may take to find each other. */
const CARRIER_LIMIT_MS = 30_000;

/**
 * Whether a master can send and receive by all of its slaves. By LACP only when each of them has
 * found the one at the other end, and passes frames both ways: one that is in the aggregate already
 * still drops what comes until its partner is in sync (IEEE 802.1AX, the Mux machine).
 */
function isReady(netns: string): boolean {
  const master = ipIn(netns)('-d link show exit');
  if (!master.includes('state UP')) return false;
  if (!master.includes('mode 802.3ad')) return true;
  return (
    master.includes('ad_num_ports 2') &&
    SLAVES.every((slave) => {
      const state = /ad_actor_oper_port_state_str <([^>]*)>/.exec(
        ipIn(netns)(`-d link show ${slave}`),
      );
      const flags = state?.[1]?.split(',') ?? [];
      return flags.includes('collecting') && flags.includes('distributing');
    })
  );
}

/** Waits until the two ends of an aggregate have found each other; throws when they do not. */
export async function carrierOf({ bed }: Scene): Promise<void> {
  const deadlineMs = performance.now() + CARRIER_LIMIT_MS;
  while (![bed.node, bed.peer].every(isReady)) {
    if (performance.now() > deadlineMs) throw new Error('The two ends of exit have no carrier');
    await sleep(100);
  }
}

/** Makes a WireGuard tunnel between the two ends, and gives it addresses. */
export function makeWireguardExit(t: ExecutionContext, { bed }: Scene): void {
  const ends = [
    { netns: bed.node, inner: ENDS.node[1], remote: ENDS.peer[0] },
    { netns: bed.peer, inner: ENDS.peer[1], remote: ENDS.node[0] },
  ];
  for (const { netns } of ends) ipIn(netns)('link add exit type wireguard');
  joinByWireguard(t, 'exit', ends);
  for (const { netns, inner } of ends) {
    ipIn(netns)(`address add ${inner}/24 dev exit`);
    ipIn(netns)('link set exit up');
  }
}

/** Takes away devices of the node when the test is over, and what is left of them at the peer. */
export function takeAway(t: ExecutionContext, scene: Scene, ...devices: readonly string[]): void {
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
