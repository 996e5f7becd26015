import test from 'ava';
import { addAddress, listAddresses } from '../../../../helper/kernel/addresses.ts';
import { KernelError } from '../../../../helper/wire/errors.ts';
import { listRoutes } from '../../../../helper/kernel/routes.ts';
import { addPair, makeNetns } from '../../../kit/netns.ts';

test('addAddress adds what ip then shows', async (t) => {
  const netns = makeNetns(t);
  const ifindex = await addPair(netns);
  await addAddress(netns.rt, { ifindex, address: '10.0.0.2', prefixLength: 24 });
  await addAddress(netns.rt, { ifindex, address: 'fd00::2', prefixLength: 64, noDad: true });
  await addAddress(netns.rt, { ifindex, address: '169.254.1.1', prefixLength: 32, scope: 253 });
  const infos = netns.ipJson('address', 'show', 'left')[0]?.['addr_info'] as Record<
    string,
    unknown
  >[];
  t.is(infos.length, 3);
  t.like(
    infos.find(({ local }) => local === '10.0.0.2'),
    { prefixlen: 24, scope: 'global' },
  );
  t.like(
    infos.find(({ local }) => local === '169.254.1.1'),
    { prefixlen: 32, scope: 'link' },
  );
  t.like(
    infos.find(({ local }) => local === 'fd00::2'),
    { prefixlen: 64, nodad: true },
  );
});

test('addAddress can leave the route to the prefix out', async (t) => {
  const netns = makeNetns(t);
  const ifindex = await addPair(netns);
  await addAddress(netns.rt, {
    ifindex,
    address: '10.0.0.2',
    prefixLength: 24,
    noPrefixRoute: true,
  });
  await addAddress(netns.rt, { ifindex, address: '10.1.0.2', prefixLength: 24 });
  const routes = await listRoutes(netns.rt, { family: 4, table: 254 });
  t.deepEqual(
    routes.map(({ destination }) => destination),
    ['10.1.0.0/24'],
  );
});

test('listAddresses gives what ip shows, of one interface or of all', async (t) => {
  const netns = makeNetns(t);
  const ifindex = await addPair(netns);
  netns.ip('link', 'set', 'lo', 'up');
  netns.ip('address', 'add', '10.0.0.1', 'peer', '10.0.0.2/32', 'dev', 'left');
  netns.ip('address', 'add', 'fd00::0:1/64', 'dev', 'left', 'nodad');
  const expected = [
    { ifindex, address: '10.0.0.1', prefixLength: 32 },
    { ifindex, address: 'fd00::1', prefixLength: 64 },
  ];
  t.deepEqual(await listAddresses(netns.rt, ifindex), expected);
  const all = await listAddresses(netns.rt);
  t.is(all.length, 4);
  t.true(all.some(({ address }) => address === '::1'));
  for (const address of expected) t.true(all.some((other) => other.address === address.address));
});

test('addAddress says EEXIST for one that is there, ENODEV for no interface', async (t) => {
  const netns = makeNetns(t);
  const ifindex = await addPair(netns);
  const address = { ifindex, address: '10.0.0.2', prefixLength: 24 };
  await addAddress(netns.rt, address);
  const twice = await t.throwsAsync(addAddress(netns.rt, address), {
    instanceOf: KernelError,
    message: /10.0.0.2\/24/,
  });
  t.is(twice?.errno, 'EEXIST');
  const gone = await t.throwsAsync(addAddress(netns.rt, { ...address, ifindex: 4711 }), {
    message: /interface 4711/,
  });
  t.is((gone as KernelError).errno, 'ENODEV');
});

test('listAddresses says ENODEV for no interface', async (t) => {
  const { rt } = makeNetns(t);
  const error = await t.throwsAsync(listAddresses(rt, 4711), {
    instanceOf: KernelError,
    message: /4711/,
  });
  t.is(error?.errno, 'ENODEV');
});
