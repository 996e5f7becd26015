import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import test from 'ava';
import { curvesOf, ratesOf, readPart, Recorder, rowsOf } from '../../bench/record.ts';
import type { RunRecord } from '../../bench/record.ts';

function run(system: RunRecord['system'], repeat: number, value: number): RunRecord {
  return {
    scenario: '100M',
    system,
    repeat,
    metrics: [{ metric: 'rr_p50_us', unit: 'us', value }],
    curveUs: [value, 2 * value],
    ratesMbit: [value],
  };
}

const records = [
  run('podpace', 0, 5),
  run('tbf', 0, 50),
  run('podpace', 1, 1),
  run('podpace', 2, 3),
];
const about = { bench: 'latency', kernel: '6.12', cpus: 2, cpuModel: 'a', quick: false } as const;

test('a row is the median over the repeats of one system', (t) => {
  const row = { bench: 'latency', scenario: '100M', metric: 'rr_p50_us', unit: 'us' };
  t.deepEqual(rowsOf({ bench: 'latency', records }), [
    { ...row, system: 'podpace', value: 3 },
    { ...row, system: 'tbf', value: 50 },
  ]);
});

test('curves are medians too; rates are those of the first run', (t) => {
  t.deepEqual(curvesOf({ records }), [
    { scenario: '100M', system: 'podpace', values: [3, 6] },
    { scenario: '100M', system: 'tbf', values: [50, 100] },
  ]);
  t.deepEqual(ratesOf({ records })[0], { scenario: '100M', system: 'podpace', values: [5] });
});

test('a run without curve or rates draws none', (t) => {
  const bare = records.map(({ scenario, system, repeat, metrics }) => ({
    scenario,
    system,
    repeat,
    metrics,
  }));
  t.deepEqual(curvesOf({ records: bare }), []);
  t.deepEqual(ratesOf({ records: bare }), []);
});

test('what was recorded before a bench died is there when it starts again', (t) => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), `pp-${process.pid}-`));
  t.teardown(() => fs.rmSync(folder, { recursive: true }));
  const file = path.join(folder, 'parts', 'latency.json');
  t.is(readPart(file), undefined);
  const [first, second] = [run('podpace', 0, 5), run('tbf', 0, 50)];
  new Recorder(file, about).add(first);
  const again = new Recorder(file, about);
  t.true(again.has(first));
  t.false(again.has(second));
  t.false(again.has({ ...first, repeat: 1 }));
  again.add(second);
  t.deepEqual(readPart(file)?.records, [first, second]);
  t.deepEqual(fs.readdirSync(path.dirname(file)), ['latency.json']);
});
