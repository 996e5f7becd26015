// The lab's two reports: rows for programs, a page for people.

import { decadesOf, LINE_STYLE, legend, rateChart } from './charts.ts';
import { capMbit, SCENARIOS, SYSTEMS } from './lab-limits.ts';
import type { Measurement, Scenario, System } from './lab-limits.ts';
import { INTERVAL_MS } from '../bed/series.ts';
import { htmlPage, htmlTable } from './page.ts';
import type { Row } from './record.ts';
import { escapeText } from './svg.ts';
import { formatTable } from './table.ts';
import { missedOf } from './verdict.ts';
import type { Verdict } from './verdict.ts';
import type { Column } from './table.ts';

/** One run of the lab. */
export interface LabRun {
  readonly kernel: string;
  readonly cpus: number;
  /** ISO 8601. */
  readonly measuredAt: string;
  /** Of the pods' TCP, for instance `cubic`. */
  readonly congestionControl: string;
  readonly measurements: readonly Trace[];
  readonly verdicts: readonly Verdict[];
}

/** A measurement with the course of the rate. */
export interface Trace extends Measurement {
  /** Mbit/s on the wire in every interval of INTERVAL_MS from the first data frame on. */
  readonly ratesMbit: readonly number[];
}

const SYSTEM_NAMES: Readonly<Record<System, string>> = {
  podpace: 'podpace',
  tbf: 'CNI bandwidth plugin',
};

/** The figures of a run as rows. */
export function rowsOf(measurements: readonly Measurement[]): Row[] {
  return measurements.flatMap(
    ({ scenario, system, goodputMbit, firstSecondMbit, retransmits }): Row[] => {
      const row = { bench: 'lab', scenario, system };
      return [
        { ...row, metric: 'goodput_mbit', unit: 'Mbit/s', value: goodputMbit },
        { ...row, metric: 'first_second_mbit', unit: 'Mbit/s', value: firstSecondMbit },
        { ...row, metric: 'retransmits', unit: 'segments', value: retransmits },
      ];
    },
  );
}

/** Content of report.json. */
export function jsonReport(run: LabRun): string {
  const { kernel, cpus, measuredAt, congestionControl, measurements, verdicts } = run;
  const series = measurements.map(({ scenario, system, ratesMbit }) => ({
    scenario,
    system,
    ratesMbit,
  }));
  const report = {
    kernel,
    cpus,
    rows: rowsOf(measurements),
    measuredAt,
    congestionControl,
    verdicts,
  };
  return `${JSON.stringify({ ...report, series: { intervalMs: INTERVAL_MS, lines: series } }, undefined, 2)}\n`;
}

const COLUMNS: readonly Column[] = [
  { heading: 'load', align: 'left' },
  { heading: 'cap', align: 'left' },
  { heading: 'system', align: 'left' },
  { heading: 'first second, Mbit/s', align: 'right' },
  { heading: 'mean goodput, Mbit/s', align: 'right' },
  { heading: 'retransmits', align: 'right' },
];

const isTogether = (scenario: Scenario): boolean => scenario.startsWith('together-');

function capText(scenario: Scenario): string {
  const cap = capMbit(scenario);
  return cap === undefined ? 'none' : `${cap} Mbit/s`;
}

function tableRows(measurements: readonly Measurement[]): string[][] {
  return SCENARIOS.flatMap((scenario) =>
    measurements
      .filter((each) => each.scenario === scenario)
      .map(({ system, firstSecondMbit, goodputMbit, retransmits }) => [
        isTogether(scenario) ? 'all at once' : 'by itself',
        capText(scenario),
        SYSTEM_NAMES[system],
        firstSecondMbit.toFixed(2),
        goodputMbit.toFixed(2),
        String(retransmits),
      ]),
  );
}

/** The table that the lab prints. */
export function textReport(measurements: readonly Measurement[]): string {
  return formatTable(COLUMNS, tableRows(measurements));
}

function panel(run: LabRun, scenario: Scenario, decades: ReturnType<typeof decadesOf>): string {
  const cap = capMbit(scenario);
  const traces = run.measurements.filter((each) => each.scenario === scenario);
  if (traces.length === 0) return '';
  const capped = cap === undefined ? 'Pod without a cap' : `Pod capped at ${cap} Mbit/s`;
  const figures = traces.map(
    (trace) =>
      `${SYSTEM_NAMES[trace.system]}: first second ${trace.firstSecondMbit.toFixed(1)} Mbit/s, mean goodput ${trace.goodputMbit.toFixed(1)} Mbit/s`,
  );
  const lines = traces.map(({ system, ratesMbit }) => ({ system, values: ratesMbit }));
  const chart = rateChart(`${capped} (${figures.join('; ')})`, lines, { decades, capMbit: cap });
  return `<figure><figcaption>${capped}</figcaption>${chart}</figure>`;
}

function verdictText(verdicts: readonly Verdict[]): string {
  const missed = missedOf(verdicts);
  if (missed.length === 0)
    return '<p class="verdict met">✓ podpace holds every cap within its limits.</p>';
  const items = missed.map(({ text }) => `<li>${escapeText(text)}</li>`).join('');
  return `<div class="verdict missed"><p>✗ podpace is outside its limits:</p><ul>${items}</ul></div>`;
}

const STYLE = `
.verdict { font-weight: 600; }
${LINE_STYLE}
`;

/** Content of report.html: one file that needs nothing beside it. */
export function htmlReport(run: LabRun): string {
  const rates = run.measurements.flatMap(({ ratesMbit }) => ratesMbit);
  const decades = decadesOf([10, 100], rates);
  const panels = (together: boolean): string =>
    SCENARIOS.filter((scenario) => isTogether(scenario) === together)
      .map((scenario) => panel(run, scenario, decades))
      .join('\n');
  const body = `<h1>Pods held to their caps</h1>
<p class="soft">podpace beside the CNI bandwidth plugin: same pods, same caps, same load, same kernel (${escapeText(run.kernel)}, CPUs: ${run.cpus}).</p>
${verdictText(run.verdicts)}
${legend(new Set(SYSTEMS))}
<h2>One pod at a time</h2>
<div class="panels">
${panels(false)}
</div>
<h2>All three pods at once</h2>
<div class="panels">
${panels(true)}
</div>
<h2>Figures</h2>
${htmlTable(COLUMNS, tableRows(run.measurements))}
<footer>
<p>Each pod sends one TCP stream (iperf3, ${escapeText(run.congestionControl)}) to a peer behind the node's uplink. The rate is that of whole
Ethernet frames as they reach the peer, in steps of ${INTERVAL_MS} ms, counted by a BPF program there; goodput is payload, as the receiver
saw it. Frames of 1514 bytes carry 1448 bytes of payload: 95.6 % of a cap. The scale of the rate is logarithmic. Both systems were given the
burst that containerd passes when nobody sets one (4294967295 bits).</p>
<p>Measured ${escapeText(run.measuredAt)}.</p>
</footer>`;
  return htmlPage({ title: 'podpace lab: pods held to their caps', style: STYLE }, body);
}
