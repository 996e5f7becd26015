// What podpace must show in the benches, and the comparison with what was measured.

import { FIRST_LAYOUT_REVISION } from '../../scripts/lib/revisions.ts';
import type { Row } from './record.ts';
import { LATENCY_SCENARIOS, UDP_SCENARIOS } from './names.ts';
import type { Bench, ControlSystem, System } from './names.ts';
import type { Verdict } from './verdict.ts';

/** One requirement of a bench. */
export interface BenchVerdict extends Verdict {
  readonly bench: Bench;
}

/** Half a percent, and the default burst: 1 ms of the rate in a window of 1 s. */
const MAX_WINDOW_SHARE = 1.006;
/** Of the last nanosecond of a clock a part may be charged that nobody has used yet. */
const ROUNDING_NS = 1;

/** Looks figures up. Undefined when a figure was not measured. */
type Figures = (
  metric: string,
  system?: System | ControlSystem,
  scenario?: string,
) => number | undefined;

/** A figure and the bound that it must not cross. */
interface Requirement {
  readonly what: string;
  readonly value: number | undefined;
  readonly unit: string;
  readonly side: 'at least' | 'at most';
  readonly bound: number | undefined;
}

/** What must not be below a bound, or above it. */
const bounded =
  (side: Requirement['side']) =>
  (
    what: string,
    unit: string,
    value: number | undefined,
    bound: number | undefined,
  ): Requirement => ({ what, value, unit, side, bound });
const atLeast = bounded('at least');
const atMost = bounded('at most');

const times = (factor: number, value: number | undefined): number | undefined =>
  value === undefined ? undefined : factor * value;

const absolute = (value: number | undefined): number | undefined =>
  value === undefined ? undefined : Math.abs(value);

/** How much shorter than TBF's the 99th percentile must be. */
const P99_PART_OF_TBF: Readonly<Record<string, number>> = {
  '100M-cubic-1x1': 15,
  '100M-cubic-32x8': 8,
  '100M-bbr-1x1': 5,
  '100M-ecn-1x1': 15,
  '10M-cubic-1x1': 8,
  '1G-cubic-1x1': 3,
};

function besideTbf(part: number, of: Figures): Requirement {
  const bound = times(1 / part, of('rr_p99_us', 'tbf'));
  return atMost(`rr p99, 1/${part} of TBF's`, 'us', of('rr_p99_us'), bound);
}

function asIdle(of: Figures): Requirement[] {
  const [p99, p50] = [of('rr_p99_us', 'none'), of('rr_p50_us', 'none')];
  return [
    atMost('rr p99, 2 times idle', 'us', of('rr_p99_us'), times(2, p99)),
    atMost('rr p50, 1.3 times idle', 'us', of('rr_p50_us'), times(1.3, p50)),
    atLeast('cap used', '', of('cap_used_share'), 0.985),
    atMost('bulk mean RTT', 'us', of('bulk_rtt_us'), 15_000),
  ];
}

/** A load counts as reached with this part of it. */
const REACHED = 0.95;

function unreachedRequests(name: string, of: Figures): string | undefined {
  const scenario = LATENCY_SCENARIOS.find((each) => each.name === name);
  if (scenario === undefined) return undefined;
  const askedPerSec = scenario.requestFlows * scenario.requestsPerSec;
  const sentPerSec = of('rr_per_sec', 'none') ?? askedPerSec;
  if (sentPerSec < REACHED * askedPerSec)
    return `an idle pod sends ${formatFigure(sentPerSec)} of ${askedPerSec} requests a second`;
  const used = of('cap_used_share', 'tbf') ?? 1;
  return used < REACHED ? `TBF fills ${formatFigure(used)} of its cap` : undefined;
}

/** A pod that offers less than its cap cannot have that delivered. */
function unreachedOffer(name: string, of: Figures): string | undefined {
  const asked = UDP_SCENARIOS.find((each) => each.name === name)?.offeredMbit;
  const offered = of('offered_mbit');
  if (asked === undefined || offered === undefined || offered >= REACHED * asked) return undefined;
  return `the pod offers ${formatFigure(offered)} of ${asked} Mbit/s`;
}

/**
 * Says so when this machine cannot make the load of a scenario, so that its figures are those of
 * another one; else ''.
 */
