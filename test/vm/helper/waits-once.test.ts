// Every kind of exit: what a capped pod sends by it waits once, in one place, and takes no
// departure time along that somebody behind the node would wait for.

import { execFileSync } from 'node:child_process';
import test, { type ExecutionContext } from 'ava';
import {
  carrierOf,
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
  ipIn,
  makeOwnScene,
  makeScene,
  type Scene,
} from '../../kit/exit-scene.ts';
import { heldBy, type Held } from '../../kit/fq-statistics.ts';
import { makeNetns, type TestNetns } from '../../kit/netns.ts';
import { askNode } from '../../kit/ask.ts';
import { deliver } from '../../kit/timed-datagrams.ts';
import { inNamespace } from '../../bed/testbed.ts';
import { UndoStack } from '../../bed/undo.ts';

const COUNT = 39;
const TOLERANCE = 0.05;
const PAYLOAD_BYTES = 1300;
/** Of UDP over IPv4, without the Ethernet header. */
const PACKET_BYTES = PAYLOAD_BYTES + 8 + 20;
const FRAME_BYTES = PACKET_BYTES + 14;
const FAR = '192.0.2.2';

const shared = new UndoStack();
let scene: Scene;

test.before(async (t) => {
  t.timeout(300_000);
  scene = await makeScene(shared);
  ipIn(scene.bed.node)('link add vrf7 type vrf table 7');
  ipIn(scene.bed.node)('link set vrf7 up');
});

test.after.always(() => shared.run());

/**
 * How a way off the node is made, what a frame on it is charged with, and which devices hold it.
 */
interface Crossing {
  readonly make: (t: ExecutionContext) => void | Promise<void>;
  readonly frameBytes: number;
  readonly holders: readonly string[];
  /** The device and the next hop of the route, where they are not those of all others. */
  readonly exit?: string;
  readonly next?: string;
}

function ofBothEnds(
  commands: readonly string[],
  devices: readonly string[] = ['exit'],
): Crossing['make'] {
  return (t) => {
    takeAway(t, scene, ...devices);
    makeExit(scene, commands);
  };
}

function pairOnNode(name: string): string {
  return `link add ${name} type veth peer name exit netns ${scene.bed.peer.split('/').at(-1) ?? ''}`;
}

/** The node's end of a pair, as a port of another device; the peer's end has the address. */
function asPort(
  t: ExecutionContext,
  commands: readonly string[],
  devices: readonly string[],
): void {
  takeAway(t, scene, ...devices);
  const [node, peer] = [ipIn(scene.bed.node), ipIn(scene.bed.peer)];
  for (const command of commands) node(command);
  for (const device of devices) node(`link set ${device} up`);
  node('address add 203.0.113.1/24 dev exit');
  peer('address add 203.0.113.2/24 dev exit');
  peer('link set exit up');
}

function bond(t: ExecutionContext): Promise<void> {
  takeAway(t, scene, 'exit', ...SLAVES);
  makeMaster(scene, MASTERS['bond (active-backup)']);
  return carrierOf(scene);
}

