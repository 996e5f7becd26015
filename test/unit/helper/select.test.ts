import test from 'ava';
import { nameOf } from '../../../helper/protocol/pod-names.ts';
import {
  describeSelection,
  matchingAttachments,
  selectAttachment,
  type Candidate,
} from '../../../helper/select.ts';

const pods = [
  { containerId: 'abc1', ifname: 'eth0' },
  { containerId: 'abc1', ifname: 'net1' },
  { containerId: 'abc12', ifname: 'eth0' },
  { containerId: 'def', ifname: 'eth0' },
];

const keyOf = ({ containerId, ifname }: Candidate): string => `${containerId}/${ifname}`;
const selected = (selector: string, of: readonly Candidate[] = pods): string =>
  keyOf(selectAttachment(selector, of).attachment);

test('a whole id wins over longer ones, a beginning is enough when only one fits', (t) => {
  t.is(selected('def'), 'def/eth0');
  t.is(selected('d'), 'def/eth0');
  t.is(selected('abc1/eth0'), 'abc1/eth0');
  t.is(selected('abc12'), 'abc12/eth0');
  t.is(selected('ab/net1'), 'abc1/net1');
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
  const many = Array.from({ length: 9 }, (_, index) => ({
    containerId: `a${index}`,
    ifname: 'eth0',
  }));
  t.throws(() => selectAttachment('a', many), { message: /a4\/eth0 and 4 more$/ });
});

const WEB = { podNamespace: 'default', podName: 'web-0' };
const NAMED: readonly Candidate[] = [
  { containerId: 'beef', ifname: 'eth0', ...WEB, addedAt: '2026-01-01T10:00:00.000Z' },
  { containerId: 'beef', ifname: 'net1', ...WEB, addedAt: '2026-01-01T10:00:01.000Z' },
  { containerId: 'cafe', ifname: 'eth0', podNamespace: 'shop', podName: 'web-0' },
  { containerId: 'dead', ifname: 'eth0' },
];

test('a pod is found by its namespace and name, with the interface where it has several', (t) => {
  t.is(selected('shop/web-0', NAMED), 'cafe/eth0');
  t.is(selected('shop/web-0/eth0', NAMED), 'cafe/eth0');
  t.is(selected('default/web-0/net1', NAMED), 'beef/net1');
  t.is(selected('beef/net1', NAMED), 'beef/net1');
  t.deepEqual(matchingAttachments('default/web-0', NAMED).map(keyOf), ['beef/eth0', 'beef/net1']);
  t.throws(() => selectAttachment('default/web-0', NAMED), {
    message:
      'Cannot tell which pod "default/web-0" is: default/web-0 (eth0, beef), default/web-0 (net1, beef)',
  });
});

test('a name is whole, and what is unknown is refused with what there is', (t) => {
  for (const selector of [
    'web-0',
    'default/web',
    'default/',
    '/web-0',
    'shop/web-0/net1',
    'shop/web-0/eth0/',
  ]) {
    t.throws(() => selectAttachment(selector, NAMED), {
      message:
        `Cannot find a capped pod "${selector}": known are default/web-0 (eth0, beef), default/web-0 (net1, beef), ` +
        'shop/web-0 (eth0, cafe), dead/eth0',
    });
  }
});

test('of two sandboxes of one pod the newer is meant, which is said; both match', (t) => {
  const older = {
    containerId: 'aaaa',
    ifname: 'eth0',
    ...WEB,
    addedAt: '2026-01-01T09:59:59.999Z',
  };
  const [eth0, net1] = NAMED as [Candidate, Candidate];
  for (const all of [
    [older, eth0],
    [eth0, older],
  ]) {
    const selection = selectAttachment('default/web-0', all);
    t.deepEqual(selection, { attachment: eth0, older: [older] });
    t.is(
      describeSelection(selection),
      'default/web-0 has 2 sandboxes: this is of the newest, beef; the older: aaaa',
    );
    t.is(matchingAttachments('default/web-0', all).length, 2);
    // Each can be named by its container all the same.
    t.deepEqual(selectAttachment('aaaa', all), { attachment: older, older: [] });
  }
  // An interface that was added later does not make an older sandbox the newer one.
  const late = { ...older, ifname: 'net1', addedAt: '2026-01-01T12:00:00.000Z' };
  t.is(selectAttachment('default/web-0', [late, older, eth0]).attachment, eth0);
  t.is(
    describeSelection(selectAttachment('default/web-0', [late, older, eth0])),
    'default/web-0 has 2 sandboxes: this is of the newest, beef; the older: aaaa',
  );
  t.throws(() => selectAttachment('default/web-0', [older, eth0, net1]), {
    message: /is: default\/web-0 \(eth0, beef\), default\/web-0 \(net1, beef\)$/,
  });
  t.is(describeSelection({ attachment: eth0, older: [] }), undefined);
});

test('a pod that is called as another one is by its container is not taken for it', (t) => {
  const sly = { containerId: 'f00d', ifname: 'eth0', podNamespace: 'dead', podName: 'eth0' };
  t.is(selected('dead/eth0', [...NAMED, sly]), 'dead/eth0');
  const short = { ...sly, podNamespace: 'dea' };
  t.throws(() => selectAttachment('dea/eth0', [...NAMED, short]), {
    message: /Cannot tell which pod "dea\/eth0" is: dead\/eth0, dea\/eth0 \(eth0, f00d\)/,
  });
});

test('an attachment is called by its pod, and by its container where no pod is known', (t) => {
  t.is(nameOf({ containerId: 'abc', ifname: 'eth0' }), 'abc/eth0');
  t.is(nameOf({ containerId: 'abc', ifname: 'eth0', podName: 'web-0' }), 'abc/eth0');
  const containerId = '0123456789abcdef'.repeat(4);
  t.is(nameOf({ containerId, ifname: 'eth0', ...WEB }), 'default/web-0 (eth0, 0123456789ab…)');
});

test('of two interfaces of one sandbox the preferred is meant, never an older sandbox', (t) => {
  const older = {
    containerId: 'aaaa',
    ifname: 'eth0',
    ...WEB,
    addedAt: '2025-01-01T00:00:00.000Z',
  };
  const [eth0, net1] = NAMED as [Candidate, Candidate];
  const isNet1 = (one: Candidate): boolean => one === net1;
  t.is(selectAttachment('default/web-0', [older, eth0, net1], isNet1).attachment, net1);
  const isOlder = (one: Candidate): boolean => one === older;
  t.is(selectAttachment('default/web-0', [older, eth0], isOlder).attachment, eth0);
});
