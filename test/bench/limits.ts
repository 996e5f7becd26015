// What podpace must show in the benches, and the comparison with what was measured. Pure.

import type { Row } from './lab-report.ts';
import { LATENCY_SCENARIOS, UDP_SCENARIOS } from './names.ts';
import type { Bench, System } from './names.ts';

/** One requirement and whether it was met. */
export interface Verdict {
  readonly bench: Bench;
  readonly scenario: string;
  readonly met: boolean;
  /** The requirement with the figure that was measured, for a person. */
  readonly text: string;
}

/** Half a percent, and the default burst: 1 ms of the rate in a window of 1 s. */
const MAX_WINDOW_SHARE = 1.006;
/** Of the last nanosecond of a clock a part may be charged that nobody has used yet. */
const ROUNDING_NS = 1;

/** Looks figures up. Undefined when a figure was not measured. */
type Figures = (metric: string, system?: System, scenario?: string) => number | undefined;

/** A figure and the bound that it must not cross. */
interface Requirement {
  readonly what: string;
  readonly value: number | undefined;
  readonly unit: string;
  readonly least?: number | undefined;
  readonly most?: number | undefined;
}

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

function besideTbf(scenario: string, of: Figures): Requirement {
  const part = P99_PART_OF_TBF[scenario] ?? 1;
  const most = times(1 / part, of('rr_p99_us', 'tbf'));
  return { what: `rr p99, 1/${part} of TBF's`, value: of('rr_p99_us'), unit: 'us', most };
}

