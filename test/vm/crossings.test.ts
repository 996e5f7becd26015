// What else touches a pod's packets between the pod and the wire: the cap holds whatever that does to their signs.

import test, { type ExecutionContext } from 'ava';
import { inNetns } from '../../helper/kernel/netns.ts';
import { writeSysctl } from '../../helper/kernel/sysctl.ts';
import { capture } from '../../scripts/lib/process.ts';
import { inNamespace } from '../../scripts/measure/testbed.ts';
import { CAP_MBIT, rateOn } from '../kit/exit-scene.ts';
import {
  addPod,
  addUplink,
  makeHelperDirectories,
  paramsOf,
  startHelper,
  type TestHelper,
} from '../kit/helper.ts';
import { makeNetns, type TestNetns } from '../kit/netns.ts';
import { openSender, sendAll, type Flow } from '../kit/udp-load.ts';

const OFFERED_MBIT = 30;
/** The sender has filled its queue by then. */
const SETTLE_MS = 1000;
/** Longer than rateOn counts. */
const LOAD_MS = 4500;
const FOLLOW_MS = 3000;
const CAPS = { egress: { rateBitsPerSec: CAP_MBIT * 1e6 }, ingress: { rateBitsPerSec: CAP_MBIT * 1e6 } };

const [NODE, PEER, FAR, FAR6] = ['198.51.100.1', '198.51.100.2', '203.0.113.2', '2001:db8:9::2'];
const [POD, BRIDGED_POD] = ['10.86.0.2', '198.51.100.9'];

/** Datagrams: nearly a full frame, and several of them, which the pod sends as fragments. */
const FULL_BYTES = 1400;
const LARGE_BYTES = 8000;

interface Scene {
  readonly node: TestNetns;
  readonly pod: TestNetns;
  readonly peer: TestNetns;
  readonly helper: TestHelper;
}

function inTurn({ ip }: TestNetns, commands: readonly string[]): void {
  for (const command of commands) ip(...command.split(' '));
}

function set({ netns }: TestNetns, settings: Readonly<Record<string, string>>): void {
  inNetns(netns, () => {
    for (const [name, value] of Object.entries(settings)) writeSysctl(name, value);
  });
}

/** A node whose pod is routed; the pod's datagrams may be fragmented on their way (RFC 791: no DF). */
async function makeRouted(t: ExecutionContext): Promise<Scene> {
  const [node, pod, peer] = [makeNetns(t), makeNetns(t), makeNetns(t)];
  addPod(node, pod, 'pod0');
  addUplink(node, peer, 'uplink', 4);
  set(node, { 'net/ipv4/ip_forward': '1', 'net/ipv6/conf/all/forwarding': '1' });
  set(pod, { 'net/ipv4/ip_no_pmtu_disc': '1' });
  inTurn(node, [
    'address add 169.254.1.1/32 dev pod0',
    '-6 address add 2001:db8:86::1/64 dev pod0 nodad',
    `route add ${POD}/32 dev pod0`,
    '-6 address add 2001:db8:1::1/64 dev uplink nodad',
  ]);
  inTurn(pod, [
    `address add ${POD}/32 dev eth0`,
    'route add 169.254.1.1 dev eth0',
    'route add default via 169.254.1.1',
    '-6 address add 2001:db8:86::2/64 dev eth0 nodad',
    '-6 route add default via 2001:db8:86::1',
  ]);
  return cap(t, { node, pod, peer });
}

/** A node whose pod is on one bridge with the uplink, and so in one network with the peer. */
async function makeBridged(t: ExecutionContext): Promise<Scene> {
  const [node, pod, peer] = [makeNetns(t), makeNetns(t), makeNetns(t)];
  addPod(node, pod, 'pod0');
  addUplink(node, peer, 'uplink', 4);
  inTurn(node, [
    'link add br0 type bridge',
    'link set uplink master br0',
    'link set pod0 master br0',
    'link set br0 up',
  ]);
  inTurn(pod, [`address add ${BRIDGED_POD}/24 dev eth0`, 'route add 239.0.0.0/8 dev eth0']);
  return cap(t, { node, pod, peer });
}

