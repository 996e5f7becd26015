import test from 'ava';
import { inNetns } from '../../../../helper/kernel/netns.ts';
import type { RtSocket } from '../../../../helper/kernel/rtnetlink.ts';
import { writeSysctl } from '../../../../helper/kernel/sysctl.ts';
import { observeExits, type ObservedExits } from '../../../../helper/control/observe.ts';
import { OuterWatch } from '../../../../helper/control/outer-watch.ts';
import { RouteWatch } from '../../../../helper/control/route-watch.ts';
import { makeNetns } from '../../../kit/netns.ts';

function addDevice(ip: (...args: string[]) => string, name: string, address: string): void {
  ip('link', 'add', name, 'type', 'veth', 'peer', 'name', `${name}-far`);
  for (const each of [name, `${name}-far`]) ip('link', 'set', each, 'up');
  ip('address', 'add', address, 'dev', name);
}

const exitsOf = (rt: RtSocket, known: Parameters<typeof observeExits>[1]): Promise<ObservedExits> =>
  observeExits({ rt, routes: RouteWatch.of(rt) }, known);

const KNOWN = { hostInterfaces: new Set<number>(), equipped: new Set<number>() };

function namesOf({ exits }: ObservedExits): string[] {
  return exits.map(({ name, role }) => `${name} ${role}`).toSorted();
}

test('exits are found by the routes of either family and of all tables', async (t) => {
  const { ip, rt } = makeNetns(t);
  const auto = { ...KNOWN, uplinks: ['auto'] };
  ip('link', 'set', 'lo', 'up');
  t.deepEqual(namesOf(await exitsOf(rt, auto)), []);
  addDevice(ip, 'one', '192.0.2.1/24');
  addDevice(ip, 'two', '2001:db8::1/64');
  addDevice(ip, 'three', '198.51.100.1/24');
  addDevice(ip, 'four', '203.0.113.1/24');
  ip('route', 'flush', 'dev', 'four');
  ip('route', 'add', 'default', 'via', '192.0.2.2');
  ip('-6', 'route', 'add', 'default', 'via', '2001:db8::2', 'dev', 'two');
  ip('-6', 'route', 'add', 'unreachable', 'default', 'metric', '99999');
  ip('route', 'add', 'default', 'via', '198.51.100.2', 'table', '77');
  t.deepEqual(namesOf(await exitsOf(rt, auto)), ['one uplink', 'three uplink', 'two uplink']);
});

test('both devices of a multipath route are exits', async (t) => {
  const { ip, rt } = makeNetns(t);
  addDevice(ip, 'one', '192.0.2.1/24');
  addDevice(ip, 'two', '198.51.100.1/24');
  for (const dev of ['one', 'two']) ip('route', 'flush', 'dev', dev);
  ip('route', 'add', 'default', 'nexthop', 'dev', 'one', 'nexthop', 'dev', 'two');
  const found = await exitsOf(rt, { ...KNOWN, uplinks: ['auto'] });
  t.deepEqual(namesOf(found), ['one uplink', 'two uplink']);
});

test('devices are exits that nexthop objects, groups and resilient groups lead to, also where routes name none', async (t) => {
  const { ip, rt, netns } = makeNetns(t);
  inNetns(netns, () => writeSysctl('net/ipv4/nexthop_compat_mode', '0'));
  ip('link', 'set', 'lo', 'up');
  const names = ['single', 'member', 'resilient', 'table', 'six'];
  for (const [at, name] of names.entries()) {
    addDevice(ip, name, `192.0.2.${at}/32`);
    ip('route', 'flush', 'dev', name);
    const family = name === 'six' ? ['-6'] : [];
    ip(...family, 'nexthop', 'add', 'id', String(at + 1), 'dev', name);
  }
  ip('nexthop', 'add', 'id', '12', 'group', '2');
  ip('nexthop', 'add', 'id', '13', 'group', '3', 'type', 'resilient', 'buckets', '8');
  ip('nexthop', 'add', 'id', '14', 'blackhole');
  t.deepEqual(namesOf(await exitsOf(rt, { ...KNOWN, uplinks: ['auto'] })), []);
  ip('route', 'add', 'default', 'nhid', '1');
  ip('route', 'add', '198.51.100.0/24', 'nhid', '12');
  ip('route', 'add', '203.0.113.0/24', 'nhid', '13');
  ip('route', 'add', '203.0.113.0/24', 'nhid', '4', 'table', '77');
  ip('route', 'add', '203.0.113.7/32', 'nhid', '14');
  ip('-6', 'route', 'add', '2001:db8:7::/48', 'nhid', '5');
  const found = namesOf(await exitsOf(rt, { ...KNOWN, uplinks: ['auto'] }));
  t.deepEqual(found, names.map((name) => `${name} uplink`).toSorted());
});

test('named uplinks are taken as they are, and those that are not there are told', async (t) => {
  const { ip, rt } = makeNetns(t);
  addDevice(ip, 'one', '192.0.2.1/24');
  const found = await exitsOf(rt, { ...KNOWN, uplinks: ['one', 'absent', 'lo'] });
  t.deepEqual(namesOf(found), ['one uplink']);
  t.deepEqual(found.unusable, [
    'The uplink "absent" is not there',
    '"lo" can be no uplink: it is the loopback device',
  ]);
});

test('a tunnel whose far end is routed into another is charged for both, for as long as that is so', async (t) => {
  const { ip, rt } = makeNetns(t);
  addDevice(ip, 'one', '192.0.2.1/24');
  ip('route', 'add', 'default', 'via', '192.0.2.2');
  for (const [name, far, address] of [
    ['below', '192.0.2.2', '198.51.100.1/24'],
    ['exit', '198.51.100.2', '203.0.113.1/24'],
  ] as const) {
    ip(
      'link',
      'add',
      name,
      'type',
      'vxlan',
      'id',
      name === 'exit' ? '7' : '8',
      'remote',
      far,
      'dstport',
      '4789',
    );
    ip('address', 'add', address, 'dev', name);
    ip('link', 'set', name, 'up');
  }
  const bytesOf = async (): Promise<(number | undefined)[]> => {
    const node = { rt, routes: RouteWatch.of(rt), outer: new OuterWatch(rt) };
    const { exits } = await observeExits(node, { ...KNOWN, uplinks: ['auto'] });
    return ['exit', 'below', 'one'].map(
      (name) => exits.find((exit) => exit.name === name)?.overhead?.frameBytes,
    );
  };
  t.deepEqual(await bytesOf(), [100, 50, undefined]);
  ip('route', 'add', '198.51.100.2/32', 'via', '192.0.2.2');
  t.deepEqual(await bytesOf(), [50, 50, undefined]);
});
