// Tables with aligned columns, and the figures as such: one for each bench, a line for each
// scenario and system, a column for each metric.

import { formatFigure } from './limits.ts';
import type { Bench } from './names.ts';
import type { Row } from './record.ts';

/** How a column is aligned; figures go to the right so that their decimal points meet. */
export type Alignment = 'left' | 'right';

/** One column: its heading, with the unit, and where its cells stand. */
export interface Column {
  readonly heading: string;
  readonly align: Alignment;
}

function pad(text: string, width: number, align: Alignment): string {
  return align === 'left' ? text.padEnd(width) : text.padStart(width);
}

/**
 * Lays out rows under their headings; every line is as wide as the table needs and has no trailing
 * space.
 */
export function formatTable(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
): string {
  const widths = columns.map(({ heading }, index) =>
    Math.max(heading.length, ...rows.map((row) => row[index]?.length ?? 0)),
  );
  const line = (cells: readonly string[]): string =>
    columns
      .map(({ align }, index) => pad(cells[index] ?? '', widths[index] ?? 0, align))
      .join('  ')
      .trimEnd();
  const rule = widths.map((width) => '─'.repeat(width)).join('  ');
  return [line(columns.map(({ heading }) => heading)), rule, ...rows.map(line)].join('\n');
}

/** A table without its layout. */
export interface Table {
  readonly columns: readonly Column[];
  readonly rows: readonly (readonly string[])[];
}

/** The table of one bench; an empty cell is what a system does not have. */
export function tableOf(bench: Bench, rows: readonly Row[]): Table {
  const own = rows.filter((row) => row.bench === bench);
  const metrics = new Map(own.map(({ metric, unit }) => [metric, unit]));
  const lines = new Map<string, Row[]>();
  for (const row of own) {
    const key = `${row.scenario} ${row.system}`;
    lines.set(key, [...(lines.get(key) ?? []), row]);
  }
  const columns: Column[] = [
    { heading: 'scenario', align: 'left' },
    { heading: 'system', align: 'left' },
    // Their names end in their units; shares and counts need none.
    ...Array.from(metrics.keys(), (heading): Column => ({ heading, align: 'right' })),
  ];
  const cells = Array.from(lines.values(), (line) => [
    line[0]?.scenario ?? '',
    line[0]?.system ?? '',
    ...Array.from(metrics.keys(), (metric) => {
      const row = line.find((each) => each.metric === metric);
      return row === undefined ? '' : formatFigure(row.value);
    }),
  ]);
  return { columns, rows: cells };
}

/** Tables of several benches, for a terminal. */
export function textTables(benches: readonly Bench[], rows: readonly Row[]): string {
  return benches
    .map((bench) => {
      const { columns, rows: cells } = tableOf(bench, rows);
      return `${bench}\n${formatTable(columns, cells)}\n`;
    })
    .join('\n');
}
