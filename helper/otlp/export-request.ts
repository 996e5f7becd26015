// Metrics as OTLP's protobuf, of the one table of families that the page of Prometheus is written
// from (helper/metrics/families.ts). Pure.
//
// Sources: opentelemetry-proto, metrics/v1/metrics.proto; "OpenTelemetry Metrics Data Model", section
// "OTLP Metric points to Prometheus", by which a receiver names them as that page does; attributes by
// the semantic conventions for k8s, container, network and rpc.

import { ValueType, type Attributes, type HrTime } from '@opentelemetry/api';
import { ProtobufMetricsSerializer } from '@opentelemetry/otlp-transformer';
import {
  AggregationTemporality,
  DataPointType,
  type DataPoint,
  type Histogram,
  type MetricData,
  type ResourceMetrics,
} from '@opentelemetry/sdk-metrics';
import { labelsOf, type Family, type Sample } from '../metrics/exposition.ts';
import {
  DIRECTION_FAMILIES,
  HELPER_FAMILIES,
  type HelperFigures,
  type MeasuredDirection,
} from '../metrics/families.ts';

const MS_PER_SEC = 1000;
const NS_PER_MS = 1_000_000;

/** Who tells. */
export interface Teller {
  readonly version: string;
  readonly hostName: string;
  /** Of the cluster, if it is known. */
  readonly nodeName: string | undefined;
}

/** Milliseconds since the epoch: since when figures add up, and when they were read. */
export interface Span {
  /** Of the helper's own. */
  readonly startMs: number;
  readonly endMs: number;
}

/**
 * What labels are called as attributes. Those that say which pod are not here: attributes have more
 * of it than labels.
 */
const ATTRIBUTES: Readonly<Record<string, string>> = {
  exit: 'network.interface.name',
  role: 'podpace.exit.role',
  reason: 'podpace.exit.reason',
  cause: 'podpace.drop.cause',
  method: 'rpc.method',
  outcome: 'podpace.outcome',
  version: 'service.version',
};

/** In the words of `network.io.direction`, which sees it from the pod. */
const IO_DIRECTIONS = { egress: 'transmit', ingress: 'receive' } as const;

/**
 * `podpace.pod.cap_bytes_per_second`. A receiver turns dots to underscores, and adds the unit only
 * where a name does not end in it.
 */
export function otlpName(name: string): string {
  return name.replace(/^(podpace_pod|podpace_exit|podpace|process)_/, (scope) =>
    scope.replaceAll('_', '.'),
  );
}

/** By UCUM. A gauge of unit 1 would be called a ratio: such have none. */
function otlpUnit(name: string): string {
  if (name.endsWith('_bytes_per_second')) return 'By/s';
  if (name.endsWith('_seconds')) return 's';
  if (name.endsWith('_bytes')) return 'By';
  return name.endsWith('_packets') ? '{packet}' : '';
}

function hrTime(ms: number): HrTime {
  return [Math.floor(ms / MS_PER_SEC), Math.round((ms % MS_PER_SEC) * NS_PER_MS)];
}

function podAttributes({ attachment, direction }: MeasuredDirection): Attributes {
  const { podNamespace, podName, podUid, containerId, ifname } = attachment;
  return {
    ...(podNamespace !== undefined && { 'k8s.namespace.name': podNamespace }),
    ...(podName !== undefined && { 'k8s.pod.name': podName }),
    ...(podUid !== undefined && { 'k8s.pod.uid': podUid }),
    'container.id': containerId,
    'network.interface.name': ifname,
    'network.io.direction': IO_DIRECTIONS[direction],
  };
}

/** One that a family has samples of. */
interface Subject {
  readonly samples: readonly Sample[];
  /** The beginning of all its series, and the attributes that stand for it. */
  readonly series: string;
  readonly attributes: Attributes;
  readonly startTime: HrTime;
}

/** Labels that a sample has beyond those of its subject. There are few: each is read once. */
class OwnLabels {
  readonly #read = new Map<string, [name: string, value: string][]>();

  of({ series }: Sample, subject: string): readonly (readonly [name: string, value: string])[] {
    const own = series.slice(subject.length);
    let labels = this.#read.get(own);
    if (labels === undefined) {
      labels = labelsOf(own);
      this.#read.set(own, labels);
    }
    return labels;
  }
}

/** The buckets of a subject, each with its own packets only. */
function histogramOf({ samples, series }: Subject, labels: OwnLabels): Histogram {
  const buckets = samples.filter(({ suffix }) => suffix === '_bucket');
  const counts = buckets.map(({ value }, index) => value - (buckets[index - 1]?.value ?? 0));
  const bounds = buckets.map((sample) => Number(labels.of(sample, series)[0]?.[1]));
  return {
    buckets: { boundaries: bounds.filter((bound) => Number.isFinite(bound)), counts },
    count: buckets.at(-1)?.value ?? 0,
  };
}

