// What the repository keeps of full runs: a line of figures for each scenario and metric, systems
// side by side.

import { BENCHES, SYSTEMS, type System } from './names.ts';
import { rowsOf, type Part } from './record.ts';

const COLUMNS = [
  'bench',
  'scenario',
  'metric',
  'unit',
  ...SYSTEMS,
  'kernel',
  'revision',
  'measured',
];
/** More than two runs agree in. */
const DIGITS = 5;

function linesOf(part: Part): string[] {
  const { bench, kernel, revision = '', measuredAt } = part;
  const figures = new Map<string, Partial<Record<System, number>>>();
  for (const { scenario, metric, unit, system, value } of rowsOf(part)) {
    const key = [scenario, metric, unit].join(',');
    figures.set(key, { ...figures.get(key), [system]: value });
  }
  return Array.from(figures, ([key, values]) => {
    const cells = SYSTEMS.map((system) => values[system]);
    const shown = cells.map((value) =>
      value === undefined ? '' : String(Number(value.toPrecision(DIGITS))),
    );
    return [bench, key, ...shown, kernel, revision, measuredAt.slice(0, 'yyyy-mm-dd'.length)].join(
      ',',
    );
  });
}

/** What calls take depends on the machine too much to be kept. */
const KEPT = BENCHES.filter((bench) => bench !== 'control');

/**
 * Content of summary.csv (RFC 4180, without quotes: no cell has a comma): medians of the runs in
 * `parts` in place of what `kept`, a former content, has of the same benches; of the others that
 * stays.
 */
export function renewedSummary(kept: string, parts: readonly Part[]): string {
  const former = kept.split('\n');
  const lines = KEPT.flatMap((bench) => {
    const fresh = parts.filter((part) => part.bench === bench).flatMap(linesOf);
    return fresh.length > 0 ? fresh : former.filter((line) => line.startsWith(`${bench},`));
  });
  return `${[COLUMNS.join(','), ...lines].join('\n')}\n`;
}
