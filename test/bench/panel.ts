// One panel of the report's chart: rate over time on a logarithmic axis, as an SVG element that
// needs nothing from outside. Colours are CSS variables of the page, so that it follows the
// reader's light or dark setting; what a line is, is told by its label and its stroke as well.
// Pure.

import { line as rule, polyline, sideTitle, svg, text } from './svg.ts';

/** A line of the chart. */
export interface Line {
  /** CSS class that gives colour and stroke: the page's style sheet knows `podpace` and `tbf`. */
  readonly style: 'podpace' | 'tbf';
  readonly label: string;
  /** Where the label stands: above all lines, or below them. */
  readonly labelPlace: 'above' | 'below';
  /** Mbit/s, one value per interval. */
  readonly ratesMbit: readonly number[];
}

export interface Panel {
  /** Says what the panel shows to those who cannot see it. */
  readonly description: string;
  readonly capMbit?: number;
  readonly lines: readonly Line[];
  readonly intervalMs: number;
  readonly axis: LogAxis;
}

/** Ends of a logarithmic axis, both powers of ten, in Mbit/s. */
export interface LogAxis {
  readonly least: number;
  readonly most: number;
}

const WIDTH = 400;
const HEIGHT = 290;
/** Part of the panel's width that the longest label takes. */
const LABEL_SHARE = 0.45;
const PLOT = { left: 68, right: WIDTH - 12, top: 12, bottom: HEIGHT - 46 };

/**
 * The decades that hold every cap with a decade of room below, and every rate with room for a label
 * above.
 */
export function logAxis(capsMbit: readonly number[], ratesMbit: readonly number[]): LogAxis {
  const lowest = Math.min(...capsMbit, 10) / 10;
  const highest = Math.max(...capsMbit, ...ratesMbit, 100) * 2;
  return {
    least: 10 ** Math.floor(Math.log10(lowest)),
    most: 10 ** Math.ceil(Math.log10(highest)),
  };
}

/**
 * Vertical position of a rate; what is below the axis (silence, on a logarithmic axis) stands on
 * its foot.
 */
function yOf(axis: LogAxis, rateMbit: number): number {
  const clamped = Math.min(Math.max(rateMbit, axis.least), axis.most);
  const share = Math.log10(clamped / axis.least) / Math.log10(axis.most / axis.least);
  return PLOT.bottom - share * (PLOT.bottom - PLOT.top);
}

function xOf(seconds: number, spanSeconds: number): number {
  return PLOT.left + (seconds / spanSeconds) * (PLOT.right - PLOT.left);
}

/**
 * 1000 is written `1 000`: thousands apart, in the way that no country reads as a decimal point.
 */
function thousands(value: number): string {
  return String(value).replaceAll(/\B(?=(\d{3})+$)/g, '\u202f');
}

function rateAxis(axis: LogAxis): string {
  const parts: string[] = [];
  for (let decade = axis.least; decade <= axis.most; decade *= 10) {
    const y = yOf(axis, decade);
    parts.push(rule(PLOT.left, y, PLOT.right, y, 'grid'));
    parts.push(text(PLOT.left - 8, y + 4, 'end', thousands(decade), 'tick'));
    for (let step = 2; step < 10 && decade < axis.most; step += 1) {
      const minor = yOf(axis, decade * step);
      parts.push(rule(PLOT.left - 4, minor, PLOT.left, minor, 'axis'));
    }
  }
  const middle = (PLOT.top + PLOT.bottom) / 2;
  parts.push(sideTitle(middle, 'rate on the wire, Mbit/s', 'title'));
  return parts.join('');
}

function timeAxis(spanSeconds: number): string {
  const parts = [rule(PLOT.left, PLOT.bottom, PLOT.right, PLOT.bottom, 'axis')];
  const step = spanSeconds > 12 ? 5 : 1;
  for (let second = 0; second <= spanSeconds; second += step) {
    const x = xOf(second, spanSeconds);
    parts.push(rule(x, PLOT.bottom, x, PLOT.bottom + 5, 'axis'));
    parts.push(text(x, PLOT.bottom + 19, 'middle', String(second), 'tick'));
  }
  const middle = (PLOT.left + PLOT.right) / 2;
  parts.push(text(middle, HEIGHT - 8, 'middle', 'seconds since the first data frame', 'title'));
  return parts.join('');
}

function course(panel: Panel, line: Line, spanSeconds: number): string {
  const points = line.ratesMbit.map((rate, index) => {
    const x = xOf(((index + 0.5) * panel.intervalMs) / 1000, spanSeconds);
    return [x, yOf(panel.axis, rate)] as const;
  });
  return polyline(points, line.style);
}

/** Rates of all lines in the part of the time that a label at that side of the panel covers. */
function ratesBeside(panel: Panel, side: 'left' | 'right'): number[] {
  return panel.lines.flatMap(({ ratesMbit }) => {
    const covered = Math.ceil(ratesMbit.length * LABEL_SHARE);
    return side === 'left' ? ratesMbit.slice(0, covered) : ratesMbit.slice(-covered);
  });
}

/** A label's height: clear of every line, and inside the panel. */
function labelY(panel: Panel, side: 'left' | 'right', place: 'above' | 'below'): number {
  const rates = ratesBeside(panel, side);
  const y =
    place === 'above'
      ? yOf(panel.axis, Math.max(...rates)) - 10
      : yOf(panel.axis, Math.min(...rates)) + 20;
  return Math.min(Math.max(y, PLOT.top + 12), PLOT.bottom - 6);
}

function lineLabel(panel: Panel, line: Line): string {
  const y = labelY(panel, 'left', line.labelPlace);
  return text(PLOT.left + 8, y, 'start', line.label, `label ${line.style}`);
}

function capLine(panel: Panel, capMbit: number): string {
  const y = yOf(panel.axis, capMbit);
  return (
    rule(PLOT.left, y, PLOT.right, y, 'cap') +
    text(
      PLOT.right - 4,
      labelY(panel, 'right', 'below'),
      'end',
      `cap: ${capMbit} Mbit/s`,
      'label cap-label',
    )
  );
}

/** Draws a panel. Lines are drawn in their order, the cap above them, the labels on top of all. */
export function drawPanel(panel: Panel): string {
  const intervals = Math.max(1, ...panel.lines.map((line) => line.ratesMbit.length));
  const spanSeconds = (intervals * panel.intervalMs) / 1000;
  const content = [
    rateAxis(panel.axis),
    timeAxis(spanSeconds),
    ...panel.lines.map((line) => course(panel, line, spanSeconds)),
    panel.capMbit === undefined ? '' : capLine(panel, panel.capMbit),
    ...panel.lines.map((line) => lineLabel(panel, line)),
  ];
  return svg([WIDTH, HEIGHT], panel.description, content.join(''));
}
