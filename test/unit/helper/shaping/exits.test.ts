import test from 'ava';
import {
  devicesWithoutProgram,
  findExits,
  isUpper,
  type Exit,
  type NodeDevices,
} from '../../../../helper/shaping/exits.ts';
import type { Link } from '../../../../helper/kernel/links.ts';
import type { Route } from '../../../../helper/kernel/routes.ts';
import { reachesOf } from '../../../kit/route-briefs.ts';

function link(index: number, name: string, rest: Partial<Link> = {}): Link {
  return {
    ...{
      index,
      name,
      mtu: 1500,
      mac: '',
      up: true,
      loopback: name === 'lo',
      numTxQueues: 1,
      numRxQueues: 1,
    },
    ...{ gsoMaxSizeBytes: 65_536, gsoMaxSegs: 65_535, ...rest },
  };
}

function route(destination: string, ifindex: number, rest: Partial<Route> = {}): Route {
  return { destination, ifindex, table: 254, type: 1, ...rest };
}

function exitsOf({
  routes = [],
  ...node
}: Partial<NodeDevices> & { readonly routes?: readonly Route[] }): readonly Exit[] {
  return findExits({
    ...{ links: [], hostInterfaces: new Set(), uplinks: ['auto'], equipped: new Set() },
    ...{ ...node, reaches: reachesOf(routes) },
  }).exits;
}

const names = (exits: readonly Exit[]): string[] => exits.map(({ name }) => name);

const ETH0 = link(2, 'eth0', { numTxQueues: 4, mac: '02:00:00:00:00:02' });
const DEFAULT = route('0.0.0.0/0', 2, { gateway: '192.0.2.1' });
const POD = link(10, 'pod10', { kind: 'veth', linkIndex: 2, linkNetnsId: 0 });

test('a device is an exit when a route leads to it, of either family and in any table but the local one', (t) => {
  const links = [
    link(1, 'lo'),
    ETH0,
    link(3, 'eth1'),
    link(4, 'eth2'),
    link(5, 'eth3'),
    link(6, 'eth4'),
  ];
  const routes = [
    DEFAULT,
    route('::/0', 3),
    route('198.51.100.0/24', 4, { table: 77 }),
    route('192.0.2.2/32', 5, { table: 255, type: 2 }),
    route('fe80::/64', 6),
    route('127.0.0.0/8', 1),
  ];
  const exits = exitsOf({ links, routes });
  t.deepEqual(names(exits), ['eth0', 'eth1', 'eth2']);
  t.true(exits.every(({ role, holders, ifindex }) => role === 'uplink' && holders[0] === ifindex));
  t.false(exits.some(isUpper));
});

test('every device of a route with several next hops is an exit', (t) => {
  const { ifindex: _one, ...several } = route('0.0.0.0/0', 0, { nextHopIndexes: [2, 3] });
  t.deepEqual(names(exitsOf({ links: [ETH0, link(3, 'eth1')], routes: [several] })), [
    'eth0',
    'eth1',
  ]);
});

test('routes that lead nowhere, dummies and devices that are down are no exits', (t) => {
  const links = [ETH0, link(3, 'kube-ipvs0', { kind: 'dummy' }), link(4, 'eth1', { up: false })];
  const routes = [
    route('0.0.0.0/0', 2, { type: 7 }),
    route('10.0.0.1/32', 3),
    route('10.1.0.0/16', 4),
  ];
  t.deepEqual(exitsOf({ links, routes }), []);
});

test('a device that was an exit before stays one while it is down or has no route, but not beside named ones', (t) => {
  const links = [link(2, 'eth0', { up: false }), link(3, 'eth1')];
  const node = { links, equipped: new Set([2, 3]) };
  t.deepEqual(names(exitsOf(node)), ['eth0', 'eth1']);
  t.deepEqual(names(exitsOf({ ...node, uplinks: ['eth1'] })), ['eth1']);
});

test('tunnels and VLANs are exits of their own, charged with what they add', (t) => {
  const kinds = ['vxlan', 'geneve', 'ipip', 'wireguard', 'vlan'];
  const links = [ETH0, ...kinds.map((kind, index) => link(20 + index, kind, { kind, mtu: 1420 }))];
  const routes = [DEFAULT, ...kinds.map((_, index) => route(`10.${index}.0.0/16`, 20 + index))];
  const exits = exitsOf({ links, routes });
  t.deepEqual(
    exits.slice(1).map(({ overhead }) => overhead?.frameBytes),
    [50, 50, 34, 74, 4],
  );
  t.true(exits.slice(1).every(isUpper));
  t.deepEqual(exits.find(({ kind }) => kind === 'wireguard')?.overhead, {
    frameBytes: 74,
    align: 16,
    mtu: 1420,
  });
  const overIpv6 = link(20, 'vxlan', { kind: 'vxlan', tunnel: { isOuterIpv6: true } });
  t.is(
    exitsOf({ links: [overIpv6], routes: [route('10.0.0.0/16', 20)] })[0]?.overhead?.frameBytes,
    70,
  );
});

