import test from 'ava';
import { formatFigure, judge } from '../../bench/limits.ts';
import { BENCHES, scenariosOf } from '../../bench/names.ts';
import type { Bench, System } from '../../bench/names.ts';
import type { Row } from '../../bench/record.ts';

function rows(
  bench: Bench,
  scenario: string,
  figures: Partial<Record<System, Record<string, number>>>,
): Row[] {
  return Object.entries(figures).flatMap(([system, metrics]) =>
    Object.entries(metrics).map(([metric, value]) => ({
      bench,
      scenario,
      system,
      metric,
      unit: '',
      value,
    })),
  );
}

const missed = (bench: Bench, scenario: string, list: readonly Row[]): string[] =>
  judge(list, [{ bench, scenarios: [scenario] }])
    .filter(({ met }) => !met)
    .map(({ text }) => text);

const ONE_TO_ONE = {
  podpace: {
    rr_p50_us: 130,
    rr_p99_us: 400,
    cap_used_share: 0.985,
    bulk_rtt_us: 15_000,
    retransmits: 10,
    aqm_drops: 10,
  },
  tbf: { rr_p99_us: 6000 },
  none: { rr_p50_us: 100, rr_p99_us: 200 },
} as const;

test('figures on the limits are within them', (t) => {
  for (const scenario of ['100M-cubic-1x1', '100M-ecn-1x1'])
    t.deepEqual(missed('latency', scenario, rows('latency', scenario, ONE_TO_ONE)), []);
});

test('each figure of the first row is judged by itself', (t) => {
  const worse = { rr_p50_us: 131, rr_p99_us: 401, cap_used_share: 0.984, bulk_rtt_us: 15_001 };
  for (const [metric, value] of Object.entries(worse)) {
    const figures = { ...ONE_TO_ONE, podpace: { ...ONE_TO_ONE.podpace, [metric]: value } };
    const expected = metric === 'rr_p99_us' ? 2 : 1;
    t.is(
      missed('latency', '100M-cubic-1x1', rows('latency', '100M-cubic-1x1', figures)).length,
      expected,
      metric,
    );
  }
});

test('other loads are judged beside TBF alone', (t) => {
  for (const [scenario, part] of [
    ['100M-cubic-32x8', 8],
    ['100M-bbr-1x1', 5],
    ['10M-cubic-1x1', 8],
    ['1G-cubic-1x1', 3],
  ] as const) {
    const of = (p99: number): Row[] =>
      rows('latency', scenario, { podpace: { rr_p99_us: p99 }, tbf: { rr_p99_us: 100 * part } });
    t.deepEqual(missed('latency', scenario, of(100)), []);
    t.is(missed('latency', scenario, of(101)).length, 1);
  }
});

test('a load that the machine cannot make is told of', (t) => {
  const texts = (none: number, tbf: number): string[] =>
    judge(
      rows('latency', '100M-cubic-32x8', {
        podpace: { rr_p99_us: 100 },
        tbf: { rr_p99_us: 800, cap_used_share: tbf },
        none: { rr_per_sec: none },
      }),
      [{ bench: 'latency', scenarios: ['100M-cubic-32x8'] }],
    ).map(({ text }) => text);
  t.notRegex(texts(3800, 0.95).join(), /not reached/);
  t.regex(texts(3799, 1).join(), /an idle pod sends 3799 of 4000 requests a second/);
  t.regex(texts(4000, 0.6).join(), /TBF fills 0\.6 of its cap/);
});

test('99 % of a cap are delivered of datagrams, and an offer that the machine cannot make is told of', (t) => {
  const of = (delivered: number, offered: number): Row[] =>
    rows('udp', '100M-2x', { podpace: { delivered_share: delivered, offered_mbit: offered } });
  t.deepEqual(missed('udp', '100M-2x', of(0.99, 200)), []);
  t.is(missed('udp', '100M-2x', of(0.989, 200)).length, 1);
  const texts = (offered: number): string =>
    judge(of(0.5, offered), [{ bench: 'udp', scenarios: ['100M-2x'] }])
      .map(({ text }) => text)
      .join();
  t.notRegex(texts(190), /not reached/);
  t.regex(texts(44), /the pod offers 44 of 200 Mbit\/s/);
});

