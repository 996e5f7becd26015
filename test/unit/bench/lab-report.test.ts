import test from 'ava';
import { judge, SCENARIOS, SYSTEMS } from '../../bench/lab-limits.ts';
import { htmlReport, jsonReport, rowsOf, textReport } from '../../bench/lab-report.ts';
import type { LabRun, Trace } from '../../bench/lab-report.ts';

const measurements: Trace[] = SCENARIOS.flatMap((scenario) =>
  SYSTEMS.map((system) => ({
    scenario,
    system,
    goodputMbit: 9.56,
    firstSecondMbit: 10.04,
    retransmits: 3,
    ratesMbit: [10, 10, 0, 10],
  })),
);

const run: LabRun = {
  kernel: '6.12 <test>',
  cpus: 2,
  measuredAt: '2026-11-20T12:00:00.000Z',
  congestionControl: 'cubic',
  measurements,
  verdicts: judge(measurements),
};

test('every scenario and system has its three metrics, by the names that benchmarks share', (t) => {
  const rows = rowsOf(measurements);
  t.is(rows.length, SCENARIOS.length * SYSTEMS.length * 3);
  t.deepEqual(rows.slice(0, 3), [
    {
      bench: 'lab',
      scenario: '10M',
      system: 'podpace',
      metric: 'goodput_mbit',
      unit: 'Mbit/s',
      value: 9.56,
    },
    {
      bench: 'lab',
      scenario: '10M',
      system: 'podpace',
      metric: 'first_second_mbit',
      unit: 'Mbit/s',
      value: 10.04,
    },
    {
      bench: 'lab',
      scenario: '10M',
      system: 'podpace',
      metric: 'retransmits',
      unit: 'segments',
      value: 3,
    },
  ]);
});

test('report.json begins as all benchmark files do', (t) => {
  const report = JSON.parse(jsonReport(run)) as Record<string, unknown>;
  t.deepEqual(Object.keys(report).slice(0, 3), ['kernel', 'cpus', 'rows']);
  t.deepEqual(report['rows'], rowsOf(measurements));
});

test('the printed table has a line for every scenario and system', (t) => {
  t.is(textReport(measurements).split('\n').length, 2 + measurements.length);
});

test('the page needs nothing beside it, and shows a panel for every scenario', (t) => {
  const html = htmlReport(run);
  t.notRegex(html, /(?:src|href)=|@import|url\(|<script/);
  t.is(html.match(/<svg class="chart" /g)?.length, SCENARIOS.length);
  t.true(html.includes('6.12 &lt;test&gt;'));
});

test('the page says which limits were missed', (t) => {
  const html = htmlReport(run);
  t.true(html.includes('100M: goodput 9.56 Mbit/s, must be 94.00 to 95.70'));
  t.false(html.includes('holds every cap'));
  t.true(htmlReport({ ...run, verdicts: [] }).includes('holds every cap'));
});