test('a bond or team is one exit whose slaves hold the packets', (t) => {
  for (const kind of ['bond', 'team']) {
    const slaves = [3, 4].map((index) =>
      link(index, `eth${index}`, { masterIndex: 2, numTxQueues: 4 }),
    );
    const exits = exitsOf({ links: [link(2, 'bond0', { kind }), ...slaves], routes: [DEFAULT] });
    t.deepEqual(names(exits), ['bond0']);
    t.like(exits[0], { role: 'uplink', kind, holders: [3, 4] });
    t.true(isUpper(exits[0]!));
  }
});

test('a bridge with the default route hands on to its ports, which are exits themselves', (t) => {
  const bridge = link(2, 'br0', { kind: 'bridge' });
  const bond = link(5, 'bond0', { kind: 'bond', masterIndex: 2 });
  const links = [
    bridge,
    link(3, 'eth0', { masterIndex: 2 }),
    bond,
    link(6, 'eth1', { masterIndex: 5 }),
  ];
  const exits = exitsOf({ links, routes: [DEFAULT] });
  t.deepEqual(names(exits), ['br0', 'eth0', 'bond0']);
  t.like(exits[0], { role: 'uplink', holders: [3, 6] });
  t.like(exits[2], { holders: [6] });
});

test('the ways to other pods are exits: their routes, or the ports of a bridge with a capped pod', (t) => {
  const routed = exitsOf({ links: [ETH0, POD], routes: [DEFAULT, route('10.2.0.9/32', 10)] });
  t.like(routed[1], { name: 'pod10', role: 'pod', holders: [10] });
  const ports = [11, 12].map((index) =>
    link(index, `pod${index}`, { kind: 'veth', linkNetnsId: index, masterIndex: 9 }),
  );
  const links = [ETH0, link(9, 'cni0', { kind: 'bridge' }), ...ports];
  const bridged = { links, routes: [DEFAULT], hostInterfaces: new Set([11]) };
  t.deepEqual(names(exitsOf(bridged)), ['eth0', 'pod11', 'pod12']);
  const gateway = exitsOf({ ...bridged, routes: [DEFAULT, route('10.3.0.0/16', 9)] });
  t.like(
    gateway.find(({ name }) => name === 'cni0'),
    { role: 'bridge', holders: [11, 12] },
  );
});

test('named uplinks are the only ways off the node; those to its pods stay', (t) => {
  const links = [ETH0, link(3, 'eth1'), POD];
  const routes = [DEFAULT, route('10.0.0.0/8', 3), route('10.2.0.9/32', 10)];
  const exits = exitsOf({ links, routes, uplinks: ['eth1'] });
  t.deepEqual(
    exits.map(({ name, role }) => [name, role]),
    [
      ['eth1', 'uplink'],
      ['pod10', 'pod'],
    ],
  );
  const slave = link(30, 'eth9', { masterIndex: 31 });
  const others = [
    slave,
    link(31, 'bond0', { kind: 'bond' }),
    link(32, 'dummy0', { kind: 'dummy' }),
  ];
  const { unusable } = findExits({
    ...{
      links: [...links, ...others],
      reaches: reachesOf(routes),
      hostInterfaces: new Set(),
      equipped: new Set(),
    },
    uplinks: ['eth1', 'absent', 'eth9', 'bond0', 'dummy0', 'auto'],
  });
  t.deepEqual(unusable, [
    'The uplink "absent" is not there',
    '"eth9" can be no uplink: it is a slave: name its bond or team',
    '"dummy0" can be no uplink: nothing leaves the node by a device of the kind dummy',
  ]);
});

