// The lab's two reports: rows for programs, a page for people. Pure.

import { drawPanel, escapeText, logAxis } from './panel.ts';
import type { LogAxis } from './panel.ts';
import { capMbit, SCENARIOS } from './lab-limits.ts';
import type { Measurement, Scenario, System, Verdict } from './lab-limits.ts';
import { INTERVAL_MS } from '../bed/series.ts';
import { formatTable } from './table.ts';
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

/** One figure, in the form that all of the project's benchmarks share. */
export interface Row {
  readonly bench: string;
  readonly scenario: string;
  readonly system: string;
  readonly metric: string;
  readonly unit: string;
  readonly value: number;
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

function panel(run: LabRun, scenario: Scenario, axis: LogAxis): string {
  const cap = capMbit(scenario);
  const traces = run.measurements.filter((each) => each.scenario === scenario);
  if (traces.length === 0) return '';
  const capped = cap === undefined ? 'Pod without a cap' : `Pod capped at ${cap} Mbit/s`;
  const figures = traces.map(
    (trace) =>
      `${SYSTEM_NAMES[trace.system]}: first second ${trace.firstSecondMbit.toFixed(1)} Mbit/s, mean goodput ${trace.goodputMbit.toFixed(1)} Mbit/s`,
  );
  const svg = drawPanel({
    description: `${capped}, rate over time. ${figures.join('; ')}.`,
    ...(cap === undefined ? {} : { capMbit: cap }),
    lines: traces.map(({ system, ratesMbit }) => ({
      style: system,
      label: SYSTEM_NAMES[system],
      labelPlace: system === 'podpace' ? 'below' : 'above',
      ratesMbit,
    })),
    intervalMs: INTERVAL_MS,
    axis,
  });
  return `<figure><figcaption>${capped}</figcaption>${svg}</figure>`;
}

function htmlTable(measurements: readonly Measurement[]): string {
  const cell = (tag: 'td' | 'th') => (content: string, index: number) =>
    `<${tag}${COLUMNS[index]?.align === 'right' ? ' class="figure"' : ''}>${escapeText(content)}</${tag}>`;
  const head = COLUMNS.map(({ heading }) => heading).map(cell('th'));
  const body = tableRows(measurements).map(
    (cells) =>
      `<tr${cells[2] === SYSTEM_NAMES.podpace ? ' class="own"' : ''}>${cells.map(cell('td')).join('')}</tr>`,
  );
  return `<table><thead><tr>${head.join('')}</tr></thead><tbody>${body.join('')}</tbody></table>`;
}

function verdictText(verdicts: readonly Verdict[]): string {
  const missed = verdicts.filter(({ met }) => !met);
  if (missed.length === 0)
    return '<p class="verdict met">✓ podpace holds every cap within its limits.</p>';
  const items = missed.map(({ text }) => `<li>${escapeText(text)}</li>`).join('');
  return `<div class="verdict missed"><p>✗ podpace is outside its limits:</p><ul>${items}</ul></div>`;
}

const STYLE = `
:root { color-scheme: light dark; --ink: #1a1d21; --soft: #5a626c; --faint: #dfe3e8; --page: #ffffff; --podpace: #0a5cc2; --tbf: #b8430a; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8eaed; --soft: #a3abb5; --faint: #343a42; --page: #14171b; --podpace: #6db3ff; --tbf: #ff9d5c; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem 1rem 3rem; max-width: 84rem; background: var(--page); color: var(--ink); font: 1rem/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0 0 .25rem; }
h2 { font-size: 1.125rem; margin: 2.25rem 0 .5rem; }
p { max-width: 46rem; margin: .5rem 0; }
.soft, footer { color: var(--soft); }
.verdict { font-weight: 600; }
.panels { display: grid; gap: 1.5rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 22rem), 1fr)); }
figure { margin: 0; }
figcaption { font-weight: 600; margin-bottom: .25rem; }
svg { display: block; width: 100%; height: auto; }
svg text { font: 13px system-ui, sans-serif; fill: var(--soft); }
svg text.label { font-weight: 600; paint-order: stroke; stroke: var(--page); stroke-width: 4px; stroke-linejoin: round; }
svg text.podpace { fill: var(--podpace); }
svg text.tbf { fill: var(--tbf); }
svg text.cap-label { fill: var(--ink); }
.grid { stroke: var(--faint); }
.axis { stroke: var(--soft); }
.line { fill: none; stroke-linejoin: round; stroke-linecap: round; }
.line.podpace { stroke: var(--podpace); stroke-width: 5; stroke-opacity: .6; }
.line.tbf { stroke: var(--tbf); stroke-width: 2; stroke-dasharray: 6 4; }
.cap { stroke: var(--ink); stroke-width: 1.25; stroke-dasharray: 1 3; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; white-space: nowrap; }
th, td { padding: .3rem 1.25rem .3rem 0; text-align: left; border-bottom: 1px solid var(--faint); }
th { font-weight: 600; color: var(--soft); }
.figure { text-align: right; padding-left: 1.25rem; }
tr.own { font-weight: 600; }
`;

/** Content of report.html: one file that needs nothing beside it. */
export function htmlReport(run: LabRun): string {
  const rates = run.measurements.flatMap(({ ratesMbit }) => ratesMbit);
  const axis = logAxis([10, 100], rates);
  const panels = (together: boolean): string =>
    SCENARIOS.filter((scenario) => isTogether(scenario) === together)
      .map((scenario) => panel(run, scenario, axis))
      .join('\n');
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>podpace lab: pods held to their caps</title>
<style>${STYLE}</style>
<h1>Pods held to their caps</h1>
<p class="soft">podpace beside the CNI bandwidth plugin: same pods, same caps, same load, same kernel (${escapeText(run.kernel)}, CPUs: ${run.cpus}).</p>
${verdictText(run.verdicts)}
<h2>One pod at a time</h2>
<div class="panels">
${panels(false)}
</div>
<h2>All three pods at once</h2>
<div class="panels">
${panels(true)}
</div>
<h2>Figures</h2>
<div class="scroll">${htmlTable(run.measurements)}</div>
<footer>
<p>Each pod sends one TCP stream (iperf3, ${escapeText(run.congestionControl)}) to a peer behind the node's uplink. The rate is that of whole
Ethernet frames as they reach the peer, in steps of ${INTERVAL_MS} ms, counted by a BPF program there; goodput is payload, as the receiver
saw it. Frames of 1514 bytes carry 1448 bytes of payload: 95.6 % of a cap. The scale of the rate is logarithmic. Both systems were given the
burst that containerd passes when nobody sets one (4294967295 bits).</p>
<p>Measured ${escapeText(run.measuredAt)}.</p>
</footer>
</html>
`;
}
