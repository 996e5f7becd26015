import test from 'ava';
import { selectAttachment } from '../../../helper/select.ts';
import { nameOf } from '../../../helper/shaping/effective.ts';

const pods = [
  { containerId: 'abc1', ifname: 'eth0' },
  { containerId: 'abc1', ifname: 'net1' },
  { containerId: 'abc12', ifname: 'eth0' },
  { containerId: 'def', ifname: 'eth0' },
];

const named = (selector: string) => nameOf(selectAttachment(selector, pods));

test('a whole id wins over longer ones, a beginning is enough when only one fits', (t) => {
  t.is(named('def'), 'def/eth0');
  t.is(named('d'), 'def/eth0');
  t.is(named('abc1/eth0'), 'abc1/eth0');
  t.is(named('abc12'), 'abc12/eth0');
  t.is(named('ab/net1'), 'abc1/net1');
});

test('what fits none or several is refused with the candidates', (t) => {
  t.throws(() => selectAttachment('abc1', pods), {
    message: 'Cannot tell which pod "abc1" is: abc1/eth0, abc1/net1',
  });
  t.throws(() => selectAttachment('x', pods), {
    message: /Cannot find a capped pod "x": known are abc1\/eth0/,
  });
  t.throws(() => selectAttachment('', pods), { message: /Cannot find a capped pod ""/ });
  t.throws(() => selectAttachment('def/net1', pods), { message: /Cannot find/ });
  t.throws(() => selectAttachment('x', []), { message: /no pod on this node has one/ });
  const many = Array.from({ length: 9 }, (_, index) => ({ containerId: `a${index}`, ifname: 'eth0' }));
  t.throws(() => selectAttachment('a', many), { message: /a4\/eth0 and 4 more$/ });
});