async function cap(t: ExecutionContext, ends: Omit<Scene, 'helper'>): Promise<Scene> {
  const helper = await startHelper(t, ends.node, makeHelperDirectories(t));
  await helper.ask('attach', paramsOf('pod0', ends.pod, CAPS));
  return { ...ends, helper };
}

/** Mbit/s of frames on each device of a namespace while the pod, or who is named, sends. */
async function ratesWhile(
  t: ExecutionContext,
  on: TestNetns,
  devices: readonly string[],
  flow: Omit<Flow, 'socket'> & { readonly from: TestNetns },
): Promise<number[]> {
  const socket = openSender(t, flow.from.netns, flow.to.includes(':') ? 6 : 4);
  const sent = sendAll([{ ...flow, socket }], LOAD_MS);
  await new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
  const bed = { peer: on.netns.path };
  const rates = await Promise.all(devices.map((device) => rateOn({ bed }, [device])));
  await sent;
  return rates;
}

/** Within one percent, of both sides: a flood uses all of its cap. */
function holds(t: ExecutionContext, mbit: number, expected = CAP_MBIT): void {
  t.log(`${mbit.toFixed(3)} Mbit/s of ${expected}`);
  t.true(mbit <= 1.01 * expected && mbit >= 0.99 * expected, `${mbit} Mbit/s on the wire`);
}

/** Waits until the helper has followed what was changed, and finds nothing wrong. */
async function settle(t: ExecutionContext, { helper }: Scene): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, FOLLOW_MS));
  const { state, problems } = await helper.ask('status', {});
  t.is(state, 'ok', problems.join('; '));
}

/** Where podpace stands at tcx nobody has made it yet. */
function makeClsact({ tc }: TestNetns, device: string): void {
  if (!tc('qdisc', 'show', 'dev', device).includes('clsact')) tc('qdisc', 'add', 'dev', device, 'clsact');
}

/** A way from the routed pod to the wire: commands of `ip` on the node, and where the pod sends to by it. */
interface Crossing {
  readonly commands: readonly string[];
  readonly to: string;
  readonly payloadBytes: number;
  /** Somebody's rules ask for connection tracking, which reassembles datagrams on their way in. */
  readonly isTracked?: true;
  /** Commands of `ip` in the peer that come before all others; {node} is the name of the node's namespace. */
  readonly inPeer?: readonly string[];
  /** The peer's, where not by its uplink. */
  readonly device?: string;
  /** Of the node. */
  readonly settings?: Readonly<Record<string, string>>;
  /** Commands of `tc` on the node, and of `ip` in the pod. */
  readonly tc?: readonly string[];
  readonly inPod?: readonly string[];
}

/** Of a neighbour that need not be there: frames are counted at the peer. */
const FAR_MAC = '02:00:00:00:00:02';

/** An exit of its own, which the pod's packets are routed to by an address in its network. */
function exitOf(link: string, isOfFrames: boolean): Pick<Crossing, 'commands' | 'to' | 'isTracked'> {
  const neighbour = isOfFrames ? [`neigh add ${FAR} lladdr ${FAR_MAC} dev exit`] : [];
  const commands = [
    `link add ${link}`,
    'address add 203.0.113.1/24 dev exit',
    'link set exit up',
    ...neighbour,
  ];
  return { commands, to: FAR, isTracked: true };
}

const VXLAN = `exit mtu 1450 type vxlan id 7 local ${NODE} remote ${PEER} dstport 4789`;

