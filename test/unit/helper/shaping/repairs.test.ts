import test from 'ava';
import type { Exit } from '../../../../helper/shaping/exits.ts';
import { exitChangesOf, isSameAsBefore, knownExits } from '../../../../helper/shaping/repairs.ts';

function exit(ifindex: number, name: string, role: Exit['role'] = 'uplink'): Exit {
  return { ifindex, name, kind: 'veth', role, holders: [ifindex], hasFrames: true };
}

test('exits that come, go or get another name are told of, ways into pods are not', (t) => {
  const before = knownExits([
    exit(1, 'eth0'),
    exit(2, 'eth1'),
    exit(3, 'eth2'),
    exit(4, 'pod1', 'pod'),
  ]);
  const after = knownExits([
    exit(1, 'eth0'),
    exit(2, 'wan'),
    exit(5, 'eth2'),
    exit(6, 'pod2', 'pod'),
  ]);
  t.deepEqual(exitChangesOf(before, before), []);
  t.deepEqual(exitChangesOf(before, after), [
    'eth2 (uplink, veth) is no way out any more',
    'eth1 is called wan now',
    'eth2 (uplink, veth) is a way out now',
  ]);
});

test('an uplink that is renamed while it is down, and so without a route, is told of under both names', (t) => {
  const up = knownExits([exit(1, 'eth0')]);
  const down = knownExits([exit(1, 'wan', 'pod')]);
  t.deepEqual(exitChangesOf(up, down), [
    'eth0 (uplink, veth) is no way out any more',
    'eth0 is called wan now',
  ]);
  t.deepEqual(exitChangesOf(down, knownExits([exit(1, 'wan')])), [
    'wan (uplink, veth) is a way out now',
  ]);
});

test('another overhead of an exit is told of, and is no damage that was repaired', (t) => {
  const overhead = { frameBytes: 50, align: 0, mtu: 0 };
  const more = { frameBytes: 66, align: 4, mtu: 1400, innerBytes: 2 };
  const before = knownExits([{ ...exit(1, 'tunnel'), overhead }]);
  const after = knownExits([{ ...exit(1, 'tunnel'), overhead: more }]);
  t.deepEqual(exitChangesOf(before, after), [
    'What leaves by tunnel is charged 68 bytes a packet for headers below now',
  ]);
  const step = { kind: 'write-overhead', ifindex: 1, overhead } as const;
  t.true(isSameAsBefore(step, before));
  t.false(isSameAsBefore(step, after));
  t.false(isSameAsBefore(step, new Map()));
});
