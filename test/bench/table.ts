// Text tables with aligned columns. Pure.

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
