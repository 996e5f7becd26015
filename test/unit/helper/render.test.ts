import test from 'ava';
import type {
  DirectionCounters,
  EffectiveCap,
  ExitStatus,
  ProbeItem,
  StatusResult,
} from '../../../helper/protocol/messages.ts';
import {
  renderCounters,
  renderProbe,
  renderSet,
  renderStatus,
  renderTable,
} from '../../../helper/render.ts';
import { eachCounter } from '../../../helper/wire/aggregate.ts';

const exit: ExitStatus = {
  name: 'eth0',
  ifindex: 2,
  kind: 'device',
  role: 'uplink',
  queues: 4,
  rootQdisc: 'mq',
  leafQdiscs: ['fq', 'fq', 'fq', 'fq'],
  departureProgram: true,
  arrivalProgram: false,
  problems: [],
};
const status: StatusResult = {
  version: '1.2.3',
  protocolVersion: 2,
  kernel: '6.12.0',
  state: 'ok',
  problems: [],
  notices: [],
  exits: [exit],
  moreExits: 0,
  attachments: 7,
  horizonNs: 50_000_000,
  aqmTargetNs: 5_000_000,
  aqmIntervalNs: 100_000_000,
  startedAt: '2026-01-01T00:00:00.000Z',
};

const cap: EffectiveCap = {
  rateBitsPerSec: 10_000_000,
  burstNs: 1_000_000,
  horizonNs: 50_000_000,
  aqmTargetNs: 5_000_000,
  aqmIntervalNs: 100_000_000,
  changed: [],
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
  t.true(lines.includes('  eth0  uplink  device  4 queues  mq with 4 fq  capping'));
  t.notRegex(renderStatus(status), /DEGRADED|Problems/);
  t.regex(lines.join('\n'), /Horizon: +50 ms\nAQM: +target 5 ms, interval 100 ms\n/);
  t.regex(renderStatus({ ...status, aqmTargetNs: 0 }), /AQM: +off/);
});