function unreached(bench: Bench, name: string, of: Figures): string {
  const why =
    bench === 'latency'
      ? unreachedRequests(name, of)
      : bench === 'udp'
        ? unreachedOffer(name, of)
        : undefined;
  return why === undefined ? '' : ` (not reached: here ${why})`;
}

function latencyRequirements(scenario: string, of: Figures): Requirement[] {
  const isEcn = scenario === '100M-ecn-1x1';
  return [
    besideTbf(P99_PART_OF_TBF[scenario] ?? 1, of),
    ...(isEcn || scenario === '100M-cubic-1x1' ? asIdle(of) : []),
    ...(isEcn
      ? [
          atMost('retransmits', 'segments', of('retransmits'), 10),
          atMost('AQM drops', 'packets', of('aqm_drops'), 10),
        ]
      : []),
  ];
}

const windowOf = (of: Figures): Requirement =>
  atMost('highest second', '', of('max_window_share'), MAX_WINDOW_SHARE);

/** How much of the plain step's cost for bulk a step may take. */
const COST_TO_PLAIN: Readonly<Record<string, number>> = { bulk: 1.8, unclassified: 0.7 };

function costRequirements(scenario: string, of: Figures): Requirement[] {
  const factor = COST_TO_PLAIN[scenario];
  if (factor === undefined) return [];
  const bound = times(factor, of('ns_per_packet', 'edt-fifo', 'bulk'));
  return [atMost(`${factor} times the plain step's`, 'ns', of('ns_per_packet'), bound)];
}

/** Within two bounds. */
function within(
  what: string,
  unit: string,
  value: number | undefined,
  [least, most]: readonly [number | undefined, number | undefined],
): Requirement[] {
  return [atLeast(what, unit, value, least), atMost(what, unit, value, most)];
}

/** Within one percent of the figure of a direction by itself. */
function asAlone(what: string, metric: string, alone: string, of: Figures): Requirement[] {
  const single = of(metric, 'podpace', alone);
  const bounds = [times(0.99, single), times(1.01, single)] as const;
  return within(`${what} beside the other direction`, 'Mbit/s', of(metric), bounds);
}

function ingressRequirements(scenario: string, of: Figures): Requirement[] {
  if (scenario === '20M-egress') return [];
  if (scenario === '20M-both')
    return [
      ...asAlone('ingress', 'goodput_mbit', '20M', of),
      ...asAlone('ingress on the wire', 'wire_mbit', '20M', of),
      ...asAlone('egress', 'egress_goodput_mbit', '20M-egress', of),
      ...asAlone('egress on the wire', 'egress_wire_mbit', '20M-egress', of),
    ];
  if (scenario === '20M-rr') return [besideTbf(8, of)];
  const retransmits = scenario === '20M-ecn' ? 5 : 100;
  return [
    ...within('goodput', 'Mbit/s', of('goodput_mbit'), [18.9, 19.15]),
    atMost('first second', 'Mbit/s', of('first_second_mbit'), 20.3),
    atMost('retransmits', 'segments', of('retransmits'), retransmits),
  ];
}

/** netkit with host routing beside the node itself, and better than ptp. */
function wiringRequirements(of: Figures): Requirement[] {
  const [stream, transactions] = [of('stream_mbit'), of('rr_per_sec')];
  const host = (metric: string, part: number): number | undefined =>
    times(part, of(metric, 'none', 'host'));
  const ptp = (metric: string): number | undefined => of(metric, 'none', 'ptp');
  return [
    atLeast("stream, 0.9 of the node's", 'Mbit/s', stream, host('stream_mbit', 0.9)),
    atLeast("transactions, 0.9 of the node's", '1/s', transactions, host('rr_per_sec', 0.9)),
    atMost("p99, 1.15 of the node's", 'us', of('rr_p99_us'), host('rr_p99_us', 1.15)),
    atLeast('stream, as ptp', 'Mbit/s', stream, ptp('stream_mbit')),
    atLeast('transactions, as ptp', '1/s', transactions, ptp('rr_per_sec')),
    atMost('CPU, as ptp', 's/GB', of('cpu_s_per_gb'), ptp('cpu_s_per_gb')),
  ];
}

