import test from 'ava';
import { FIRST_LAYOUT_REVISION } from '../../../scripts/lib/revisions.ts';
import { judge } from '../../bench/limits.ts';
import {
  beginningWith,
  metricsOf,
  oneAfterTheOther,
  parseMeter,
} from '../../bench/control-figures.ts';
import { CONTROL_SCENARIOS, type ControlScenario, type ControlSystem } from '../../bench/names.ts';
import { renewedSummary } from '../../bench/summary.ts';

const OTHER_COMMIT = '0123456789abcdef0123456789abcdef01234567';

test("the meter's line is read, and nothing else is taken for one", (t) => {
  t.deepEqual(parseMeter('151500000 44250 57344\n'), {
    wallMs: 151.5,
    cpuMs: 44.25,
    peakRssMib: 56,
  });
  for (const line of ['', '1 2 3', '1 2\n', '1 2 3\n4 5 6\n', 'Cannot run\n'])
    t.throws(() => parseMeter(line), { message: /the meter says/ }, JSON.stringify(line));
});

test('of two calls one after the other times add up, and the larger is the peak', (t) => {
  const [add, del] = [
    { wallMs: 100, cpuMs: 40, peakRssMib: 55, helperCpuMs: 6 },
    { wallMs: 50, cpuMs: 30, peakRssMib: 53, helperCpuMs: 2 },
  ];
  t.deepEqual(oneAfterTheOther(add, del), {
    wallMs: 150,
    cpuMs: 70,
    peakRssMib: 55,
    helperCpuMs: 8,
  });
  const { helperCpuMs: _, ...alone } = add;
  t.false('helperCpuMs' in oneAfterTheOther(alone, alone));
});

test('figures are percentiles of the calls; the helper has some where there is one', (t) => {
  const calls = Array.from({ length: 100 }, (_, index) => ({
    wallMs: 100 - index,
    cpuMs: (100 - index) / 2,
    peakRssMib: 1,
  }));
  const figures = (of: Parameters<typeof metricsOf>[0]): [string, number][] =>
    metricsOf(of).map(({ metric, value }) => [metric, value]);
  const expected: [string, number][] = [
    ['wall_p50_ms', 50],
    ['wall_p99_ms', 99],
    ['cpu_p50_ms', 25],
    ['cpu_p99_ms', 49.5],
  ];
  t.deepEqual(figures(calls), expected);
  const beside = calls.map((call) => ({ ...call, helperCpuMs: call.wallMs / 10 }));
  t.deepEqual(figures(beside), [...expected, ['helper_cpu_p50_ms', 5]]);
  t.throws(() => metricsOf([]), { instanceOf: RangeError });
});

test('each round begins with another system, and has all of them', (t) => {
  const systems = ['a', 'b', 'c'];
  t.deepEqual(
    [0, 1, 2, 3].map((round) => beginningWith(systems, round).join('')),
    ['abc', 'bca', 'cab', 'abc'],
  );
  t.deepEqual(beginningWith([], 4), []);
});

type Figures = Partial<Record<ControlSystem, Readonly<Record<string, number>>>>;

/** On the limit of everything that is asked. */
const LIMITS: Readonly<Record<Exclude<ControlScenario, 'check'>, Figures>> = {
  add: { podpace: { wall_p50_ms: 180, peak_rss_mib: 46 }, 'go-chain': { wall_p50_ms: 100 } },
  del: { podpace: { wall_p50_ms: 140, peak_rss_mib: 46 }, 'go-chain': { wall_p50_ms: 100 } },
  'add-del': { podpace: { wall_p50_ms: 310 }, 'go-chain': { wall_p50_ms: 200 } },
  'add-10-at-once': { podpace: { wall_p99_ms: 170 }, 'go-chain': { wall_p99_ms: 100 } },
  'add-tenth': { podpace: { wall_p50_ms: 180 }, 'go-chain': { wall_p50_ms: 100 } },
  'del-tenth': { podpace: { wall_p50_ms: 140 }, 'go-chain': { wall_p50_ms: 100 } },
  'del-again': {
    podpace: { wall_p50_ms: 46, cpu_p50_ms: 23 },
    'empty-executable': { wall_p50_ms: 40, cpu_p50_ms: 20 },
  },
  'del-again-chained': {
    podpace: { wall_p50_ms: 46, cpu_p50_ms: 23 },
    'empty-executable': { wall_p50_ms: 40, cpu_p50_ms: 20 },
  },
  version: {
    podpace: { wall_p50_ms: 46, cpu_p50_ms: 23, peak_rss_mib: 40 },
    'empty-executable': { wall_p50_ms: 40, cpu_p50_ms: 20 },
  },
  status: {
    podpace: { wall_p50_ms: 46, cpu_p50_ms: 23 },
    'empty-executable': { wall_p50_ms: 40, cpu_p50_ms: 20 },
  },
};