/** Headers by the tunnels' own documents: see helper/shaping/exits.ts. */
const CROSSINGS: Readonly<Record<string, Crossing>> = {
  vlan: { make: ofBothEnds(EXITS.vlan), frameBytes: FRAME_BYTES + 4, holders: ['exit'] },
  vxlan: { make: ofBothEnds(EXITS.vxlan), frameBytes: FRAME_BYTES + 50, holders: ['exit'] },
  geneve: { make: ofBothEnds(EXITS.geneve), frameBytes: FRAME_BYTES + 50, holders: ['exit'] },
  ipip: { make: ofBothEnds(EXITS.ipip), frameBytes: PACKET_BYTES + 34, holders: ['exit'] },
  gre: {
    make: ofBothEnds(['link add exit type gre local {local} remote {remote}']),
    ...{ frameBytes: PACKET_BYTES + 38, holders: ['exit'] },
  },
  gretap: { make: ofBothEnds(EXITS.gretap), frameBytes: FRAME_BYTES + 38, holders: ['exit'] },
  wireguard: {
    make(t) {
      takeAway(t, scene, 'exit');
      makeWireguardExit(t, scene);
    },
    // A multiple of 16 already: no padding.
    ...{ frameBytes: PACKET_BYTES + 74, holders: ['exit'] },
  },
  macvlan: {
    make: ofBothEnds(['link add link uplink name exit type macvlan mode bridge']),
    ...{ frameBytes: FRAME_BYTES, holders: ['exit'] },
  },
  ipvlan: {
    make: ofBothEnds(['link add link uplink name exit type ipvlan mode l2']),
    ...{ frameBytes: FRAME_BYTES, holders: ['exit'] },
  },
  bond: { make: bond, frameBytes: FRAME_BYTES, holders: SLAVES },
  'vlan over a bond': {
    async make(t) {
      await bond(t);
      for (const [netns, side] of [
        [scene.bed.node, 1],
        [scene.bed.peer, 2],
      ] as const) {
        ipIn(netns)('link add link exit name tagged type vlan id 7');
        ipIn(netns)('link set tagged up');
        ipIn(netns)(`address add 192.168.7.${side}/24 dev tagged`);
      }
    },
    ...{ frameBytes: FRAME_BYTES + 4, holders: ['tagged'], exit: 'tagged', next: '192.168.7.2' },
  },
  bridge: {
    make: (t) =>
      asPort(
        t,
        ['link add exit type bridge', pairOnNode('port'), 'link set port master exit'],
        ['exit', 'port'],
      ),
    ...{ frameBytes: FRAME_BYTES, holders: ['port'] },
  },
  vrf: {
    make: (t) => asPort(t, [pairOnNode('exit'), 'link set exit master vrf7'], ['exit']),
    ...{ frameBytes: FRAME_BYTES, holders: ['exit'] },
  },
};

/** A namespace behind another one, which forwards to it by a device with an fq. */
function makeFar(t: ExecutionContext, behind: string): TestNetns {
  const far = makeNetns(t);
  const commands = [
    'echo 1 > /proc/sys/net/ipv4/ip_forward',
    `ip link add beyond type veth peer name beyond netns ${far.name}`,
    'ip address add 192.0.2.1/24 dev beyond',
    'ip link set beyond up',
    'tc qdisc replace dev beyond root fq',
  ];
  t.teardown(() => void ipIn(behind)('link delete beyond'));
  execFileSync(...inNamespace(behind, 'sh', '-ec', commands.join('\n')));
  far.ip('address', 'add', `${FAR}/24`, 'dev', 'beyond');
  far.ip('link', 'set', 'beyond', 'up');
  far.ip('route', 'add', 'default', 'via', '192.0.2.1');
  return far;
}

/**
 * How often flows had to wait at each device of a namespace meanwhile; those where none had to are
 * not there.
 */
function throttledSince(netns: string, before: ReadonlyMap<string, Held>): Map<string, number> {
  const grown = [...heldBy(netns)].map(([device, { throttled }]): [string, number] => [
    device,
    throttled - (before.get(device)?.throttled ?? 0),
  ]);
  return new Map(grown.filter(([, times]) => times > 0));
}

/** Where a burst is sent to, and what has to become of it. */
interface Burst {
  readonly from: string;
  readonly node: string;
  /** The namespace that forwards it to `far`. */
  readonly behind: string;
  readonly far: TestNetns;
  /** What a frame is charged with, and which devices of the node hold it. */
  readonly frameBytes: number;
  readonly holders: readonly string[];
}