const CROSSINGS: Readonly<Record<string, Crossing>> = {
  'the exit’s MTU below the pod’s, datagrams of 1400 bytes': {
    ...{ commands: ['link set uplink mtu 1300'], to: PEER, payloadBytes: FULL_BYTES },
  },
  'the exit’s MTU below the pod’s, datagrams of 8000 bytes': {
    ...{ commands: ['link set uplink mtu 1300'], to: PEER, payloadBytes: LARGE_BYTES },
  },
  'VXLAN and connection tracking': { ...exitOf(VXLAN, true), payloadBytes: LARGE_BYTES },
  'VXLAN and connection tracking, IPv6': {
    commands: [
      `link add ${VXLAN}`,
      '-6 address add 2001:db8:9::1/64 dev exit nodad',
      'link set exit up',
      `neigh add ${FAR6} lladdr ${FAR_MAC} dev exit`,
    ],
    ...{ to: FAR6, payloadBytes: LARGE_BYTES, isTracked: true },
  },
  'VLAN and connection tracking': {
    ...exitOf('link uplink name exit type vlan id 7', true),
    payloadBytes: LARGE_BYTES,
  },
  'IPIP and connection tracking': {
    ...exitOf(`exit type ipip local ${NODE} remote ${PEER}`, false),
    payloadBytes: LARGE_BYTES,
  },
  'a route leaked into a VRF by device': {
    commands: [
      'link add vrf1 type vrf table 11',
      'link set vrf1 up',
      'link add link uplink name exit type vlan id 8',
      'link set exit master vrf1',
      'address add 203.0.113.1/24 dev exit',
      'link set exit up',
      `neigh add ${FAR} lladdr ${FAR_MAC} dev exit`,
      'route add 203.0.113.0/24 dev vrf1',
    ],
    ...{ to: FAR, payloadBytes: FULL_BYTES },
  },
  'MPLS that the node puts on': {
    commands: [`route add ${FAR}/32 encap mpls 100 via ${PEER} dev uplink`],
    ...{ to: FAR, payloadBytes: FULL_BYTES },
  },
  'nexthop objects that routes name without a device': {
    inPeer: ['link add exit type veth peer name exit netns {node}', 'link set exit up'],
    device: 'exit',
    commands: [
      'address add 203.0.113.1/32 dev exit',
      'link set exit up',
      `nexthop add id 7 via ${FAR} dev exit onlink`,
      'nexthop add id 8 group 7',
      `neigh add ${FAR} lladdr ${FAR_MAC} dev exit`,
      'route add 203.0.113.0/24 nhid 8',
    ],
    ...{ to: FAR, payloadBytes: FULL_BYTES, settings: { 'net/ipv4/nexthop_compat_mode': '0' } },
  },
  'an ifb and back': {
    commands: ['link add ifb1 type ifb', 'link set ifb1 up'],
    tc: ['filter add dev pod0 ingress pref 10 protocol all matchall action mirred egress redirect dev ifb1'],
    ...{ to: PEER, payloadBytes: FULL_BYTES },
  },
  'a VXLAN endpoint of the node, which forwards what comes by it': {
    commands: [
      `link add end type vxlan id 9 local ${NODE} remote ${POD} dstport 4789`,
      'address add 192.0.2.2/24 dev end',
      'link set end up',
      `route add ${FAR} via ${PEER}`,
    ],
    inPod: [
      `link add end mtu 1450 type vxlan id 9 local ${POD} remote ${NODE} dstport 4789`,
      'address add 192.0.2.1/24 dev end',
      'link set end up',
      `route add ${FAR} via 192.0.2.2`,
    ],
    ...{ to: FAR, payloadBytes: 1300 },
  },
};

const TRACKING = `
table inet others {
  chain forwarded { type filter hook forward priority filter; ct state invalid counter; }
}`;

for (const [name, { commands, to, payloadBytes, ...more }] of Object.entries(CROSSINGS)) {
  test.serial(name, async (t) => {
    t.timeout(300_000);
    const scene = await makeRouted(t);
    inTurn(
      scene.peer,
      (more.inPeer ?? []).map((command) => command.replace('{node}', scene.node.name)),
    );
    set(scene.node, more.settings ?? {});
    inTurn(scene.node, commands);
    inTurn(scene.pod, more.inPod ?? []);
    if (more.tc !== undefined) makeClsact(scene.node, 'pod0');
    for (const command of more.tc ?? []) scene.node.tc(...command.split(' '));
    if (more.isTracked) await capture(...inNamespace(scene.node.netns.path, 'nft', TRACKING));
    await settle(t, scene);
    const flow = { from: scene.pod, to, payloadBytes, bitsPerSec: OFFERED_MBIT * 1e6 };
    const [mbit = NaN] = await ratesWhile(t, scene.peer, [more.device ?? 'uplink'], flow);
    holds(t, mbit);
  });
}

