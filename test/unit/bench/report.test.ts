import test from 'ava';
import { BENCHES, scenariosOf, SYSTEMS } from '../../bench/names.ts';
import type { Bench } from '../../bench/names.ts';
import type { Part } from '../../bench/record.ts';
import { collectReport, htmlReport, jsonReport, latencyPicture } from '../../bench/report.ts';
import { CURVE_PERCENTS } from '../../bed/statistics.ts';
import { tableOf, textTables } from '../../bench/table.ts';

function part(bench: Bench): Part {
  const extra = {
    ...(bench === 'latency' && {
      curveUs: CURVE_PERCENTS.map((percent) => 10 ** (2 + percent / 50)),
    }),
    ...(bench !== 'exact' && { ratesMbit: [0, 10, 20] }),
  };
  return {
    bench,
    kernel: '6.12 <test>',
    cpus: 2,
    cpuModel: 'a & b',
    quick: false,
    measuredAt: '2026-11-20T12:00:00.000Z',
    records: scenariosOf(bench).flatMap((scenario) =>
      SYSTEMS.map((system) => ({
        scenario,
        system,
        repeat: 0,
        metrics: [
          { metric: 'rr_p99_us', unit: 'us', value: 1234.5 },
          ...(system === 'none' ? [] : [{ metric: 'cap_used_share', unit: '1', value: 0.99 }]),
        ],
        ...extra,
      })),
    ),
  };
}

const wanted = BENCHES.map((bench) => ({ bench, scenarios: scenariosOf(bench) }));
const report = collectReport(BENCHES.map(part), wanted, { iperf3: '<3.12>' });

test('report.json begins as all benchmark files do, and keeps every run', (t) => {
  const parsed = JSON.parse(jsonReport(report)) as Record<string, unknown>;
  t.deepEqual(Object.keys(parsed).slice(0, 3), ['kernel', 'cpus', 'rows']);
  t.deepEqual(parsed['rows'], report.rows);
  t.deepEqual(parsed['runs'], report.parts);
});

test('a table has a line for each scenario and system; what a system has not is empty', (t) => {
  const { columns, rows } = tableOf('latency', report.rows);
  t.deepEqual(
    columns.map(({ heading }) => heading),
    ['scenario', 'system', 'rr_p99_us', 'cap_used_share'],
  );
  t.is(rows.length, scenariosOf('latency').length * SYSTEMS.length);
  t.deepEqual(rows[3], ['100M-cubic-1x1', 'none', '1235', '']);
  t.is(textTables(['exact', 'udp'], report.rows).match(/^(exact|udp)$/gm)?.length, 2);
});

test('each section says on what it was measured, and by which clock when that was not time', (t) => {
  const counted = { ...part('udp'), cpus: 1, clock: 'instructions' } as const;
  const [, first = '', second = ''] = htmlReport(
    collectReport([part('latency'), counted], [], {}),
  ).split('<section>');
  t.regex(first, /2 CPUs/);
  t.notRegex(first, /counted instructions/);
  t.regex(second, /counted instructions/);
  t.regex(second, /1 CPU \(/);
});

test('the page needs nothing beside it, and has a chart for each scenario that has a course', (t) => {
  const html = htmlReport(report);
  t.notRegex(html, /(?:src|href)=|@import|url\(|<script/);
  t.is(
    html.match(/<svg class="chart"/g)?.length,
    BENCHES.filter((bench) => bench !== 'exact').flatMap(scenariosOf).length,
  );
  for (const text of ['6.12 &lt;test&gt;', 'a &amp; b', '&lt;3.12&gt;'])
    t.true(html.includes(text), text);
  t.false(html.includes('quick run'));
  t.true(htmlReport({ ...report, quick: true }).includes('quick run'));
});

test('no coordinate is lost, whatever was measured', (t) => {
  const html = htmlReport(report);
  t.notRegex(html, /NaN|Infinity|undefined/);
});

test('the picture stands by itself and shows all systems', (t) => {
  const picture = latencyPicture(report) ?? '';
  t.true(picture.startsWith('<svg xmlns="http://www.w3.org/2000/svg"'));
  t.is(picture.match(/<polyline/g)?.length, SYSTEMS.length);
  t.is(latencyPicture({ ...report, parts: [part('udp')] }), undefined);
});