/** A capped pod whose packets keep their socket. */
function wiredCapRequirements(scenario: string, of: Figures): Requirement[] {
  if (/^queue-.*routing$/.test(scenario))
    return [windowOf(of), atMost('bulk mean RTT', 'us', of('bulk_rtt_us'), 5000)];
  if (scenario.startsWith('pace'))
    return [windowOf(of), atLeast('of its own pace', '', of('pace_share'), 0.97)];
  if (scenario !== 'lossy-bbr') return [];
  const bound = times(5, of('goodput_mbit', 'podpace', 'lossy-cubic'));
  return [windowOf(of), atLeast("goodput, 5 times cubic's", 'Mbit/s', of('goodput_mbit'), bound)];
}

/** What can only be policed: TCP by itself has a policer take more from it. */
function nodeRequirements(scenario: string, of: Figures): Requirement[] {
  const least = scenario.includes('tcp') ? 8.5 : 9.9;
  return [
    ...within('mean', 'Mbit/s', of('mean_mbit'), [least, 10.1]),
    atMost('highest second', 'Mbit/s', of('max_second_mbit'), 10.1),
    besideTbf(8, of),
  ];
}

/**
 * How much longer than those of Debian's ptp, host-local and bandwidth podpace's calls may take.
 */
const PART_OF_GO_CHAIN = {
  ...{ add: 1.8, del: 1.4, 'add-del': 1.55, 'add-10-at-once': 1.7 },
  ...{ 'add-tenth': 1.8, 'del-tenth': 1.4 },
} as const;
const PART_OF_NOTHING = 1.15;
/** Of the resident set of VERSION, which loads nothing. */
const PART_OF_VERSION_RSS = 1.15;

/** How long ADD and DEL may take beside those of a former revision. */
function besideBaseline(commit: string, of: Figures): Requirement {
  const part = commit === FIRST_LAYOUT_REVISION ? 0.6 : 1.05;
  const bound = times(part, of('wall_p50_ms', 'baseline'));
  return atMost(
    `wall p50, ${part} times that of ${commit.slice(0, 7)}`,
    'ms',
    of('wall_p50_ms'),
    bound,
  );
}

function controlRequirements(scenario: string, of: Figures, baseline?: string): Requirement[] {
  const besideGo = (percentile: 'p50' | 'p99', part: number): Requirement => {
    const [value, others] = [of(`wall_${percentile}_ms`), of(`wall_${percentile}_ms`, 'go-chain')];
    return atMost(
      `wall ${percentile}, ${part} times the Go plugins'`,
      'ms',
      value,
      times(part, others),
    );
  };
  switch (scenario) {
    case 'add':
    case 'del': {
      const bound = times(PART_OF_VERSION_RSS, of('peak_rss_mib', 'podpace', 'version'));
      return [
        besideGo('p50', PART_OF_GO_CHAIN[scenario]),
        atMost("peak RSS, 1.15 times VERSION's", 'MiB', of('peak_rss_mib'), bound),
      ];
    }
    case 'add-del':
      return [
        besideGo('p50', PART_OF_GO_CHAIN[scenario]),
        ...(baseline === undefined ? [] : [besideBaseline(baseline, of)]),
      ];
    case 'add-tenth':
    case 'del-tenth':
      return [besideGo('p50', PART_OF_GO_CHAIN[scenario])];
    case 'add-10-at-once':
      return [besideGo('p99', PART_OF_GO_CHAIN[scenario])];
    case 'check':
      return [];
    default:
      return (['wall', 'cpu'] as const).map((time) => {
        const [value, empty] = [of(`${time}_p50_ms`), of(`${time}_p50_ms`, 'empty-executable')];
        const what = `${time} p50, ${PART_OF_NOTHING} times the empty executable's`;
        return atMost(what, 'ms', value, times(PART_OF_NOTHING, empty));
      });
  }
}

/** Of a processor, and as starts of Node a minute: whichever is more. */
const IDLE_SHARE = 0.01;
const IDLE_STARTS_PER_MIN = 6;
const MS_PER_MIN = 60_000;

