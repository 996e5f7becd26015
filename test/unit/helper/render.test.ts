import test from 'ava';
import type { ExitStatus, StatusResult } from '../../../helper/protocol/messages.ts';
import { renderList, renderProbe, renderStatus, renderTable } from '../../../helper/render.ts';

const exit: ExitStatus = {
  name: 'eth0',
  ifindex: 2,
  queues: 4,
  rootQdisc: 'mq',
  leafQdiscs: ['fq', 'fq', 'fq', 'fq'],
  departureProgram: true,
  problems: [],
};
const status: StatusResult = {
  version: '1.2.3',
  protocolVersion: 1,
  kernel: '6.12.0',
  state: 'ok',
  problems: [],
  exits: [exit],
  attachments: 7,
  horizonNs: 50_000_000,
  startedAt: '2026-01-01T00:00:00.000Z',
};

test('renderTable aligns columns and leaves no blanks at line ends', (t) => {
  t.is(
    renderTable([
      ['a', 'bb', 'c'],
      ['aaa', 'b', ''],
    ]),
    'a    bb  c\naaa  b',
  );
});

test('renderStatus has the line that operators look for', (t) => {
  const lines = renderStatus(status).split('\n');
  t.true(lines.includes('BandwidthManager:  EDT with BPF  [eth0]'));
  t.true(lines.includes('  eth0  4 queues  mq with 4 fq  capping'));
  t.notRegex(renderStatus(status), /DEGRADED|Problems/);
});

test('renderStatus is loud about what is not enforced', (t) => {
  const text = renderStatus({ ...status, state: 'degraded', problems: ['eth0 has no fq'] });
  t.regex(text, /DEGRADED/);
  t.regex(text, /Problems:\n {2}eth0 has no fq/);
});

test('renderStatus says when there is no exit', (t) => {
  t.regex(renderStatus({ ...status, exits: [] }), /Exits: +none found/);
});

test('renderList shows caps with units and says what is not enforced', (t) => {
  const attachment = {
    containerId: 'abc',
    ifname: 'eth0',
    network: 'pods',
    hostInterface: 'pod0',
    hostInterfaceIndex: 3,
    sandbox: '/run/netns/x',
    caps: { egress: { rateBitsPerSec: 10_000_000 } },
    problems: ['pod0 is gone'],
  };
  t.regex(renderList({ attachments: [attachment] }), /pod0 +10 Mbit\/s +- +NOT ENFORCED: pod0 is gone/);
  t.is(renderList({ attachments: [] }), 'No pod on this node has a cap');
});

test('renderProbe names what is missing and the remedy', (t) => {
  const items = [
    { name: 'sch_fq', ok: false, found: 'no such qdisc', remedy: 'modprobe sch_fq' },
    { name: 'kernel', ok: true, found: '6.12' },
  ];
  t.is(renderProbe({ items }), 'MISSING  sch_fq  no such qdisc; modprobe sch_fq\nok       kernel  6.12');
});
