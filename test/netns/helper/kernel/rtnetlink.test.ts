import { execFileSync } from 'node:child_process';
import { setImmediate as turn } from 'node:timers/promises';
import test from 'ava';
import { listAddresses } from '../../../../helper/kernel/addresses.ts';
import { changeLink, findLink, listLinks } from '../../../../helper/kernel/links.ts';
import { listRoutes } from '../../../../helper/kernel/routes.ts';
import { openRt } from '../../../../helper/kernel/open-rt.ts';
import { nameByIdleSocket } from '../../../kit/idle-socket.ts';
import { makeNetns, openDescriptors } from '../../../kit/netns.ts';

const ROUTES = 20_000;

test('a list of 20,000 routes comes whole, though it takes hundreds of reads', async (t) => {
  const { name, rt, ip } = makeNetns(t);
  ip('link', 'set', 'lo', 'up');
  const expected = Array.from(
    { length: ROUTES },
    (_, n) => `10.${n >>> 16}.${(n >>> 8) & 0xff}.${n & 0xff}/32`,
  );
  const commands = expected.map((destination) => `route add ${destination} dev lo`).join('\n');
  execFileSync('ip', ['-n', name, '-b', '-'], { input: commands });
  const routes = await listRoutes(rt, { family: 4, table: 254 });
  t.deepEqual(routes.map(({ destination }) => destination).sort(), expected.sort());
});

test('requests made at once are answered each with its own', async (t) => {
  const { rt } = makeNetns(t);
  const answers = await Promise.all([
    findLink(rt, { name: 'lo' }),
    listLinks(rt),
    findLink(rt, { name: 'none' }),
    listAddresses(rt),
    findLink(rt, { index: 1 }),
    changeLink(rt, 1, { up: true }),
    listAddresses(rt),
  ]);
  t.is(answers[0]?.index, 1);
  t.is(answers[1].length, 1);
  t.is(answers[2], undefined);
  t.deepEqual(answers[3], []);
  t.is(answers[4]?.name, 'lo');
  t.deepEqual(answers[6].map(({ address }) => address).sort(), ['127.0.0.1', '::1']);
});

test('a socket stays in the namespace it was opened in', async (t) => {
  const first = makeNetns(t);
  const second = makeNetns(t);
  first.ip('link', 'add', 'left', 'type', 'veth', 'peer', 'name', 'right');
  const [links, others] = await Promise.all([listLinks(first.rt), listLinks(second.rt)]);
  t.deepEqual(links.map(({ name }) => name).sort(), ['left', 'lo', 'right']);
  t.deepEqual(
    others.map(({ name }) => name),
    ['lo'],
  );
});

test.serial('sockets leave no descriptor behind, whether used or not, busy or idle', async (t) => {
  const { netns } = makeNetns(t);
  await turn();
  const before = openDescriptors();
  for (let round = 0; round < 100; round++) {
    const rt = openRt(netns);
    if (round % 3 === 0) await listLinks(rt);
    const left = round % 3 === 1 ? t.throwsAsync(listLinks(rt), { message: /EBADF/ }) : undefined;
    rt.close();
    await left;
  }
  await turn();
  await turn();
  t.is(openDescriptors(), before);
});

test('an idle socket does not keep a process alive', (t) => {
  t.is(nameByIdleSocket('open-rt.ts', 'openRt'), 'lo\n');
});
