// The metrics of podpace: their names, labels and meaning. Pure. What is added here stands in the
// reference (conf/monitoring/METRICS.md), which a test compares.
//
// Series of a pod have `namespace`, `pod` and `interface`, so that they join with those of
// kube-state-metrics; `container` besides only where that does not tell them apart.

import {
  keyOf,
  type AttachmentKey,
  type Direction,
  type DirectionCounters,
  type EffectiveCap,
  type ExitStatus,
  type PodNames,
} from '../protocol/messages.ts';
import type { Measured } from '../shaping/counters.ts';
import { DIRECTIONS } from '../shaping/effective.ts';
import type { CounterName } from '../wire/aggregate.ts';
import { seriesOf, type Family, type Sample } from './exposition.ts';

const NS_PER_SEC = 1e9;
const BITS_PER_BYTE = 8;
/** Enough of a container's id to find it by. */
const SHORT_ID = 13;

/** One direction that has a cap. */
export interface MeasuredDirection {
  readonly series: string;
  readonly attachment: Pick<Measured, 'addedAt' | keyof AttachmentKey | keyof PodNames>;
  readonly direction: Direction;
  readonly counters: DirectionCounters;
  readonly cap: EffectiveCap | undefined;
  readonly isEnforced: boolean;
}

function podSeries(
  { podNamespace, podName, containerId, ifname }: AttachmentKey & PodNames,
  isOnly: boolean,
): string {
  const isNamed = podNamespace !== undefined && podName !== undefined;
  return seriesOf({
    namespace: podNamespace,
    pod: podName,
    interface: ifname,
    container: isNamed && isOnly ? undefined : containerId.slice(0, SHORT_ID),
  });
}

/** All directions with a cap, with their labels: no two have the same. */
export function directionsOf(attachments: readonly Measured[]): MeasuredDirection[] {
  const newest = new Map<string, Measured>();
  for (const one of attachments) {
    const series = podSeries(one, true);
    const other = newest.get(series);
    if (other === undefined || (one.addedAt ?? '') >= (other.addedAt ?? ''))
      newest.set(series, one);
  }
  const chosen = new Set([...newest.values()].map(keyOf));
  return attachments.flatMap((one) => {
    const pod = podSeries(one, chosen.has(keyOf(one)));
    return DIRECTIONS.flatMap((direction) => {
      const counters = one[direction];
      if (counters === undefined) return [];
      const series = `${pod},direction="${direction}"`;
      const isEnforced = !one.notEnforced.includes(direction);
      const cap = one.effective[direction];
      return [{ series, attachment: one, direction, counters, cap, isEnforced }];
    });
  });
}

/** The first bucket of the datapath ends at 2^16 ns. */
const FIRST_EXPONENT = 16;

/** Buckets of the datapath at whose ends those of the metric end, each with its label. */
const BOUNDS = new Map(
  [17, 20, 22, 24, 26, 28, 30].map((exponent) => [
    exponent - FIRST_EXPONENT,
    `,le="${2 ** exponent / NS_PER_SEC}"`,
  ]),
);

function sojournSamples({ series, counters }: MeasuredDirection): Sample[] {
  const samples: Sample[] = [];
  let count = 0;
  for (const [bucket, packets] of counters.total.sojourn.entries()) {
    count += packets;
    const label = BOUNDS.get(bucket);
    if (label !== undefined)
      samples.push({ series: series + label, suffix: '_bucket', value: count });
  }
  samples.push({ series: `${series},le="+Inf"`, suffix: '_bucket', value: count });
  samples.push({ series, suffix: '_count', value: count });
  return samples;
}

/** A family of which each direction has samples. */
export interface DirectionFamily extends Family {
  readonly samples: (direction: MeasuredDirection) => readonly Sample[];
}

function single(
  family: Family,
  valueOf: (direction: MeasuredDirection) => number | undefined,
): DirectionFamily {
  const samples = (direction: MeasuredDirection): Sample[] => {
    const value = valueOf(direction);
    return value === undefined ? [] : [{ series: direction.series, value }];
  };
  return { ...family, samples };
}

function unitOf(name: string): Pick<Family, 'unit'> {
  if (name.endsWith('_seconds')) return { unit: 'seconds' };
  return name.endsWith('_bytes') ? { unit: 'bytes' } : {};
}

function counted(name: string, counter: CounterName, help: string, per = 1): DirectionFamily {
  const family: Family = { name, type: 'counter', help, ...unitOf(name) };
  return single(family, ({ counters: { total } }) => {
    const count = total[counter];
    return count === undefined ? undefined : count / per;
  });
}

const DROP_CAUSES = [
  ['horizon', 'droppedHorizon'],
  ['aqm', 'droppedAqm'],
  ['fairness', 'droppedFlow'],
] as const;

