// Charts of the pages of lab and benches: distributions of round-trip times and rates over time, as
// SVG. Colours are CSS variables of the page; what a line is, is told by its dashes as well.

import { INTERVAL_MS } from '../bed/series.ts';
import { SYSTEMS } from './names.ts';
import type { System } from './names.ts';
import type { Curve } from './record.ts';
import { CURVE_PERCENTS } from '../bed/statistics.ts';
import { at, escapeText, line, polyline, sideTitle, svg, text } from './svg.ts';

const WIDTH = 420;
const HEIGHT = 280;
/** With room for the ticks, and for the word at a cap: beside all lines. */
const PLOT = { left: 60, right: WIDTH - 30, top: 12, bottom: HEIGHT - 46 };

/** Names for a legend. */
const LABELS: Readonly<Record<System, string>> = {
  podpace: 'podpace',
  tbf: 'CNI bandwidth plugin (tbf)',
  'edt-fifo': 'plain departure step (edt-fifo)',
  none: 'idle, no cap (none)',
};

/** Colours of the pages and pictures, for readers' light and dark settings. */
export const COLOURS = `:root { --ink: #1a1d21; --soft: #5a626c; --faint: #dfe3e8; --page: #ffffff; --podpace: #0a5cc2; --tbf: #b8430a; --edt-fifo: #7b3fb5; --none: #3b7d3b; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8eaed; --soft: #a3abb5; --faint: #343a42; --page: #14171b; --podpace: #6db3ff; --tbf: #ff9d5c; --edt-fifo: #c79bff; --none: #8fd18f; }
}
`;

/** Style of lines and axes. */
export const LINE_STYLE = `
.chart text { font: 13px system-ui, sans-serif; fill: var(--soft); }
.grid { stroke: var(--faint); }
.axis { stroke: var(--soft); }
.cap { stroke: var(--ink); stroke-width: 1.25; stroke-dasharray: 1 3; }
.line { fill: none; stroke-linejoin: round; stroke-linecap: round; }
.line.podpace { stroke: var(--podpace); stroke-width: 3; }
.line.tbf { stroke: var(--tbf); stroke-width: 2; stroke-dasharray: 7 4; }
.line.edt-fifo { stroke: var(--edt-fifo); stroke-width: 2; stroke-dasharray: 2 4; }
.line.none { stroke: var(--none); stroke-width: 2; stroke-dasharray: 10 3 2 3; }
`;

/** From a value to a place on the chart. */
type Scale = (value: number) => number;

interface Axis {
  readonly scale: Scale;
  readonly ticks: readonly { readonly value: number; readonly label: string }[];
  readonly title: string;
}

function between(from: number, to: number, first: number, last: number): Scale {
  return (value) =>
    from + ((Math.min(Math.max(value, first), last) - first) / (last - first)) * (to - from);
}

/** Ends of a logarithmic axis: powers of ten. */
interface Decades {
  readonly first: number;
  readonly last: number;
}

/** A tick at each decade; what is below the axis stands on its foot. */
function logAxis(
  { from, to }: { readonly from: number; readonly to: number },
  { first, last }: Decades,
  label: (power: number) => string,
  title: string,
): Axis {
  const scale = between(from, to, first, last);
  const powers = Array.from({ length: last - first + 1 }, (_, index) => first + index);
  return {
    scale: (value) => scale(value > 0 ? Math.log10(value) : first),
    ticks: powers.map((power) => ({ value: 10 ** power, label: label(power) })),
    title,
  };
}

/** Whole decades of time, each named in the unit in which it is short. */
function timeAxis(valuesUs: readonly number[]): Axis {
  const positive = valuesUs.filter((value) => value > 0);
  const first = Math.floor(Math.log10(Math.min(...positive, 100)));
  const last = Math.max(first + 1, Math.ceil(Math.log10(Math.max(...positive, 1000))));
  const label = (power: number): string => {
    if (power >= 6) return `${10 ** (power - 6)} s`;
    return power >= 3 ? `${10 ** (power - 3)} ms` : `${10 ** power} µs`;
  };
  return logAxis({ from: PLOT.left, to: PLOT.right }, { first, last }, label, 'round trip');
}

/** The decades that hold every rate, and every cap with a decade of room below. */
export function decadesOf(capsMbit: readonly number[], ratesMbit: readonly number[]): Decades {
  const lowest = Math.min(...capsMbit, 10) / 10;
  const highest = Math.max(...capsMbit, ...ratesMbit, 100);
  return { first: Math.floor(Math.log10(lowest)), last: Math.ceil(Math.log10(highest)) };
}

function linearAxis(
  place: { readonly from: number; readonly to: number },
  most: number,
  title: string,
): Axis {
  const rough = most / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((each) => each >= rough) ?? rough;
  const count = Math.ceil(most / step - 1e-9);
  const ticks = Array.from({ length: count + 1 }, (_, index) => index * step);
  return {
    scale: between(place.from, place.to, 0, count * step),
    ticks: ticks.map((value) => ({ value, label: String(Number(value.toPrecision(6))) })),
    title,
  };
}

function drawAxes(x: Axis, y: Axis): string {
  const middle = (PLOT.top + PLOT.bottom) / 2;
  return [
    ...y.ticks.map(
      ({ value, label }) =>
        line(PLOT.left, y.scale(value), PLOT.right, y.scale(value), 'grid') +
        text(PLOT.left - 7, y.scale(value) + 4, 'end', label),
    ),
    ...x.ticks.map(
      ({ value, label }) =>
        line(x.scale(value), PLOT.top, x.scale(value), PLOT.bottom, 'grid') +
        text(x.scale(value), PLOT.bottom + 18, 'middle', label),
    ),
    line(PLOT.left, PLOT.bottom, PLOT.right, PLOT.bottom, 'axis'),
    text((PLOT.left + PLOT.right) / 2, HEIGHT - 8, 'middle', x.title),
    sideTitle(middle, y.title),
  ].join('');
}