function asIdle(of: Figures): Requirement[] {
  return [
    {
      what: 'rr p99, 2 times idle',
      value: of('rr_p99_us'),
      unit: 'us',
      most: times(2, of('rr_p99_us', 'none')),
    },
    {
      what: 'rr p50, 1.3 times idle',
      value: of('rr_p50_us'),
      unit: 'us',
      most: times(1.3, of('rr_p50_us', 'none')),
    },
    { what: 'cap used', value: of('cap_used_share'), unit: '', least: 0.985 },
    { what: 'bulk mean RTT', value: of('bulk_rtt_us'), unit: 'us', most: 15_000 },
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
  const requirements = [besideTbf(scenario, of)];
  if (scenario === '100M-cubic-1x1' || scenario === '100M-ecn-1x1')
    requirements.push(...asIdle(of));
  if (scenario === '100M-ecn-1x1') {
    requirements.push(
      { what: 'retransmits', value: of('retransmits'), unit: 'segments', most: 10 },
      { what: 'AQM drops', value: of('aqm_drops'), unit: 'packets', most: 10 },
    );
  }
  return requirements;
}

function accuracyRequirements(scenario: string, of: Figures): Requirement[] {
  return [
    { what: 'highest second', value: of('max_window_share'), unit: '', most: MAX_WINDOW_SHARE },
    {
      what: 'mean',
      value: of('mean_share'),
      unit: '',
      least: scenario.startsWith('1G') ? 0.97 : 0.985,
    },
  ];
}

function costRequirements(scenario: string, of: Figures): Requirement[] {
  const plain = of('ns_per_packet', 'edt-fifo', 'bulk');
  const value = of('ns_per_packet');
  if (scenario === 'bulk')
    return [{ what: "1.8 times the plain step's", value, unit: 'ns', most: times(1.8, plain) }];
  if (scenario === 'unclassified')
    return [{ what: "0.7 times the plain step's", value, unit: 'ns', most: times(0.7, plain) }];
  return [];
}

/** Within one percent of the figure of a direction by itself. */
function asAlone(what: string, metric: string, alone: string, of: Figures): Requirement[] {
  const [value, single] = [of(metric), of(metric, 'podpace', alone)];
  return [
    {
      what: `${what} beside the other direction`,
      value,
      unit: 'Mbit/s',
      least: times(0.99, single),
    },
    {
      what: `${what} beside the other direction`,
      value,
      unit: 'Mbit/s',
      most: times(1.01, single),
    },
  ];
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
  if (scenario === '20M-rr') {
    const most = times(1 / 8, of('rr_p99_us', 'tbf'));
    return [{ what: "rr p99, 1/8 of TBF's", value: of('rr_p99_us'), unit: 'us', most }];
  }
  const goodput = of('goodput_mbit');
  const retransmits = scenario === '20M-ecn' ? 5 : 100;
  return [
    { what: 'goodput', value: goodput, unit: 'Mbit/s', least: 18.9 },
    { what: 'goodput', value: goodput, unit: 'Mbit/s', most: 19.15 },
    { what: 'first second', value: of('first_second_mbit'), unit: 'Mbit/s', most: 20.3 },
    { what: 'retransmits', value: of('retransmits'), unit: 'segments', most: retransmits },
  ];
}

/** netkit with host routing beside the node itself, and better than ptp. */
function wiringRequirements(of: Figures): Requirement[] {
  const [stream, transactions, p99, cost] = [
    of('stream_mbit'),
    of('rr_per_sec'),
    of('rr_p99_us'),
    of('cpu_s_per_gb'),
  ];
  const host = (metric: string): number | undefined => of(metric, 'none', 'host');
  const ptp = (metric: string): number | undefined => of(metric, 'none', 'ptp');
  return [
    {
      what: "stream, 0.9 of the node's",
      value: stream,
      unit: 'Mbit/s',
      least: times(0.9, host('stream_mbit')),
    },
    {
      what: "transactions, 0.9 of the node's",
      value: transactions,
      unit: '1/s',
      least: times(0.9, host('rr_per_sec')),
    },
    {
      what: "p99, 1.15 of the node's",
      value: p99,
      unit: 'us',
      most: times(1.15, host('rr_p99_us')),
    },
    { what: 'stream, as ptp', value: stream, unit: 'Mbit/s', least: ptp('stream_mbit') },
    { what: 'transactions, as ptp', value: transactions, unit: '1/s', least: ptp('rr_per_sec') },
    { what: 'CPU, as ptp', value: cost, unit: 's/GB', most: ptp('cpu_s_per_gb') },
  ];
}

/** A capped pod whose packets keep their socket. */
function wiredCapRequirements(scenario: string, of: Figures): Requirement[] {
  const cap = {
    what: 'highest second',
    value: of('max_window_share'),
    unit: '',
    most: MAX_WINDOW_SHARE,
  };
  if (/^queue-.*routing$/.test(scenario))
    return [cap, { what: 'bulk mean RTT', value: of('bulk_rtt_us'), unit: 'us', most: 5000 }];
  if (scenario.startsWith('pace'))
    return [cap, { what: 'of its own pace', value: of('pace_share'), unit: '', least: 0.97 }];
  if (scenario === 'lossy-bbr') {
    const least = times(5, of('goodput_mbit', 'podpace', 'lossy-cubic'));
    return [
      cap,
      { what: "goodput, 5 times cubic's", value: of('goodput_mbit'), unit: 'Mbit/s', least },
    ];
  }
  return [];
}

/** What can only be policed: TCP by itself has a policer take more from it. */
function nodeRequirements(scenario: string, of: Figures): Requirement[] {
  const mean = of('mean_mbit');
  return [
    { what: 'mean', value: mean, unit: 'Mbit/s', least: scenario.includes('tcp') ? 8.5 : 9.9 },
    { what: 'mean', value: mean, unit: 'Mbit/s', most: 10.1 },
    { what: 'highest second', value: of('max_second_mbit'), unit: 'Mbit/s', most: 10.1 },
    {
      what: "rr p99, 1/8 of TBF's",
      value: of('rr_p99_us'),
      unit: 'us',
      most: times(1 / 8, of('rr_p99_us', 'tbf')),
    },
  ];
}

function requirementsOf(bench: Bench, scenario: string, of: Figures): Requirement[] {
  switch (bench) {
    case 'latency':
      return latencyRequirements(scenario, of);
    case 'accuracy':
      return accuracyRequirements(scenario, of);
    case 'udp':
      return [{ what: 'delivered', value: of('delivered_share'), unit: '', least: 0.99 }];
    case 'exact':
      return [
        { what: 'uncharged', value: absolute(of('uncharged_ns')), unit: 'ns', most: ROUNDING_NS },
      ];
    case 'cost':
      return costRequirements(scenario, of);
    case 'live':
      return [
        { what: 'in force after', value: of('settle_ms'), unit: 'ms', most: 100 },
        { what: 'reordered', value: of('reordered'), unit: 'segments', most: 0 },
        { what: 'highest second', value: of('max_window_share'), unit: '', most: MAX_WINDOW_SHARE },
      ];
    case 'ingress':
      return ingressRequirements(scenario, of);
    case 'samenode':
      return [
        { what: 'goodput', value: of('goodput_mbit'), unit: 'Mbit/s', least: 1.88 },
        { what: 'goodput', value: of('goodput_mbit'), unit: 'Mbit/s', most: 1.92 },
      ];
    case 'node':
      return nodeRequirements(scenario, of);
    case 'bystanders':
      return [
        {
          what: '97 % of what it is without podpace',
          value: of('mbit'),
          unit: 'Mbit/s',
          least: times(0.97, of('mbit', 'none')),
        },
      ];
    case 'wiring':
      return scenario === 'netkit-routing'
        ? wiringRequirements(of)
        : wiredCapRequirements(scenario, of);
    case 'memory':
      return [{ what: 'BPF maps', value: of('bpf_map_mib'), unit: 'MiB', most: 16 }];
  }
}

/** A figure with as many digits as tell it from its bound. */
export function formatFigure(value: number): string {
  if (Number.isInteger(value)) return String(value);
  if (Math.abs(value) < 1e-3) return value.toExponential(2);
  if (Math.abs(value) < 10) return value.toFixed(4).replace(/\.?0+$/, '');
  return value.toFixed(Math.abs(value) < 1000 ? 1 : 0);
}

function judgeOne(bench: Bench, scenario: string, requirement: Requirement): Verdict {
  const { what, value, unit, least, most } = requirement;
  const bound = least ?? most;
  if (value === undefined || bound === undefined)
    return { bench, scenario, met: false, text: `${bench} ${scenario}: ${what}: not measured` };
  const met = least === undefined ? value <= bound : value >= bound;
  const side = least === undefined ? 'at most' : 'at least';
  const units = unit === '' ? '' : ` ${unit}`;
  const text = `${bench} ${scenario}: ${what}: ${formatFigure(value)}${units}, must be ${side} ${formatFigure(bound)}`;
  return { bench, scenario, met, text };
}

/**
 * Every requirement on podpace under the scenarios that were asked for. What was not measured is
 * not met.
 */
export function judge(
  rows: readonly Row[],
  wanted: readonly { readonly bench: Bench; readonly scenarios: readonly string[] }[],
): Verdict[] {
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
      return requirementsOf(bench, scenario, figures)
        .map((each) => judgeOne(bench, scenario, each))
        .map((verdict) => ({ ...verdict, text: verdict.text + note }));
    }),
  );
}
