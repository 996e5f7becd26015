import fs from 'node:fs';
import path from 'node:path';
import test, { type ExecutionContext } from 'ava';
import {
  DIRECTION_FAMILIES,
  directionsOf,
  HELPER_FAMILIES,
} from '../../../../helper/metrics/families.ts';
import { lineOf } from '../../../../helper/metrics/exposition.ts';
import type { Measured } from '../../../../helper/shaping/counters.ts';
import { projectRoot } from '../../../../scripts/lib/paths.ts';
import { SOJOURN_BUCKETS } from '../../../../helper/wire/aggregate.ts';
import { measuredPod, POD_COUNTERS } from '../../../kit/measured-pod.ts';

const NS_PER_SEC = 1e9;
const WEB = { podNamespace: 'shop', podName: 'web-0' };

function seriesOfAll(measured: readonly Measured[]): string[] {
  return directionsOf(measured).map(({ series }) => series);
}

function page(measured: readonly Measured[]): string[] {
  return directionsOf(measured).flatMap((direction) =>
    DIRECTION_FAMILIES.flatMap((family) =>
      family.samples(direction).map((sample) => lineOf(family, sample)),
    ),
  );
}

test('a pod has the labels of kube-state-metrics, and its container only where these are not enough', (t) => {
  t.deepEqual(seriesOfAll([measuredPod('c'.repeat(64), WEB)]), [
    'namespace="shop",pod="web-0",interface="eth0",direction="egress"',
  ]);
  t.deepEqual(seriesOfAll([measuredPod('0123456789abcdef')]), [
    'interface="eth0",container="0123456789abc",direction="egress"',
  ]);
});

test('of two sandboxes of one name the newer has the name alone', (t) => {
  const older = { ...measuredPod('a1', WEB), addedAt: '2026-11-30T00:00:00.000Z' };
  const newer = { ...measuredPod('b2', WEB), addedAt: '2026-11-30T00:00:01.000Z' };
  const expected = [
    'namespace="shop",pod="web-0",interface="eth0",container="a1",direction="egress"',
    'namespace="shop",pod="web-0",interface="eth0",direction="egress"',
  ];
  t.deepEqual(seriesOfAll([older, newer]), expected);
  t.deepEqual(seriesOfAll([newer, older]), expected.toReversed());
});

test('at most 30 series a direction, each once', (t) => {
  const books = {
    ...{ seenFrames: 0, seenBytes: 0, settledFrames: 0, settledBytes: 0, exemptFrames: 0 },
    ...{ exemptBytes: 1, droppedFrames: 0, droppedBytes: 0 },
    ...{ unaccountedFrames: 0, unaccountedBytes: 2 },
  };
  const whole = { ...measuredPod('a1', WEB), egress: { ...POD_COUNTERS, books } };
  const series = page([whole]).map((line) => line.slice(0, line.lastIndexOf(' ')));
  t.true(series.length <= 30, `${series.length}`);
  t.is(new Set(series).size, series.length);
});

test('the histogram adds up, in at most 8 buckets', (t) => {
  const buckets = page([measuredPod('a1', WEB)]).filter((line) => line.includes('_bucket{'));
  t.true(buckets.length <= 8);
  const read = buckets.map((line) => {
    const [, bound = '', count = ''] = /le="([^"]+)"} (\d+)/.exec(line) ?? [];
    return [bound, Number(count)] as const;
  });
  for (const [bound, count] of read) {
    // Bucket i of the datapath ends at 2^(16+i) ns.
    const below =
      bound === '+Inf'
        ? SOJOURN_BUCKETS
        : Math.log2(Math.round(Number(bound) * NS_PER_SEC)) - 16 + 1;
    t.is(count, below, bound);
  }
  t.is(read.at(-1)?.[0], '+Inf');
});

test('figures are in base units', (t) => {
  const text = page([measuredPod('a1', WEB)]).join('');
  t.regex(text, /podpace_pod_cap_bytes_per_second\{[^}]*\} 1250000\n/);
  t.regex(text, /podpace_pod_throttled_seconds_total\{[^}]*\} 3\.102\n/);
  t.regex(text, /podpace_pod_backlog_seconds\{[^}]*\} 0\.005\n/);
  t.regex(text, /podpace_pod_enforced\{[^}]*\} 1\n/);
  const broken: Measured = { ...measuredPod('a1', WEB), notEnforced: ['egress'] };
  t.regex(page([broken]).join(''), /podpace_pod_enforced\{[^}]*\} 0\n/);
});

test('what an old helper or datapath does not count has no series', (t) => {
  const { throttledNs: _not, ...total } = POD_COUNTERS.total;
  const old = { ...measuredPod('a1', WEB), egress: { ...POD_COUNTERS, total } };
  t.notRegex(page([old]).join(''), /throttled/);
});

test('names are of Prometheus, with the unit at their end, and each stands once', (t) => {
  const families = [...DIRECTION_FAMILIES, ...HELPER_FAMILIES];
  for (const { name, unit, help } of families) {
    t.regex(name, /^[a-z][a-z0-9_]*$/);
    t.notRegex(name, /_total$|bits/);
    if (unit !== undefined) t.true(name.endsWith(`_${unit}`), name);
    t.regex(help, /\.$/);
  }
  t.is(new Set(families.map(({ name }) => name)).size, families.length);
});

const MONITORING = path.join(projectRoot, 'conf/monitoring');

function read(name: string): string {
  return fs.readFileSync(path.join(MONITORING, name), 'utf8').replaceAll(/\s+/g, ' ');
}

test('the reference has every metric with its type and meaning, and no other', (t) => {
  const reference = read('METRICS.md');
  const families = [...DIRECTION_FAMILIES, ...HELPER_FAMILIES];
  const named = families.map(({ name, type, help }) => {
    const whole = type === 'counter' ? `${name}_total` : name;
    t.true(reference.includes(`- \`${whole}\` (${type}): ${help}`), whole);
    return whole;
  });
  const rows = [...reference.matchAll(/- `([a-z_]+)` \(/g)].map(([, name]) => name);
  t.deepEqual(rows, named);
});

/** Names of podpace's metrics as they are asked for: a histogram by its buckets. */
const NAMED = new Set(
  [...DIRECTION_FAMILIES, ...HELPER_FAMILIES].map(({ name, type }) => {
    const suffix = { counter: '_total', histogram: '_bucket' }[type as string] ?? '';
    return name + suffix;
  }),
);

function requireNamed(t: ExecutionContext, expression: string): void {
  for (const [metric] of expression.matchAll(/\b(podpace|process)_[a-z_]+/g))
    t.true(NAMED.has(metric), metric);
}

test('rules ask for metrics that there are', (t) => {
  const expressions = [...read('rules.yaml').matchAll(/expr: (.*?)(?= for:| - record:|$)/g)];
  t.true(expressions.length >= 10);
  for (const [, expression = ''] of expressions) requireNamed(t, expression);
});

test('the dashboard asks for metrics that there are, each panel for something', (t) => {
  const { panels, templating } = JSON.parse(read('dashboard.json')) as {
    panels: { id: number; title: string; type: string; targets?: { expr: string }[] }[];
    templating: { list: { query: string | { query: string } }[] };
  };
  t.is(new Set(panels.map(({ id }) => id)).size, panels.length);
  for (const { title, type, targets = [] } of panels) {
    if (type !== 'row') t.true(targets.length > 0, title);
    for (const { expr } of targets) {
      t.regex(expr, /\b(podpace|process)_/, title);
      requireNamed(t, expr);
    }
  }
  for (const { query } of templating.list)
    requireNamed(t, typeof query === 'string' ? query : query.query);
});
