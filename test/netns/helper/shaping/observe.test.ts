import test from 'ava';
import { findUplinks } from '../../../../helper/shaping/observe.ts';
import { makeNetns } from '../../../kit/netns.ts';

function addDevice(ip: (...args: string[]) => string, name: string, address: string): void {
  ip('link', 'add', name, 'type', 'veth', 'peer', 'name', `${name}-far`);
  for (const each of [name, `${name}-far`]) ip('link', 'set', each, 'up');
  ip('address', 'add', address, 'dev', name);
}

test('uplinks are the devices of the default routes of either family, and nothing else', async (t) => {
  const { ip, rt } = makeNetns(t);
  ip('link', 'set', 'lo', 'up');
  t.deepEqual(await findUplinks(rt, ['auto']), { uplinks: [], missing: [] });
  addDevice(ip, 'one', '192.0.2.1/24');
  addDevice(ip, 'two', '2001:db8::1/64');
  addDevice(ip, 'three', '198.51.100.1/24');
  ip('route', 'add', 'default', 'via', '192.0.2.2');
  ip('-6', 'route', 'add', 'default', 'via', '2001:db8::2', 'dev', 'two');
  ip('-6', 'route', 'add', 'unreachable', 'default', 'metric', '99999');
  ip('route', 'add', 'default', 'via', '198.51.100.2', 'table', '77');
  const { uplinks, missing } = await findUplinks(rt, ['auto']);
  t.deepEqual(uplinks.map(({ name }) => name).toSorted(), ['one', 'two']);
  t.deepEqual(missing, []);
});

test('named uplinks are taken as they are, and those that are not there are told', async (t) => {
  const { ip, rt } = makeNetns(t);
  addDevice(ip, 'one', '192.0.2.1/24');
  const { uplinks, missing } = await findUplinks(rt, ['one', 'absent']);
  t.deepEqual(
    uplinks.map(({ name }) => name),
    ['one'],
  );
  t.deepEqual(missing, ['absent']);
});