/** Asked of a thousand attachments; with more it has to work. */
function scaleRequirements(scenario: string, of: Figures): Requirement[] {
  if (scenario !== '1000') return [];
  const starts = times(IDLE_STARTS_PER_MIN / MS_PER_MIN, of('node_start_cpu_ms'));
  const ratio = of('attach_ratio');
  return [
    atMost('CPU at rest', '', of('idle_share'), starts && Math.max(IDLE_SHARE, starts)),
    atMost('status', 'ms', of('status_ms'), 50),
    atMost('list', 'ms', of('list_ms'), 150),
    atMost('resident set', 'MiB', of('rss_mib'), 90),
    atMost('event loop busy', 'ms', of('longest_busy_ms'), 50),
    // Where nothing can be attached this is not asked.
    ...(ratio === undefined ? [] : [atMost('last attach, of the first', '', ratio, 1.3)]),
  ];
}

/** What each bench asks for under a scenario. */
const REQUIREMENTS: Readonly<
  Record<Bench, (scenario: string, of: Figures, baseline?: string) => Requirement[]>
> = {
  latency: latencyRequirements,
  accuracy: (scenario, of) => [
    windowOf(of),
    atLeast('mean', '', of('mean_share'), scenario.startsWith('1G') ? 0.97 : 0.985),
  ],
  udp: (_, of) => [atLeast('delivered', '', of('delivered_share'), 0.99)],
  exact: (_, of) => [atMost('uncharged', 'ns', absolute(of('uncharged_ns')), ROUNDING_NS)],
  cost: costRequirements,
  live: (_, of) => [
    atMost('in force after', 'ms', of('settle_ms'), 100),
    atMost('reordered', 'segments', of('reordered'), 0),
    windowOf(of),
  ],
  ingress: ingressRequirements,
  samenode: (_, of) => within('goodput', 'Mbit/s', of('goodput_mbit'), [1.88, 1.92]),
  node: nodeRequirements,
  bystanders: (_, of) => {
    const bound = times(0.97, of('mbit', 'none'));
    return [atLeast('97 % of what it is without podpace', 'Mbit/s', of('mbit'), bound)];
  },
  wiring: (scenario, of) =>
    scenario === 'netkit-routing' ? wiringRequirements(of) : wiredCapRequirements(scenario, of),
  memory: (_, of) => [atMost('BPF maps', 'MiB', of('bpf_map_mib'), 16)],
  control: controlRequirements,
  scale: scaleRequirements,
};

/** A figure with as many digits as tell it from its bound. */
export function formatFigure(value: number): string {
  if (Number.isInteger(value)) return String(value);
  if (Math.abs(value) < 1e-3) return value.toExponential(2);
  if (Math.abs(value) < 10) return value.toFixed(4).replace(/\.?0+$/, '');
  return value.toFixed(Math.abs(value) < 1000 ? 1 : 0);
}

function judgeOne(bench: Bench, scenario: string, requirement: Requirement): BenchVerdict {
  const { what, value, unit, side, bound } = requirement;
  const head = `${bench} ${scenario}: ${what}`;
  if (value === undefined || bound === undefined)
    return { bench, scenario, met: false, text: `${head}: not measured` };
  const met = side === 'at most' ? value <= bound : value >= bound;
  const units = unit === '' ? '' : ` ${unit}`;
  const figure = `${formatFigure(value)}${units}, must be ${side} ${formatFigure(bound)}`;
  return { bench, scenario, met, text: `${head}: ${figure}` };
}

/**
 * Every requirement on podpace under the scenarios that were asked for. What was not measured is
 * not met. `baseline` is the commit that was measured beside it.
 */
export function judge(
  rows: readonly Row[],
  wanted: readonly { readonly bench: Bench; readonly scenarios: readonly string[] }[],
  baseline?: string,
): BenchVerdict[] {
  return wanted.flatMap(({ bench, scenarios }) =>
    scenarios.flatMap((scenario) => {
      const figures: Figures = (metric, system = 'podpace', of = scenario) =>
        rows.find(
          (row) =>
            row.bench === bench &&
            row.scenario === of &&
            row.system === system &&
            row.metric === metric,
        )?.value;
      const note = unreached(bench, scenario, figures);
      return REQUIREMENTS[bench](scenario, figures, baseline)
        .map((each) => judgeOne(bench, scenario, each))
        .map((verdict) => ({ ...verdict, text: verdict.text + note }));
    }),
  );
}
