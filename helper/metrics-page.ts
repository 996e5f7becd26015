// One scrape: everything read, and written in slices between which others have their turn.

import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Shaper } from './control/shaper.ts';
import { endOf, headOf, lineOf, type Format } from './metrics/exposition.ts';
import {
  DIRECTION_FAMILIES,
  directionsOf,
  HELPER_FAMILIES,
  type HelperFigures,
} from './metrics/families.ts';
import type { Problem } from './shaping/judgement.ts';
import type { Tallies } from './tallies.ts';
import { VERSION } from './version.ts';

/** Directions whose lines of one family are written at once: about a millisecond. */
const SLICE = 500;

/** What a scrape tells of. */
export interface MetricsSource {
  readonly shaper: Pick<Shaper, 'measure' | 'exitsInUse'>;
  readonly tallies: Tallies;
  /** What the last look at the whole node found. */
  readonly problems: () => readonly Problem[];
}

/** What the helper says of itself and of the node now. */
export function figuresOf(
  { shaper, tallies, problems }: MetricsSource,
  attachments: number,
): HelperFigures {
  const found = problems();
  const { user, system } = process.cpuUsage();
  return {
    ...{ version: VERSION, attachments, problems: found.length },
    exits: shaper.exitsInUse.map(({ name, role }) => ({
      ...{ name, role },
      problems: found.filter(({ place }) => place === name).map(({ text }) => text),
    })),
    repairSeconds: tallies.repairSeconds,
    repairs: tallies.repairs,
    requests: tallies.requests,
    lostEvents: tallies.lostEvents,
    cpuSeconds: (user + system) / 1e6,
    residentBytes: process.memoryUsage.rss(),
    startedAtSeconds: Math.round(performance.timeOrigin) / 1000,
  };
}

/** The text of a scrape, in pieces, which all who read it can share. */
export async function metricsPage(source: MetricsSource, format: Format): Promise<Buffer[]> {
  const measured = await source.shaper.measure(source.problems());
  const directions = directionsOf(measured);
  const pieces: Buffer[] = [];
  const write = (text: string): void => void pieces.push(Buffer.from(text));
  const figures = figuresOf(source, measured.length);
  for (const family of HELPER_FAMILIES) {
    const lines = family.samples(figures).map((sample) => lineOf(family, sample));
    write(headOf(family, format) + lines.join(''));
  }
  for (const family of DIRECTION_FAMILIES) {
    write(headOf(family, format));
    for (let at = 0; at < directions.length; at += SLICE) {
      await nextTurn();
      const lines = directions
        .slice(at, at + SLICE)
        .flatMap((direction) => family.samples(direction).map((sample) => lineOf(family, sample)));
      write(lines.join(''));
    }
  }
  write(endOf(format));
  return pieces;
}