/** Of each pod's capped directions. */
export const DIRECTION_FAMILIES: readonly DirectionFamily[] = [
  single(
    {
      ...{ name: 'podpace_pod_cap_bytes_per_second', type: 'gauge' },
      help: 'The cap, in bytes of layer 2 a second.',
    },
    ({ cap }) => (cap === undefined ? undefined : cap.rateBitsPerSec / BITS_PER_BYTE),
  ),
  single(
    {
      ...{ name: 'podpace_pod_enforced', type: 'gauge' },
      help: '1 where the cap is enforced, 0 where something is wrong: see podpaced list.',
    },
    ({ isEnforced }) => Number(isEnforced),
  ),
  counted('podpace_pod_bytes', 'bytes', 'Bytes of layer 2 that were let through.'),
  counted('podpace_pod_packets', 'packets', 'Packets that were let through.'),
  counted('podpace_pod_delayed_packets', 'delayed', 'Packets that had to wait for the cap.'),
  counted(
    'podpace_pod_sparse_packets',
    'sparse',
    'Packets of sparse flows, let ahead of the bulk.',
  ),
  counted('podpace_pod_marked_packets', 'ceMarked', 'Packets that were marked CE (ECN).'),
  {
    ...{ name: 'podpace_pod_dropped_packets', type: 'counter' },
    help: 'Packets dropped, by cause: horizon (the queue is full), aqm (to slow a flow down), fairness (a flow above its share).',
    samples: ({ series, counters: { total } }) =>
      DROP_CAUSES.flatMap(([cause, name]) => {
        const value = total[name];
        return value === undefined ? [] : [{ series: `${series},cause="${cause}"`, value }];
      }),
  },
  counted(
    'podpace_pod_throttled_seconds',
    'throttledNs',
    'Time for which a packet of the bulk would have had to wait for the cap.',
    NS_PER_SEC,
  ),
  single(
    {
      ...{ name: 'podpace_pod_backlog_seconds', type: 'gauge', unit: 'seconds' },
      help: 'How long a packet of the bulk that comes now would wait.',
    },
    ({ counters }) => counters.backlogNs / NS_PER_SEC,
  ),
  single(
    {
      ...{ name: 'podpace_pod_unaccounted_bytes', type: 'counter', unit: 'bytes' },
      help: 'Bytes that the pod sent and that met no exit: dropped by a firewall, or without a cap.',
    },
    ({ direction, counters: { books } }) =>
      direction === 'ingress' ? undefined : books?.unaccountedBytes,
  ),
  single(
    {
      ...{ name: 'podpace_pod_exempt_bytes', type: 'counter', unit: 'bytes' },
      help: 'Bytes to or from addresses for which no cap counts.',
    },
    ({ counters: { books } }) => books?.exemptBytes,
  ),
  {
    ...{ name: 'podpace_pod_sojourn_seconds', type: 'histogram', unit: 'seconds' },
    help: 'How long packets that were let through waited for the cap.',
    samples: sojournSamples,
  },
];

/** What the helper says of itself and of the node. */
export interface HelperFigures {
  readonly version: string;
  readonly attachments: number;
  readonly problems: number;
  /** Those that caps need, without ways into pods. */
  readonly exits: readonly Pick<ExitStatus, 'name' | 'role' | 'problems'>[];
  readonly repairSeconds: number;
  readonly repairs: number;
  /** By method and outcome: `ok`, or the error's code. */
  readonly requests: ReadonlyMap<string, ReadonlyMap<string, number>>;
  readonly lostEvents: number;
  readonly cpuSeconds: number;
  readonly residentBytes: number;
  readonly startedAtSeconds: number;
}

/** A family with all its samples. */
export interface HelperFamily extends Family {
  readonly samples: (figures: HelperFigures) => readonly Sample[];
}

function figure(family: Family, valueOf: (figures: HelperFigures) => number): HelperFamily {
  return { ...family, samples: (figures) => [{ series: '', value: valueOf(figures) }] };
}

export const HELPER_FAMILIES: readonly HelperFamily[] = [
  {
    ...{ name: 'podpace_build_info', type: 'gauge', help: 'The release, as a label.' },
    samples: ({ version }) => [{ series: seriesOf({ version }), value: 1 }],
  },
  figure(
    { name: 'podpace_attachments', type: 'gauge', help: 'Pod interfaces with a cap.' },
    ({ attachments }) => attachments,
  ),
  figure(
    {
      ...{ name: 'podpace_problems', type: 'gauge' },
      help: 'What is wrong on the node: see podpaced status. 0 where every cap is enforced.',
    },
    ({ problems }) => problems,
  ),
  {
    ...{ name: 'podpace_exit_enforced', type: 'gauge' },
    help: '1 where an exit holds caps; 0 with the reason where it does not.',
    samples: ({ exits }) =>
      exits.map(({ name, role, problems: [reason = ''] }) => ({
        series: seriesOf({ exit: name, role, reason }),
        value: Number(reason === ''),
      })),
  },
  figure(
    {
      ...{ name: 'podpace_reconcile_seconds', type: 'counter', unit: 'seconds' },
      help: 'Time taken by looks at the whole node.',
    },
    ({ repairSeconds }) => repairSeconds,
  ),
  figure(
    { name: 'podpace_reconciles', type: 'counter', help: 'Looks at the whole node.' },
    ({ repairs }) => repairs,
  ),
  {
    ...{ name: 'podpace_requests', type: 'counter' },
    help: 'Requests on the socket, by method and outcome.',
    samples: ({ requests }) =>
      [...requests].flatMap(([method, byOutcome]) =>
        [...byOutcome].map(([outcome, value]) => ({
          series: seriesOf({ method, outcome }),
          value,
        })),
      ),
  },
  figure(
    {
      ...{ name: 'podpace_lost_events', type: 'counter' },
      help: 'Times that the kernel dropped events since they came too fast; a whole look follows.',
    },
    ({ lostEvents }) => lostEvents,
  ),
  figure(
    {
      ...{ name: 'process_cpu_seconds', type: 'counter', unit: 'seconds' },
      help: 'Processor time of podpaced.',
    },
    ({ cpuSeconds }) => cpuSeconds,
  ),
  figure(
    {
      ...{ name: 'process_resident_memory_bytes', type: 'gauge', unit: 'bytes' },
      help: 'Resident memory of podpaced.',
    },
    ({ residentBytes }) => residentBytes,
  ),
  figure(
    {
      ...{ name: 'process_start_time_seconds', type: 'gauge', unit: 'seconds' },
      help: 'When podpaced started, since the epoch.',
    },
    ({ startedAtSeconds }) => startedAtSeconds,
  ),
];