/** A line of a chart: points in the units of the axes. */
interface Path {
  readonly system: System;
  readonly points: readonly (readonly [x: number, y: number])[];
}

/** podpace comes last, on top of the others. */
function draw(x: Axis, y: Axis, paths: readonly Path[]): string {
  const ordered = paths.toSorted((a, b) => SYSTEMS.indexOf(b.system) - SYSTEMS.indexOf(a.system));
  const lines = ordered.map(({ system, points }) => {
    const places = points.map(([px, py]) => [x.scale(px), y.scale(py)] as const);
    return polyline(places, system);
  });
  return drawAxes(x, y) + lines.join('');
}

const chart = (description: string, content: string): string =>
  svg([WIDTH, HEIGHT], description, content);

function drawCurves(curves: readonly Curve[]): string {
  const x = timeAxis(curves.flatMap(({ values }) => values));
  const y = linearAxis({ from: PLOT.bottom, to: PLOT.top }, 100, '% of requests at most');
  const paths = curves.map(({ system, values }): Path => ({
    system,
    points: values.map((us, index) => [us, CURVE_PERCENTS[index] ?? 100]),
  }));
  return draw(x, y, paths);
}

/** Distribution of round-trip times. */
export function curveChart(scenario: string, curves: readonly Curve[]): string {
  return chart(`${scenario}: distribution of round-trip times`, drawCurves(curves));
}

/** How rates are shown in a chart. */
interface RateOptions {
  /** With a logarithmic axis, which charts of a page may share. */
  readonly decades?: Decades;
  readonly capMbit?: number | undefined;
}

/** Rates on the wire over time, Mbit/s in each interval. */
export function rateChart(
  description: string,
  lines: readonly Pick<Curve, 'system' | 'values'>[],
  { decades, capMbit }: RateOptions = {},
): string {
  const most = Math.max(1, ...lines.flatMap(({ values }) => values));
  const intervals = Math.max(1, ...lines.map(({ values }) => values.length));
  const seconds = (index: number): number => ((index + 0.5) * INTERVAL_MS) / 1000;
  const horizontal = { from: PLOT.left, to: PLOT.right };
  const vertical = { from: PLOT.bottom, to: PLOT.top };
  const x = linearAxis(
    horizontal,
    (intervals * INTERVAL_MS) / 1000,
    'seconds since the first data frame',
  );
  const title = 'rate on the wire, Mbit/s';
  const y =
    decades === undefined
      ? linearAxis(vertical, most, title)
      : logAxis(vertical, decades, (power) => String(10 ** power), title);
  const paths = lines.map(({ system, values }): Path => ({
    system,
    points: values.map((rate, index) => [seconds(index), rate]),
  }));
  const cap = capMbit === undefined ? '' : drawCap(y.scale(capMbit));
  return chart(`${description}: rate over time`, draw(x, y, paths) + cap);
}

function drawCap(y: number): string {
  return line(PLOT.left, y, PLOT.right, y, 'cap') + text(PLOT.right + 4, y + 4, 'start', 'cap');
}

function sample(system: System): string {
  return `<svg viewBox="0 0 40 12" aria-hidden="true"><line x1="2" y1="6" x2="38" y2="6" class="line ${system}"/></svg>`;
}

/** What the lines of the charts are. */
export function legend(systems: ReadonlySet<System>): string {
  const items = SYSTEMS.filter((system) => systems.has(system)).map(
    (system) => `<li>${sample(system)}${escapeText(LABELS[system])}</li>`,
  );
  return `<ul class="legend">${items.join('')}</ul>`;
}

/** The picture has them with it, and the heading that a page has in HTML. */
const PICTURE_STYLE = `
${COLOURS}svg.chart text.heading { font: 600 14px system-ui, sans-serif; fill: var(--ink); }
`;

const LEGEND_LINE = 20;
const HEADING_HEIGHT = 26;

/** Curves with title and legend in one SVG file that needs nothing beside it. */
export function standalone(title: string, curves: readonly Curve[]): string {
  const systems = SYSTEMS.filter((system) => curves.some((curve) => curve.system === system));
  const legendTop = HEADING_HEIGHT + HEIGHT + 14;
  const keys = systems.map((system, index) => {
    const [x, y] = [PLOT.left + (index % 2) * 250, legendTop + Math.floor(index / 2) * LEGEND_LINE];
    return `${line(x, y, x + 34, y, `line ${system}`)}${text(x + 42, y + 4, 'start', LABELS[system])}`;
  });
  const height = legendTop + Math.ceil(systems.length / 2) * LEGEND_LINE;
  const width = 640;
  const scale = (width - 20) / WIDTH;
  return `<svg xmlns="http://www.w3.org/2000/svg" class="chart" viewBox="0 0 ${width} ${at(height + HEIGHT * (scale - 1))}" role="img" aria-label="${escapeText(title)}">
<style>${PICTURE_STYLE}${LINE_STYLE}</style>
<rect width="100%" height="100%" fill="var(--page)"/>
<text x="16" y="20" class="heading">${escapeText(title)}</text>
<g transform="translate(0 ${HEADING_HEIGHT}) scale(${at(scale)})">${drawCurves(curves)}</g>
<g transform="translate(0 ${at(HEIGHT * (scale - 1))})">${keys.join('')}</g>
</svg>
`;
}