function attributesOf(
  sample: Sample,
  { series, attributes }: Subject,
  labels: OwnLabels,
): Attributes {
  const own = labels.of(sample, series);
  if (own.length === 0) return attributes;
  const named = own.map(([label, value]) => [ATTRIBUTES[label] ?? label, value]);
  return { ...attributes, ...(Object.fromEntries(named) as Attributes) };
}

function metricOf(
  { name, type, help }: Family,
  subjects: readonly Subject[],
  { endTime, labels }: { readonly endTime: HrTime; readonly labels: OwnLabels },
): MetricData {
  const descriptor = {
    ...{ name: otlpName(name), description: help, unit: otlpUnit(name) },
    valueType: ValueType.DOUBLE,
  };
  const head = { descriptor, aggregationTemporality: AggregationTemporality.CUMULATIVE };
  if (type === 'histogram') {
    const dataPoints = subjects.map((subject) => ({
      ...{ startTime: subject.startTime, endTime, attributes: subject.attributes },
      value: histogramOf(subject, labels),
    }));
    return { ...head, dataPointType: DataPointType.HISTOGRAM, dataPoints };
  }
  const dataPoints = subjects.flatMap((subject) =>
    subject.samples.map((sample): DataPoint<number> => {
      const attributes = attributesOf(sample, subject, labels);
      return { startTime: subject.startTime, endTime, value: sample.value, attributes };
    }),
  );
  return type === 'counter'
    ? { ...head, dataPointType: DataPointType.SUM, isMonotonic: true, dataPoints }
    : { ...head, dataPointType: DataPointType.GAUGE, dataPoints };
}

function requestOf({ version, hostName, nodeName }: Teller, metrics: MetricData[]): Uint8Array {
  const attributes: Attributes = {
    ...{ 'service.name': 'podpaced', 'service.version': version, 'host.name': hostName },
    ...(nodeName !== undefined && { 'k8s.node.name': nodeName }),
  };
  const scope = { name: 'podpace', version };
  // Of a resource nothing else is written.
  const resource = { attributes } as ResourceMetrics['resource'];
  const told = metrics.filter(({ dataPoints }) => dataPoints.length > 0);
  const bytes = ProtobufMetricsSerializer.serializeRequest({
    ...{ resource, scopeMetrics: [{ scope, metrics: told }] },
  });
  if (bytes === undefined) throw new Error('Cannot write metrics as OTLP');
  return bytes;
}

/** An ExportMetricsServiceRequest of what the helper says of itself and of the node. */
export function helperRequest(teller: Teller, figures: HelperFigures, span: Span): Uint8Array {
  const context = { endTime: hrTime(span.endMs), labels: new OwnLabels() };
  const itself = { series: '', attributes: {}, startTime: hrTime(span.startMs) };
  const metrics = HELPER_FAMILIES.map((family) =>
    metricOf(family, [{ samples: family.samples(figures), ...itself }], context),
  );
  return requestOf(teller, metrics);
}

/** A direction of a pod, and since when its counters add up. */
export interface CountedDirection {
  readonly direction: MeasuredDirection;
  readonly startMs: number;
}

/** An ExportMetricsServiceRequest of pods' directions, read at one time. */
export function directionsRequest(
  teller: Teller,
  directions: readonly CountedDirection[],
  endMs: number,
): Uint8Array {
  const context = { endTime: hrTime(endMs), labels: new OwnLabels() };
  const pods = directions.map(({ direction, startMs }) => ({
    direction,
    series: direction.series,
    attributes: podAttributes(direction),
    startTime: hrTime(startMs),
  }));
  const metrics = DIRECTION_FAMILIES.map((family) => {
    const subjects = pods.map(({ direction, ...pod }) => ({
      samples: family.samples(direction),
      ...pod,
    }));
    return metricOf(family, subjects, context);
  });
  return requestOf(teller, metrics);
}

/** What a receiver that took a request says of points that it did not take; undefined: of none. */
export function rejectionIn(answer: Uint8Array): string | undefined {
  const { partialSuccess } = ProtobufMetricsSerializer.deserializeResponse(answer);
  const rejected = partialSuccess?.rejectedDataPoints ?? 0;
  const said = partialSuccess?.errorMessage ?? '';
  if (rejected === 0 && said === '') return undefined;
  return `${rejected} points were refused${said === '' ? '' : `: ${said}`}`;
}
