import test from 'ava';
import fc from 'fast-check';
import {
  endOf,
  escapeLabel,
  formatFor,
  headOf,
  labelsOf,
  lineOf,
  seriesOf,
  type Family,
} from '../../../../helper/metrics/exposition.ts';

const COUNTER: Family = {
  ...{ name: 'podpace_pod_throttled_seconds', type: 'counter', unit: 'seconds' },
  help: 'Time.',
};

test('a counter is named with _total, by OpenMetrics only in its samples', (t) => {
  t.is(
    headOf(COUNTER, 'text'),
    '# HELP podpace_pod_throttled_seconds_total Time.\n# TYPE podpace_pod_throttled_seconds_total counter\n',
  );
  t.is(
    headOf(COUNTER, 'openmetrics'),
    '# HELP podpace_pod_throttled_seconds Time.\n# TYPE podpace_pod_throttled_seconds counter\n' +
      '# UNIT podpace_pod_throttled_seconds seconds\n',
  );
  const line = 'podpace_pod_throttled_seconds_total{pod="a"} 1.5\n';
  t.is(lineOf(COUNTER, { series: 'pod="a"', value: 1.5 }), line);
});

test('numbers are those of the formats', (t) => {
  const gauge: Family = { name: 'g', type: 'gauge', help: '' };
  const text = (value: number): string => lineOf(gauge, { series: '', value });
  t.is(text(0), 'g 0\n');
  t.is(text(2 ** 53), 'g 9007199254740992\n');
  t.is(text(1e21), 'g 1e+21\n');
  t.is(text(Number.NaN), 'g NaN\n');
  t.is(text(Infinity), 'g +Inf\n');
});

test('a label is one value, whatever it holds', (t) => {
  t.is(escapeLabel('a\\b"c\nd'), String.raw`a\\b\"c\nd`);
  t.is(seriesOf({ pod: '"} 1\nfake 2', none: undefined }), String.raw`pod="\"} 1\nfake 2"`);
});

test('labels are read as they were written', (t) => {
  const units = ['a', '"', '\\', '\n', '\r', ',', '=', '{', 'n', ' ', '\u2028', '\u{1f600}'];
  const value = fc.string({ unit: fc.constantFrom(...units) });
  fc.assert(
    fc.property(value, value, (pod, reason) => {
      const expected = [
        ['pod', pod],
        ['reason', reason],
      ];
      t.deepEqual(labelsOf(seriesOf({ pod, none: undefined, reason })), expected as never);
    }),
  );
  t.deepEqual(labelsOf(''), []);
});

test('OpenMetrics ends with its mark, the classic format with nothing', (t) => {
  t.is(endOf('openmetrics'), '# EOF\n');
  t.is(endOf('text'), '');
});

for (const [accept, format] of [
  ['', 'text'],
  ['*/*', 'text'],
  // Prometheus 2.42 and 3.5.
  [
    'application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1',
    'openmetrics',
  ],
  ['text/plain;version=0.0.4', 'text'],
  ['application/openmetrics-text;q=0.2, text/plain;q=0.9', 'text'],
  ['application/openmetrics-text;q=0', 'text'],
  ['application/openmetrics-text;q=x', 'text'],
] as const) {
  test(`who accepts "${accept}" gets ${format}`, (t) => {
    t.is(formatFor(accept), format);
  });
}