test('by a device without a program something may leave: not by one below an exit, nor by one that leads nowhere', (t) => {
  const links = [
    ...[link(1, 'lo'), ETH0, link(3, 'eth1'), POD, link(4, 'dummy0', { kind: 'dummy' })],
    ...[link(5, 'ifb0', { kind: 'ifb' }), link(6, 'bond0', { kind: 'bond' })],
    ...[link(7, 'eth2', { masterIndex: 6 }), link(8, 'eth3', { masterIndex: 6 })],
    // A VLAN on a bond that has no route itself, and a pair of which one end is an exit.
    ...[
      link(9, 'bond0.5', { kind: 'vlan', linkIndex: 6 }),
      link(20, 'pair', { kind: 'veth', linkIndex: 21 }),
    ],
    ...[
      link(21, 'riap', { kind: 'veth', linkIndex: 20 }),
      link(22, 'pod22', { kind: 'veth', linkNetnsId: 1 }),
    ],
    // Of a device that was moved here the one below is elsewhere.
    link(23, 'vlan', { kind: 'vlan', linkIndex: 3, linkNetnsId: 2 }),
  ];
  const exits = [2, 9, 20, 23].map((ifindex) => ({ ifindex, holders: [ifindex] }));
  t.deepEqual(devicesWithoutProgram(links, exits, new Set([POD.index])), ['eth1', 'riap', 'pod22']);
});

test('uplinks that are named are compared with where routes lead', (t) => {
  const bridge = (index: number, name: string) => link(index, name, { kind: 'bridge' });
  const links = [
    ...[link(1, 'lo'), ETH0, link(3, 'eth1'), link(4, 'eth2'), POD, link(5, 'eth3', { up: false })],
    ...[link(6, 'dummy0', { kind: 'dummy' }), bridge(7, 'docker0'), bridge(8, 'virbr0')],
    link(9, 'tap0', { kind: 'tun', masterIndex: 8 }),
  ];
  const routes = [DEFAULT, route('10.2.0.9/32', 10)];
  for (const index of [3, 5, 6, 7, 8]) routes.push(route(`10.${index}.0.0/16`, index));
  const node = {
    links,
    reaches: reachesOf(routes),
    hostInterfaces: new Set<number>(),
    equipped: new Set<number>(),
  };
  // docker0 has no port to send by, eth3 is down, nothing leaves by dummy0, and pods are exits
  // whatever is named.
  t.like(findExits({ ...node, uplinks: ['eth0', 'eth2'] }), {
    unnamed: ['eth1', 'virbr0'],
    unrouted: ['eth2'],
  });
  t.like(findExits({ ...node, uplinks: ['auto'] }), { unnamed: [], unrouted: [] });
  const named = findExits({ ...node, uplinks: ['eth0', 'eth1', 'virbr0', 'tap0', 'absent'] });
  t.like(named, { unnamed: [], unrouted: [] });
});

test('a VRF that routes are leaked into is no exit, and its devices are', (t) => {
  const vrf = link(20, 'vrf1', { kind: 'vrf' });
  const links = [
    ETH0,
    vrf,
    link(21, 'eth1', { masterIndex: 20 }),
    link(22, 'eth2', { masterIndex: 20 }),
  ];
  const routes = [
    ...[DEFAULT, route('10.0.0.0/8', 20), route('10.1.0.0/16', 21, { table: 11 })],
    route('0.0.0.0/0', 22, { table: 11 }),
  ];
  const exits = exitsOf({ links, routes });
  t.deepEqual(names(exits), ['eth0', 'eth1', 'eth2']);
  t.false(exits.some(isUpper));
});

// As `ip -d link` of Linux 6.12 shows them, with Open vSwitch 3.1: `ovs-vsctl add-br br0`,
// `add-port br0 eth0`, `add-br br1`.
test('a bridge of Open vSwitch has its packets held by the ports, whose master is the datapath', (t) => {
  const kind = 'openvswitch';
  const br0 = link(5, 'br0', { kind });
  const links = [
    link(3, 'eth0', { masterIndex: 4, numTxQueues: 4 }),
    link(4, 'ovs-system', { kind, up: false }),
    ...[br0, link(6, 'br1', { kind, up: false })],
  ];
  const [eth0, bridge, ...others] = exitsOf({ links, routes: [route('0.0.0.0/0', 5)] });
  t.like(eth0, { name: 'eth0', holders: [3] });
  t.like(bridge, { name: 'br0', role: 'uplink', holders: [3] });
  t.deepEqual(others, []);
  t.true(isUpper(bridge!));
  const tunnel = link(7, 'vxlan_sys_4789', { kind: 'vxlan', masterIndex: 4 });
  const routes = [route('10.0.0.0/8', 5)];
  const holdersIn = (all: readonly Link[]) =>
    exitsOf({ links: all, routes }).find(({ name }) => name === 'br0')?.holders;
  t.deepEqual(holdersIn([...links, tunnel]), [3, 7]);
  t.deepEqual(holdersIn([br0]), []);
});