/** How one end sends other frames to the other: {device} and {via} are its own device and the other's address on the bridge. */
const FRAMES: Readonly<Record<string, readonly string[]>> = {
  'IP under two VLAN tags': [
    'link add link {device} name outer type vlan proto 802.1ad id 5',
    'link set outer up',
    'link add link outer name inner type vlan id 7',
    'address add {own}/24 dev inner',
    'link set inner up',
    'neigh add {other} lladdr {mac} dev inner',
  ],
  'frames that are no IP (MPLS)': ['route add {other}/32 encap mpls 100 via {via} dev {device}'],
};

interface End {
  readonly netns: TestNetns;
  readonly device: string;
  /** On the bridge, and in the frames. */
  readonly addresses: readonly [string, string];
}

function sendsFrames(commands: readonly string[], from: End, to: End): void {
  const [link] = to.netns.ipJson('link', 'show', 'dev', to.device);
  const values: Readonly<Record<string, string>> = {
    ...{ device: from.device, own: from.addresses[1], via: to.addresses[0], other: to.addresses[1] },
    mac: String(link?.['address']),
  };
  const fill = (command: string) => command.replaceAll(/\{(\w+)\}/g, (_, name: string) => values[name] ?? '');
  inTurn(from.netns, commands.map(fill));
}

for (const [name, commands] of Object.entries(FRAMES)) {
  test.serial(`${name}, out of the pod and into it`, async (t) => {
    t.timeout(300_000);
    const scene = await makeBridged(t);
    const pod: End = { netns: scene.pod, device: 'eth0', addresses: [BRIDGED_POD, '203.0.113.1'] };
    const peer: End = { netns: scene.peer, device: 'uplink', addresses: [PEER, '203.0.113.2'] };
    await settle(t, scene);
    for (const [from, to] of [
      [pod, peer],
      [peer, pod],
    ] as const) {
      sendsFrames(commands, from, to);
      const flow = { payloadBytes: FULL_BYTES, bitsPerSec: OFFERED_MBIT * 1e6 };
      const way = { ...flow, from: from.netns, to: to.addresses[1] };
      const [mbit = NaN] = await ratesWhile(t, to.netns, [to.device], way);
      holds(t, mbit);
    }
  });
}

test.serial('multicast that a bridge copies to five ports is charged once', async (t) => {
  t.timeout(600_000);
  const scene = await makeBridged(t);
  const { node, pod, peer, helper } = scene;
  const ports = ['port1', 'port2', 'port3', 'port4'];
  for (const port of ports) {
    inTurn(node, [
      `link add ${port} type veth peer name ${port} netns ${peer.name}`,
      `link set ${port} master br0`,
      `link set ${port} up`,
    ]);
    inTurn(peer, [`link set ${port} up`]);
  }
  const key = { containerId: 'c-pod0', ifname: 'eth0' };
  await helper.ask('set', { ...key, direction: 'egress', changes: { rateBitsPerSec: 4e6 } });
  await settle(t, scene);
  const flow = { from: pod, to: '239.1.2.3' };
  const all = ['uplink', ...ports];
  const below = await ratesWhile(t, peer, all, { ...flow, bitsPerSec: 3e6 });
  for (const [place, mbit] of below.entries()) {
    t.log(`${all[place]}: ${mbit.toFixed(3)} Mbit/s of 3 sent`);
    t.true(Math.abs(mbit - 3) <= 0.05, `${all[place]}: ${mbit} Mbit/s`);
  }
  for (const mbit of await ratesWhile(t, peer, all, { ...flow, bitsPerSec: 12e6 })) holds(t, mbit, 4);
});
