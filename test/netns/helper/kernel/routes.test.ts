import test from 'ava';
import { addAddress } from '../../../../helper/kernel/addresses.ts';
import { KernelError } from '../../../../helper/wire/errors.ts';
import { addRoute, deviceTowards, listRoutes } from '../../../../helper/kernel/routes.ts';
import type { Route } from '../../../../helper/kernel/routes.ts';
import { addPair, makeNetns } from '../../../kit/netns.ts';
import type { TestNetns } from '../../../kit/netns.ts';

/** A pair, of which `left` has the addresses 10.0.0.2/24 and fd00::2/64. */
async function addPairWithAddresses(netns: TestNetns): Promise<number> {
  const ifindex = await addPair(netns);
  await addAddress(netns.rt, { ifindex, address: '10.0.0.2', prefixLength: 24 });
  await addAddress(netns.rt, { ifindex, address: 'fd00::2', prefixLength: 64, noDad: true });
  return ifindex;
}

test('addRoute adds what ip then shows', async (t) => {
  const netns = makeNetns(t);
  const ifindex = await addPairWithAddresses(netns);
  const { rt, ipJson } = netns;
  await addRoute(rt, {
    destination: '0.0.0.0/0',
    gateway: '10.0.0.1',
    table: 254,
    mtu: 1400,
    advmss: 1360,
  });
  await addRoute(rt, { destination: '::/0', gateway: 'fd00::1', table: 254, priority: 77 });
  await addRoute(rt, { destination: '169.254.1.1/32', ifindex, table: 254, source: '10.0.0.2' });
  await addRoute(rt, {
    destination: '192.0.2.0/24',
    gateway: '198.51.100.1',
    ifindex,
    onlink: true,
    table: 1000,
  });
  await addRoute(rt, { destination: '198.51.100.0/24', gateway: 'fd00::1', ifindex, table: 254 });
  t.like(ipJson('route', 'show', 'default')[0], {
    gateway: '10.0.0.1',
    dev: 'left',
    metrics: [{ mtu: 1400, advmss: 1360 }],
  });
  t.like(ipJson('-6', 'route', 'show', 'default')[0], { gateway: 'fd00::1', metric: 77 });
  t.like(ipJson('route', 'show', '169.254.1.1')[0], {
    dev: 'left',
    scope: 'link',
    prefsrc: '10.0.0.2',
  });
  t.like(ipJson('route', 'show', 'table', '1000')[0], { dst: '192.0.2.0/24', flags: ['onlink'] });
  t.like(ipJson('route', 'show', '198.51.100.0/24')[0], {
    via: { family: 'inet6', host: 'fd00::1' },
  });
});

test('listRoutes gives what was added', async (t) => {
  const netns = makeNetns(t);
  const ifindex = await addPairWithAddresses(netns);
  const routes: Route[] = [
    {
      destination: '0.0.0.0/0',
      gateway: '10.0.0.1',
      ifindex,
      table: 1000,
      mtu: 1400,
      scope: 0,
      type: 1,
    },
    {
      destination: '172.16.0.0/12',
      ifindex,
      table: 1000,
      priority: 5,
      scope: 253,
      type: 1,
      source: '10.0.0.2',
    },
    {
      destination: 'fd01::/48',
      gateway: 'fd00::1',
      ifindex,
      table: 1000,
      priority: 9,
      scope: 0,
      type: 1,
    },
    {
      destination: '203.0.113.0/24',
      gateway: '198.51.100.1',
      ifindex,
      onlink: true,
      table: 1000,
      scope: 0,
      type: 1,
    },
  ];
  for (const route of routes) await addRoute(netns.rt, route);
  const listed = await listRoutes(netns.rt, { table: 1000 });
  for (const route of routes)
    t.deepEqual(
      listed.find(({ destination }) => destination === route.destination),
      route,
    );
  t.is(listed.length, routes.length);
});

test('listRoutes gives as many of each family and table as ip', async (t) => {
  const netns = makeNetns(t);
  await addPairWithAddresses(netns);
  const all = await listRoutes(netns.rt);
  const ipv4 = netns.ipJson('-4', 'route', 'show', 'table', 'all').length;
  const ipv6 = netns.ipJson('-6', 'route', 'show', 'table', 'all').length;
  t.is((await listRoutes(netns.rt, { family: 4 })).length, ipv4);
  t.is((await listRoutes(netns.rt, { family: 6 })).length, ipv6);
  t.is(all.length, ipv4 + ipv6);
  t.is(
    (await listRoutes(netns.rt, { family: 4, table: 254 })).length,
    netns.ipJson('route').length,
  );
  t.deepEqual(await listRoutes(netns.rt, { table: 4711 }), []);
});

test('listRoutes gives default routes alone when it is asked for them', async (t) => {
  const netns = makeNetns(t);
  await addPairWithAddresses(netns);
  const isDefault = { gateway: '10.0.0.1', table: 254 };
  await addRoute(netns.rt, { destination: '0.0.0.0/0', ...isDefault });
  await addRoute(netns.rt, { destination: '198.51.100.0/24', ...isDefault });
  const listed = await listRoutes(netns.rt, { isDefault: true });
  t.like(listed, { length: 1, 0: { destination: '0.0.0.0/0', gateway: '10.0.0.1' } });
});

test('listRoutes gives of several next hops the devices', async (t) => {
  const netns = makeNetns(t);
  const ifindex = await addPairWithAddresses(netns);
  netns.ip(
    'route',
    'add',
    '192.0.2.0/24',
    'nexthop',
    'via',
    '10.0.0.3',
    'nexthop',
    'via',
    '10.0.0.4',
  );
  const route = (await listRoutes(netns.rt, { family: 4 })).find(
    ({ destination }) => destination === '192.0.2.0/24',
  );
  const nextHopIndexes = [ifindex, ifindex];
  t.deepEqual(route, {
    destination: '192.0.2.0/24',
    table: 254,
    scope: 0,
    type: 1,
    nextHopIndexes,
  });
});

test('addRoute says EEXIST, ENODEV and ENETUNREACH, and names the route', async (t) => {
  const netns = makeNetns(t);
  const ifindex = await addPairWithAddresses(netns);
  const route = { destination: '192.0.2.0/24', ifindex, table: 254 };
  await addRoute(netns.rt, route);
  const faults = [
    ['EEXIST', route],
    ['ENODEV', { ...route, ifindex: 4711 }],
    ['ENETUNREACH', { ...route, gateway: '203.0.113.1', destination: '10.9.0.0/16' }],
  ] as const;
  for (const [errno, faulty] of faults) {
    const error = await t.throwsAsync(addRoute(netns.rt, faulty), { instanceOf: KernelError });
    t.is(error?.errno, errno);
    t.true(error?.message.includes(faulty.destination));
  }
});

test('deviceTowards says which device packets to an address leave by, of either family', async (t) => {
  const netns = makeNetns(t);
  const ifindex = await addPairWithAddresses(netns);
  const { rt, ip } = netns;
  t.is(await deviceTowards(rt, '10.0.0.9'), ifindex);
  t.is(await deviceTowards(rt, 'fd00::9'), ifindex);
  await t.throwsAsync(deviceTowards(rt, '192.0.2.9'), { instanceOf: KernelError });
  ip('rule', 'add', 'fwmark', '7', 'lookup', '77');
  ip('route', 'add', '192.0.2.0/24', 'dev', 'left', 'table', '77');
  t.is(await deviceTowards(rt, '192.0.2.9', 7), ifindex);
});