test('renderStatus says what is charged where it is not known what an exit adds', (t) => {
  const lineOf = (overhead: ExitStatus['overhead'] & object): string =>
    renderStatus({ ...status, exits: [{ ...exit, name: 'ev\u001b[2Jil', overhead }] });
  t.notRegex(lineOf({ bytes: 50, certainty: 'known' }), /overhead/);
  const estimated = lineOf({ bytes: 78, certainty: 'estimated' });
  t.regex(
    estimated,
    /^ {2}ev\\u001b\[2Jil .* capping, overhead estimated: 78 bytes charged a packet$/m,
  );
  t.regex(
    lineOf({ bytes: 74, certainty: 'unknown' }),
    /capping, overhead unknown: 74 bytes charged a packet$/m,
  );
});

test('renderStatus is loud about what is not enforced', (t) => {
  const text = renderStatus({ ...status, state: 'degraded', problems: ['eth0 has no fq'] });
  t.regex(text, /DEGRADED/);
  t.regex(text, /Problems:\n {2}eth0 has no fq/);
});

test('renderStatus says when there is no exit', (t) => {
  t.regex(renderStatus({ ...status, exits: [] }), /Exits: +none found/);
});

const fq: ProbeItem = {
  name: 'sch_fq',
  ok: true,
  there: true,
  found: 'works',
  neededFor: 'to hold packets',
  withoutIt: 'every cap is refused',
};
const lacking = { there: false, found: 'no such qdisc', remedy: 'modprobe sch_fq' } as const;

test('renderProbe tells what is there, what lacks, what that costs and the remedy', (t) => {
  const { there: _there, ...untried } = fq;
  const lines = renderProbe({
    kernel: '5.14.0-vendor',
    items: [
      fq,
      { ...fq, ...lacking, ok: false },
      { ...fq, ...lacking },
      { ...untried, found: 'not tried: tcx is used' },
      { ...untried, ok: false, found: 'not tried without privileges' },
    ],
  }).split('\n');
  t.deepEqual(lines, [
    '         kernel  5.14.0-vendor',
    'ok       sch_fq  works, to hold packets',
    'MISSING  sch_fq  no such qdisc, needed to hold packets; every cap is refused; modprobe sch_fq',
    'absent   sch_fq  no such qdisc, useful to hold packets; every cap is refused; modprobe sch_fq',
    '-        sch_fq  not tried: tcx is used, useful to hold packets',
    'MISSING  sch_fq  not tried without privileges, needed to hold packets',
  ]);
});

test('renderStatus names what the kernel lacks', (t) => {
  t.regex(renderStatus(status), /Kernel: +6\.12\.0$/m);
  const features = [fq, { ...fq, ...lacking, name: 'netkit' }];
  t.regex(
    renderStatus({ ...status, features }),
    /Kernel: +6\.12\.0, without netkit \(see podpaced probe\)$/m,
  );
});

test('renderSet shows every setting before and after', (t) => {
  const after: EffectiveCap = {
    ...cap,
    rateBitsPerSec: 5_000_000,
    aqmTargetNs: 0,
    changed: ['rateBitsPerSec', 'aqmTargetNs'],
  };
  const key = { containerId: 'abc', ifname: 'eth0' };
  t.is(
    renderSet(key, 'egress', { before: cap, after }),
    [
      'abc/eth0 egress  BEFORE                        AFTER',
      'rate             10 Mbit/s                     5 Mbit/s',
      'burst            1 ms                          1 ms',
      'horizon          50 ms                         50 ms',
      'AQM              target 5 ms, interval 100 ms  off',
      'set by hand      nothing                       rateBitsPerSec, aqmTargetNs',
    ].join('\n'),
  );
  t.regex(renderSet(key, 'ingress', { after }), /rate +- +5 Mbit/);
});

test('renderCounters shows drops by cause, waits from the histogram, and the backlog', (t) => {
  const sojourn = [90, 0, 9, 1, ...Array.from({ length: 12 }, () => 0)];
  const drops = { droppedHorizon: 11, droppedAqm: 12, droppedFlow: 13 };
  const counts = { packets: 100, bytes: 150_000, delayed: 10, sparse: 4, ceMarked: 3, ...drops };
  const total = { ...eachCounter(() => 0), ...counts, sojourn };
  const attachment = { containerId: 'abc', ifname: 'eth0', hostInterface: 'pod0' };
  const books = {
    ...{ seenFrames: 130, seenBytes: 194_000, settledFrames: 128, settledBytes: 192_000 },
    ...{ exemptFrames: 0, exemptBytes: 0, droppedFrames: 28, droppedBytes: 42_000 },
    ...{ unaccountedFrames: 2, unaccountedBytes: 2000 },
  };
  const egress = { total, backlogNs: 1_500_000, books };
  const shown = (counters: DirectionCounters): Record<string, string> => {
    const [head = [], row = []] = renderCounters({
      attachments: [{ ...attachment, egress: counters }],
    })
      .split('\n')
      .map((line) => line.split(/ {2,}/));
    t.is(row.length, head.length);
    return Object.fromEntries(head.map((heading, at) => [heading, row[at] ?? '']));
  };
  t.like(shown(egress), {
    ...{ POD: '-', CONTAINER: 'abc', INTERFACE: 'eth0', DIRECTION: 'egress' },
    ...{ PACKETS: '100', BYTES: '150 kB', DELAYED: '10', SPARSE: '4', CE: '3' },
    ...{ 'DROP:HORIZON': '11', 'DROP:AQM': '12', 'DROP:FLOW': '13', UNACCOUNTED: '2 kB' },
    ...{ 'WAIT P50': '<65.536 us', 'WAIT P99': '<262.144 us', BACKLOG: '1.5 ms' },
  });
  const headings = Object.keys(shown(egress));
  t.deepEqual(headings.slice(0, 6).join(' '), 'POD CONTAINER INTERFACE DIRECTION PACKETS BYTES');
  t.deepEqual(headings.slice(-4), ['UNACCOUNTED', 'WAIT P50', 'WAIT P99', 'BACKLOG']);
  // A helper of another release counts what it counts.
  const { sparse: _sparse, bytes: _bytes, ...fewer } = total;
  const other = { ...fewer, ofAnotherRelease: 7 };
  t.like(shown({ ...egress, total: other }), { PACKETS: '100', BYTES: '-', SPARSE: '-', CE: '3' });
  const named = { ...attachment, podNamespace: 'default', podName: 'web-0' };
  t.regex(renderCounters({ attachments: [{ ...named, egress }] }), /^default\/web-0 +abc +eth0 /m);
  const { books: _books, ...old } = egress;
  t.is(shown(old)['UNACCOUNTED'], '-');
  t.is(renderCounters({ attachments: [] }), 'No pod on this node has a cap');
});

test('renderStatus lists every exit by its kind, and the uplinks alone at the top', (t) => {
  const bond: ExitStatus = {
    ...exit,
    ...{ name: 'bond0', kind: 'bond', queues: 16, rootQdisc: 'noqueue', below: ['eth1', 'eth2'] },
  };
  const pod: ExitStatus = {
    ...exit,
    name: 'pod1',
    kind: 'veth',
    role: 'pod',
    rootQdisc: 'fq',
    leafQdiscs: [],
  };
  const lines = renderStatus({ ...status, exits: [exit, bond, pod], moreExits: 900 }).split('\n');
  t.true(lines.includes('BandwidthManager:  EDT with BPF  [eth0 bond0]'));
  t.true(lines.includes('  bond0  uplink  bond    16 queues  4 fq on eth1 eth2  capping'));
  t.true(lines.includes('  pod1   pod     veth    4 queues   fq                 capping'));
  const empty: ExitStatus = { ...exit, name: 'br0', kind: 'bridge', leafQdiscs: [], below: [] };
  const told = renderStatus({ ...status, exits: [exit, empty] });
  t.regex(told, /br0 .* on nothing +holds nothing/);
  t.regex(told, /EDT with BPF {2}\[eth0\]/);
  t.true(lines.includes('  and 900 more into pods'));
});
