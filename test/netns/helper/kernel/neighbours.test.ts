import test from 'ava';
import { KernelError } from '../../../../helper/wire/errors.ts';
import { addNeighbour } from '../../../../helper/kernel/neighbours.ts';
import { addPair, makeNetns } from '../../../kit/netns.ts';

test('addNeighbour adds a permanent entry, and replaces one', async (t) => {
  const netns = makeNetns(t);
  const { rt, ipJson } = netns;
  const ifindex = await addPair(netns);
  await addNeighbour(rt, { ifindex, address: '169.254.1.1', mac: '02:00:00:00:00:01' });
  await addNeighbour(rt, { ifindex, address: '169.254.1.1', mac: '02:00:00:00:00:02' });
  await addNeighbour(rt, { ifindex, address: 'fe80::1', mac: '02:00:00:00:00:03' });
  t.deepEqual(ipJson('neighbour', 'show', 'dev', 'left', 'nud', 'permanent'), [
    { dst: '169.254.1.1', lladdr: '02:00:00:00:00:02', state: ['PERMANENT'] },
    { dst: 'fe80::1', lladdr: '02:00:00:00:00:03', state: ['PERMANENT'] },
  ]);
});

test('addNeighbour says ENODEV for no interface', async (t) => {
  const { rt } = makeNetns(t);
  const neighbour = { ifindex: 4711, address: '10.0.0.1', mac: '02:00:00:00:00:01' };
  const error = await t.throwsAsync(addNeighbour(rt, neighbour), {
    instanceOf: KernelError,
    message: /4711/,
  });
  t.is(error?.errno, 'ENODEV');
});