/** A burst takes the time of the cap, waits on the node where it must, and nowhere else. */
async function waitsOnce(t: ExecutionContext, burst: Burst): Promise<void> {
  const { from, node, behind, far, frameBytes, holders } = burst;
  const datagrams = {
    from,
    to: { netns: far.netns.path, address: FAR },
    payloadBytes: PAYLOAD_BYTES,
  };
  t.is((await deliver({ ...datagrams, count: 1 })).length, 1);
  const before = { node: heldBy(node), behind: heldBy(behind) };
  const times = await deliver({ ...datagrams, count: COUNT });

  // The AQM may take one. Charged twice, or held for longer than its slot, the rest would not come
  // in this time.
  t.true(times.length >= COUNT - 1, `${times.length} datagrams`);
  const spanMs = (times.at(-1) ?? 0) - (times[0] ?? 0);
  const capMs = ((COUNT - 1) * frameBytes * 8) / (CAP_MBIT * 1000);
  t.log(`${times.length} came in ${spanMs} ms, by the cap ${capMs}`);
  t.true(Math.abs(spanMs - capMs) <= TOLERANCE * capMs, `${spanMs} ms, by the cap ${capMs}`);

  const waited = throttledSince(node, before.node);
  t.log([...waited].map(([device, count]) => `${device} ${count}`));
  t.true(waited.size > 0);
  for (const device of waited.keys())
    t.true(holders.includes(device), `${device} held packets too`);
  // Behind the node every time is over.
  t.deepEqual(throttledSince(behind, before.behind), new Map());
  t.true((heldBy(behind).get('beyond')?.packets ?? 0) >= times.length);
  for (const netns of [node, behind])
    for (const [device, { horizonDrops }] of heldBy(netns)) t.is(horizonDrops, 0, device);
}

for (const [name, crossing] of Object.entries(CROSSINGS)) {
  test.serial(
    `${name}: what a pod sends waits once, and nobody behind it waits for its times`,
    async (t) => {
      const { make, frameBytes, holders, exit = 'exit', next = '203.0.113.2' } = crossing;
      await make(t);
      const { node, peer, pods } = scene.bed;
      const far = makeFar(t, peer);
      ipIn(node)(`route add 192.0.2.0/24 via ${next} dev ${exit}`);
      await exitNamed(t, scene, exit);
      const from = pods.get('pod') ?? '';
      await waitsOnce(t, { from, node, behind: peer, far, frameBytes, holders });
    },
  );
}

test.serial(
  'into a pod that forwards: what it is sent waits once, and nobody behind it waits',
  async (t) => {
    t.timeout(300_000);
    const { node, peer, pods } = scene.bed;
    const { attachments } = await askNode(scene.bed, 'list', {});
    const { containerId = '', ifname = '', hostInterface = '' } = attachments[0] ?? {};
    const ingress = { containerId, ifname, direction: 'ingress' } as const;
    t.teardown(async () => {
      await askNode(scene.bed, 'set', { ...ingress, reset: true, changes: {} });
    });
    const changes = { rateBitsPerSec: CAP_MBIT * 1_000_000 };
    t.like((await askNode(scene.bed, 'set', { ...ingress, changes })).after, changes);
    const pod = pods.get('pod') ?? '';
    const far = makeFar(t, pod);
    const route = `192.0.2.0/24 via ${scene.podAddress} dev ${hostInterface}`;
    ipIn(node)(`route add ${route}`);
    t.teardown(() => void ipIn(node)(`route del ${route}`));
    const burst = {
      from: peer,
      node,
      behind: pod,
      far,
      frameBytes: FRAME_BYTES,
      holders: [hostInterface],
    };
    await waitsOnce(t, burst);
  },
);

test.serial(
  'out of a nested node: what its pod sends waits once, and nobody behind it waits',
  async (t) => {
    const { bed } = await makeOwnScene(t, { isNested: true });
    const far = makeFar(t, bed.peer);
    const from = bed.pods.get('pod') ?? '';
    const burst = {
      from,
      node: bed.node,
      behind: bed.peer,
      far,
      frameBytes: FRAME_BYTES,
      holders: ['uplink'],
    };
    await waitsOnce(t, burst);
  },
);
