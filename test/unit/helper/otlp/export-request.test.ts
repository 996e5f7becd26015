// What is pushed is read by a reader of the test's own, and held against the page of Prometheus.

import fs from 'node:fs';
import path from 'node:path';
import test from 'ava';
import { labelsOf } from '../../../../helper/metrics/exposition.ts';
import {
  DIRECTION_FAMILIES,
  directionsOf,
  HELPER_FAMILIES,
  type HelperFigures,
} from '../../../../helper/metrics/families.ts';
import {
  directionsRequest,
  helperRequest,
  otlpName,
  rejectionIn,
} from '../../../../helper/otlp/export-request.ts';
import { projectRoot } from '../../../../scripts/lib/paths.ts';
import { measuredPod } from '../../../kit/measured-pod.ts';
import { readOtlp } from '../../../kit/otlp.ts';
import { field, message } from '../../../kit/protobuf.ts';

const TELLER = { version: '1.2.3', hostName: 'host-a', nodeName: 'node-a' };
const START_MS = 1_796_000_000_123;
const END_MS = START_MS + 60_000;
const NS_PER_MS = 1_000_000n;

const FIGURES: HelperFigures = {
  ...{ version: '1.2.3', attachments: 3, problems: 1, repairSeconds: 0.5, repairs: 4 },
  exits: [{ name: 'eth0', role: 'uplink', problems: ['shaped by "another"\nprogram'] }],
  requests: new Map([['attach', new Map([['ok', 5]])]]),
  ...{ lostEvents: 0, cpuSeconds: 1.25, residentBytes: 90_000_000, startedAtSeconds: 1_796_000 },
};
const WEB = { podNamespace: 'shop', podName: 'web-0', podUid: 'u1' };

function pushed(names: object = WEB) {
  const [direction] = directionsOf([measuredPod('c'.repeat(64), names)]);
  if (direction === undefined) throw new Error('The pod has no direction');
  const request = directionsRequest(TELLER, [{ direction, startMs: START_MS }], END_MS);
  return { direction, request: readOtlp(request) };
}

test('a pod is told of by the attributes of OpenTelemetry', (t) => {
  const { request } = pushed();
  t.deepEqual(request.resource, {
    ...{ 'service.name': 'podpaced', 'service.version': '1.2.3' },
    ...{ 'host.name': 'host-a', 'k8s.node.name': 'node-a' },
  });
  const pod = {
    ...{ 'k8s.namespace.name': 'shop', 'k8s.pod.name': 'web-0', 'k8s.pod.uid': 'u1' },
    ...{ 'container.id': 'c'.repeat(64), 'network.interface.name': 'eth0' },
    'network.io.direction': 'transmit',
  };
  for (const { name, points } of request.metrics) {
    for (const { attributes, startNs, endNs } of points) {
      const { 'podpace.drop.cause': _cause, ...rest } = attributes;
      t.deepEqual(rest, pod, name);
      t.is(startNs, BigInt(START_MS) * NS_PER_MS);
      t.is(endNs, BigInt(END_MS) * NS_PER_MS);
    }
  }
  const dropped = request.metrics.find(({ name }) => name === 'podpace.pod.dropped_packets');
  t.deepEqual(
    dropped?.points.map(({ attributes }) => attributes['podpace.drop.cause']),
    ['horizon', 'aqm', 'fairness'],
  );
});

test('an interface that no pod of Kubernetes has is known by its container', (t) => {
  const [metric] = pushed({}).request.metrics;
  t.deepEqual(Object.keys(metric?.points[0]?.attributes ?? {}).toSorted(), [
    ...['container.id', 'network.interface.name', 'network.io.direction'],
  ]);
});