/**
 * The requirements that are not met, when podpace's figures are those of the limits, but for one.
 */
function missed(
  baseline?: { readonly commit: string; readonly wallMs: number },
  worse?: { readonly scenario: string; readonly metric: string },
): string[] {
  const rows = Object.entries(LIMITS).flatMap(([scenario, systems]) =>
    Object.entries(systems).flatMap(([system, metrics]) =>
      Object.entries(metrics).map(([metric, value]) => {
        const isWorse =
          system === 'podpace' && scenario === worse?.scenario && metric === worse.metric;
        const row = { bench: 'control', scenario, system, metric, unit: '' };
        return { ...row, value: isWorse ? value + 0.1 : value };
      }),
    ),
  );
  const row = { bench: 'control', scenario: 'add-del', system: 'baseline', unit: 'ms' };
  if (baseline !== undefined) rows.push({ ...row, metric: 'wall_p50_ms', value: baseline.wallMs });
  return judge(rows, [{ bench: 'control', scenarios: CONTROL_SCENARIOS }], baseline?.commit)
    .filter(({ met }) => !met)
    .map(({ text }) => text);
}

test('calls on their limits are within them, and each is judged by itself', (t) => {
  t.deepEqual(missed(), []);
  for (const [scenario, systems] of Object.entries(LIMITS)) {
    for (const metric of Object.keys(systems.podpace ?? {})) {
      if (scenario === 'version' && metric === 'peak_rss_mib') continue;
      const texts = missed(undefined, { scenario, metric });
      t.is(texts.length, 1, `${scenario} ${metric}`);
      t.true(texts[0]?.startsWith(`control ${scenario}: `), texts[0]);
    }
  }
});

test('the first release is to be beaten, another revision not to be slower than', (t) => {
  const first = FIRST_LAYOUT_REVISION;
  t.deepEqual(missed({ commit: first, wallMs: 517 }), []);
  t.deepEqual(missed({ commit: first, wallMs: 516 }), [
    'control add-del: wall p50, 0.6 times that of 23c71bb: 310 ms, must be at most 309.6',
  ]);
  t.deepEqual(missed({ commit: OTHER_COMMIT, wallMs: 296 }), []);
  t.deepEqual(missed({ commit: OTHER_COMMIT, wallMs: 295 }), [
    'control add-del: wall p50, 1.05 times that of 0123456: 310 ms, must be at most 309.8',
  ]);
});

test('what was not measured is not met', (t) => {
  const texts = judge([], [{ bench: 'control', scenarios: CONTROL_SCENARIOS }], OTHER_COMMIT);
  t.true(texts.every(({ met, text }) => !met && text.endsWith(': not measured')));
  t.is(texts.length, 17);
});

test('what calls take is not kept beside figures of an emulated processor', (t) => {
  const about = { kernel: '6.12', cpus: 1, cpuModel: 'a', quick: false, measuredAt: '2026-11-20' };
  const metrics = [{ metric: 'wall_p50_ms', unit: 'ms', value: 1 }];
  const records = [{ scenario: 'add', system: 'go-chain', repeat: 0, metrics } as const];
  const summary = renewedSummary('', [{ bench: 'control', ...about, records }]);
  t.is(summary.trim().split('\n').length, 1);
});