test('a window may hold the cap, half a percent and one burst; 1 Gbit/s may be used less', (t) => {
  const of = (scenario: string, mean: number, max: number): string[] =>
    missed(
      'accuracy',
      scenario,
      rows('accuracy', scenario, { podpace: { mean_share: mean, max_window_share: max } }),
    );
  t.deepEqual(of('100M-tcp1', 0.985, 1.006), []);
  t.is(of('100M-tcp1', 0.984, 1.0061).length, 2);
  t.deepEqual(of('1G-tcp1', 0.97, 1), []);
});

test('the cost of a step is compared with the plain step under its own load', (t) => {
  const plain = rows('cost', 'bulk', { 'edt-fifo': { ns_per_packet: 50 } });
  const own = (scenario: string, value: number): Row[] => [
    ...plain,
    ...rows('cost', scenario, { podpace: { ns_per_packet: value } }),
  ];
  t.deepEqual(missed('cost', 'bulk', own('bulk', 90)), []);
  t.is(missed('cost', 'bulk', own('bulk', 91)).length, 1);
  t.deepEqual(missed('cost', 'unclassified', own('unclassified', 35)), []);
  t.is(missed('cost', 'unclassified', own('unclassified', 36)).length, 1);
});

test('what is charged too much is no better than what is charged too little', (t) => {
  for (const uncharged_ns of [-2, 2])
    t.is(
      missed('exact', '2-threads', rows('exact', '2-threads', { podpace: { uncharged_ns } }))
        .length,
      1,
    );
});

test('every bench has requirements, and what was not measured does not meet them', (t) => {
  for (const bench of BENCHES) {
    const verdicts = judge([], [{ bench, scenarios: scenariosOf(bench) }]);
    t.true(verdicts.length > 0, bench);
    t.true(
      verdicts.every(({ met, text }) => !met && text.endsWith('not measured')),
      bench,
    );
  }
});

test('figures have the digits that matter', (t) => {
  t.deepEqual([0, 12, 0.9851, 1.5, 99.95, 12_345.6, 1e-5].map(formatFigure), [
    '0',
    '12',
    '0.9851',
    '1.5',
    '100.0',
    '12346',
    '1.00e-5',
  ]);
});

test('a helper at scale is judged by each of its figures, at a thousand attachments only', (t) => {
  const podpace = {
    ...{ idle_share: 0.01, node_start_cpu_ms: 50, status_ms: 50, list_ms: 150 },
    ...{ rss_mib: 90, longest_busy_ms: 50, attach_ratio: 1.3 },
  };
  t.deepEqual(missed('scale', '1000', rows('scale', '1000', { podpace })), []);
  for (const name of Object.keys(podpace).filter((each) => each !== 'node_start_cpu_ms')) {
    const worse = { ...podpace, [name]: 1.001 * podpace[name as keyof typeof podpace] };
    t.is(missed('scale', '1000', rows('scale', '1000', { podpace: worse })).length, 1, name);
    t.deepEqual(missed('scale', '4000', rows('scale', '4000', { podpace: worse })), []);
  }
});

test('where a start of Node takes long the helper may take six of them a minute', (t) => {
  const podpace = {
    ...{ node_start_cpu_ms: 200, status_ms: 1, list_ms: 1, rss_mib: 1, longest_busy_ms: 1 },
  };
  for (const [idle_share, count] of [
    [0.02, 0],
    [0.0201, 1],
  ] as const)
    t.is(
      missed('scale', '1000', rows('scale', '1000', { podpace: { ...podpace, idle_share } }))
        .length,
      count,
    );
});

test('a kernel on which nothing can be attached is not asked what that costs', (t) => {
  const podpace = {
    ...{ idle_share: 0, node_start_cpu_ms: 50, status_ms: 1, list_ms: 1, rss_mib: 1 },
    longest_busy_ms: 1,
  };
  t.deepEqual(missed('scale', '1000', rows('scale', '1000', { podpace })), []);
  const { idle_share: _, ...without } = podpace;
  t.regex(
    missed('scale', '1000', rows('scale', '1000', { podpace: without }))[0] ?? '',
    /not measured/,
  );
});
