// Requests without the event loop, beside those with it.

import { execFileSync } from 'node:child_process';
import test from 'ava';
import { addAddress, listAddresses } from '../../../../helper/kernel/addresses.ts';
import { openBlockingRt } from '../../../../helper/kernel/blocking-rt.ts';
import {
  changeLink,
  createVethPair,
  findLink,
  listLinks,
} from '../../../../helper/kernel/links.ts';
import { listRoutes } from '../../../../helper/kernel/routes.ts';
import { nameByIdleSocket } from '../../../kit/idle-socket.ts';
import { makeNetns, openDescriptors } from '../../../kit/netns.ts';

const ROUTES = 20_000;

test('a list of 20,000 routes comes whole', async (t) => {
  const { name, netns, ip } = makeNetns(t);
  ip('link', 'set', 'lo', 'up');
  const expected = Array.from(
    { length: ROUTES },
    (_, n) => `10.${n >>> 16}.${(n >>> 8) & 0xff}.${n & 0xff}/32`,
  );
  const commands = expected.map((destination) => `route add ${destination} dev lo`).join('\n');
  execFileSync('ip', ['-n', name, '-b', '-'], { input: commands });
  const rt = openBlockingRt(netns);
  t.teardown(() => rt.close());
  const routes = await listRoutes(rt, { family: 4, table: 254 });
  t.deepEqual(routes.map(({ destination }) => destination).sort(), expected.sort());
});

test('it finds, lists and changes what the other socket does', async (t) => {
  const { netns, rt } = makeNetns(t);
  const blocking = openBlockingRt(netns);
  t.teardown(() => blocking.close());
  await createVethPair(blocking, { name: 'left', mtu: 1400, peer: { name: 'right' } });
  const left = await findLink(rt, { name: 'left' });
  t.is(left?.mtu, 1400);
  t.deepEqual(await findLink(blocking, { name: 'left' }), left);
  await changeLink(blocking, left?.index ?? 0, { up: true });
  const address = { ifindex: left?.index ?? 0, address: '10.0.0.1', prefixLength: 24 };
  await addAddress(blocking, address);
  const [links, others, addresses] = await Promise.all([
    listLinks(blocking),
    listLinks(rt),
    listAddresses(blocking),
  ]);
  t.deepEqual(links, others);
  t.deepEqual(addresses, await listAddresses(rt));
  t.is(await findLink(blocking, { name: 'none' }), undefined);
  const exists = await t.throwsAsync(addAddress(blocking, address));
  const told = await t.throwsAsync(addAddress(rt, address));
  t.is(exists.message, told.message);
});

test('it stays in the namespace that it was opened in, and refuses requests once closed', async (t) => {
  const { netns, ip } = makeNetns(t);
  ip('link', 'add', 'left', 'type', 'veth', 'peer', 'name', 'right');
  const rt = openBlockingRt(netns);
  const names = (await listLinks(rt)).map(({ name }) => name).sort();
  t.deepEqual(names, ['left', 'lo', 'right']);
  rt.close();
  rt.close();
  await t.throwsAsync(listLinks(rt), { message: /EBADF/ });
});

test.serial('it leaves no descriptor behind', async (t) => {
  const { netns } = makeNetns(t);
  const before = openDescriptors();
  for (let round = 0; round < 100; round++) {
    const rt = openBlockingRt(netns);
    if (round % 2 === 0) await listLinks(rt);
    rt.close();
  }
  t.is(openDescriptors(), before);
});

test('an idle socket does not keep a process alive', (t) => {
  t.is(nameByIdleSocket('blocking-rt.ts', 'openBlockingRt'), 'lo\n');
});