test('figures are those of the page: each sample of each family, and no other', (t) => {
  const { direction, request } = pushed();
  const helper = readOtlp(helperRequest(TELLER, FIGURES, { startMs: START_MS, endMs: END_MS }));
  const expected = [
    ...DIRECTION_FAMILIES.map((family) => ({ family, samples: family.samples(direction) })),
    ...HELPER_FAMILIES.map((family) => ({ family, samples: family.samples(FIGURES) })),
  ].filter(({ samples }) => samples.length > 0);
  const got = [...request.metrics, ...helper.metrics];
  t.deepEqual(
    got.map(({ name }) => name),
    expected.map(({ family }) => otlpName(family.name)),
  );
  for (const [index, { family, samples }] of expected.entries()) {
    const metric = got[index];
    const kind = { counter: 'sum', gauge: 'gauge', histogram: 'histogram' }[family.type];
    t.is(metric?.kind, kind as 'sum', family.name);
    t.is(metric?.isMonotonic, family.type === 'counter', family.name);
    if (family.type !== 'gauge') t.true(metric?.isCumulative, family.name);
    if (family.type === 'histogram') continue;
    t.deepEqual(
      metric?.points.map(({ value }) => value),
      samples.map(({ value }) => value),
      family.name,
    );
  }
});

test('the histogram has the bounds of the page, and in each bucket only its own packets', (t) => {
  const { direction, request } = pushed();
  const family = DIRECTION_FAMILIES.find(({ type }) => type === 'histogram');
  const buckets = (family?.samples(direction) ?? []).filter(({ suffix }) => suffix === '_bucket');
  const point = request.metrics.find(({ kind }) => kind === 'histogram')?.points[0];
  t.deepEqual(
    [...(point?.bounds.map(String) ?? []), '+Inf'],
    buckets.map(({ series }) => new Map(labelsOf(series)).get('le')),
  );
  let sum = 0;
  t.deepEqual(
    point?.bucketCounts.map((count) => (sum += count)),
    buckets.map(({ value }) => value),
  );
  t.is(point?.value, sum);
});

test('names become those of the page: dots turn to underscores, and the unit is at their end', (t) => {
  const suffixes: Readonly<Record<string, string>> = {
    ...{ s: '_seconds', By: '_bytes', 'By/s': '_bytes_per_second', '{packet}': '', '': '' },
  };
  const helper = readOtlp(helperRequest(TELLER, FIGURES, { startMs: START_MS, endMs: END_MS }));
  const named = new Set([...DIRECTION_FAMILIES, ...HELPER_FAMILIES].map(({ name }) => name));
  for (const { name, unit } of [...pushed().request.metrics, ...helper.metrics]) {
    const mangled = name.replaceAll('.', '_');
    t.true(named.has(mangled), name);
    t.true(mangled.endsWith(suffixes[unit] ?? 'no known unit'), `${name} ${unit}`);
    if (mangled.endsWith('_bytes') || mangled.endsWith('_seconds')) t.not(unit, '', name);
  }
});

test('the reference says what labels are called', (t) => {
  const reference = fs.readFileSync(path.join(projectRoot, 'conf/monitoring/METRICS.md'), 'utf8');
  const helper = readOtlp(helperRequest(TELLER, FIGURES, { startMs: START_MS, endMs: END_MS }));
  const requests = [pushed().request, helper];
  const attributes = requests.flatMap(({ resource, metrics }) => [
    ...Object.keys(resource),
    ...metrics.flatMap(({ points }) => points.flatMap((point) => Object.keys(point.attributes))),
  ]);
  for (const attribute of new Set(attributes))
    t.true(reference.includes(`\`${attribute}\``), attribute);
});

test("a receiver's answer: nothing, or what it refused", (t) => {
  t.is(rejectionIn(Buffer.alloc(0)), undefined);
  t.is(rejectionIn(message(1, field(1, 0))), undefined);
  t.is(
    rejectionIn(message(1, field(1, 12), field(2, 'too old'))),
    '12 points were refused: too old',
  );
  t.is(rejectionIn(message(1, field(2, 'be slower'))), '0 points were refused: be slower');
});
