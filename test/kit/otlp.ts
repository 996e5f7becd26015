// A reader of what is pushed by OTLP, by opentelemetry-proto's metrics.proto and common.proto.

import { Fields } from './protobuf.ts';

export interface OtlpPoint {
  readonly attributes: Readonly<Record<string, string>>;
  readonly startNs: bigint;
  readonly endNs: bigint;
  /** Of a histogram its count. */
  readonly value: number;
  readonly bucketCounts: readonly number[];
  readonly bounds: readonly number[];
  readonly sum: number | undefined;
}

export interface OtlpMetric {
  readonly name: string;
  readonly unit: string;
  readonly kind: 'gauge' | 'sum' | 'histogram';
  readonly isCumulative: boolean;
  readonly isMonotonic: boolean;
  readonly points: readonly OtlpPoint[];
}

export interface OtlpRequest {
  readonly resource: Readonly<Record<string, string>>;
  readonly metrics: readonly OtlpMetric[];
}

const KINDS = [
  [5, 'gauge'],
  [7, 'sum'],
  [9, 'histogram'],
] as const;
/** AGGREGATION_TEMPORALITY_CUMULATIVE. */
const CUMULATIVE = '2';

/** KeyValues with strings. */
function attributesIn(of: Fields, number: number): Record<string, string> {
  const pairs = of.messages(number).map((pair) => [pair.text(1), pair.messages(2)[0]?.text(1)]);
  return Object.fromEntries(pairs) as Record<string, string>;
}

function eights(of: Fields, number: number): Buffer[] {
  return of
    .values(number)
    .flatMap((value) =>
      typeof value === 'bigint'
        ? []
        : Array.from({ length: value.length / 8 }, (_, at) => value.subarray(at * 8, at * 8 + 8)),
    );
}

function numberPoint(point: Fields): OtlpPoint {
  return {
    attributes: attributesIn(point, 7),
    ...timesOf(point),
    value: eights(point, 4)[0]?.readDoubleLE() ?? Number(eights(point, 6)[0]?.readBigInt64LE()),
    ...{ bucketCounts: [], bounds: [], sum: undefined },
  };
}

function histogramPoint(point: Fields): OtlpPoint {
  return {
    attributes: attributesIn(point, 9),
    ...timesOf(point),
    value: Number(eights(point, 4)[0]?.readBigUInt64LE()),
    bucketCounts: eights(point, 6).map((bytes) => Number(bytes.readBigUInt64LE())),
    bounds: eights(point, 7).map((bytes) => bytes.readDoubleLE()),
    sum: eights(point, 5)[0]?.readDoubleLE(),
  };
}

function timesOf(point: Fields): { startNs: bigint; endNs: bigint } {
  const [startNs = 0n, endNs = 0n] = [2, 3].map((at) => eights(point, at)[0]?.readBigUInt64LE());
  return { startNs, endNs };
}

function metricIn(metric: Fields): OtlpMetric {
  const [number, kind] = KINDS.find(([at]) => metric.values(at).length > 0) ?? [0, 'gauge'];
  const [data = new Fields(Buffer.alloc(0))] = metric.messages(number);
  return {
    ...{ name: metric.text(1), unit: metric.text(3), kind },
    isCumulative: data.text(2) === CUMULATIVE,
    isMonotonic: data.isTrue(3),
    points: data.messages(1).map(kind === 'histogram' ? histogramPoint : numberPoint),
  };
}

/** An ExportMetricsServiceRequest of one resource. */
export function readOtlp(bytes: Uint8Array): OtlpRequest {
  const [resourceMetrics] = new Fields(Buffer.from(bytes)).messages(1);
  const [resource] = resourceMetrics?.messages(1) ?? [];
  const metrics = resourceMetrics?.messages(2).flatMap((scope) => scope.messages(2)) ?? [];
  return {
    resource: resource === undefined ? {} : attributesIn(resource, 1),
    metrics: metrics.map(metricIn),
  };
}
