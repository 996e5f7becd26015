// Which layout the pins and the records of a node are of, and whether this release may touch them.
// Pins outlive a state directory that is wiped, records a bpffs that was a container's own: so each
// have a mark of their own, and both count.

import fs from 'node:fs';
import path from 'node:path';
import { hasErrno } from '../wire/errors.ts';
import { readPinnedLayout } from '../kernel/layout-pin.ts';
import { RECORDS_MARK } from '../protocol/state-files.ts';
import { LAYOUT, parseLayoutMark, type LayoutMark } from '../wire/layout.ts';
import { readRegularFile, writeWhole } from './regular-file.ts';

/** Where a helper keeps what outlives it. */
export interface Directories {
  /** On bpffs. */
  readonly pins: string;
  readonly state: string;
}

/** What a newer release left on the node is not this one's to touch. */
export class LayoutError extends Error {
  override readonly name = 'LayoutError';
}

/**
 * The mark of a state directory: undefined without one, and for a file that is none, which `warn`
 * hears of.
 */
function readRecordLayout(state: string, warn: (message: string) => void): LayoutMark | undefined {
  const file = path.join(state, RECORDS_MARK);
  try {
    return parseLayoutMark(readRegularFile(file));
  } catch (error) {
    if (hasErrno(error, 'ENOENT', 'ENOTDIR')) return undefined;
    warn(
      `Cannot read ${file}: ${(error as Error).message}; the pins say which layout it is, or each record`,
    );
    return undefined;
  }
}

/**
 * Throws LayoutError when pins or records are of a newer layout than this release knows, and
 * touches nothing. `warn` hears of a mark that cannot be read.
 */
export function requireKnownLayout(
  { pins, state }: Directories,
  release: string,
  warn: (message: string) => void,
): void {
  const marks = [
    { of: `the pins under ${pins}`, mark: readPinnedLayout(pins) },
    { of: `the records under ${state}`, mark: readRecordLayout(state, warn) },
  ];
  for (const { of, mark } of marks) {
    if (mark === undefined || mark.layout <= LAYOUT) continue;
    throw new LayoutError(
      `Cannot use ${of}: they are of layout ${mark.layout}, made by podpaced ${mark.release}, and this is podpaced ` +
        `${release}, which knows layouts up to ${LAYOUT}. Nothing was touched, and caps stay in force: install podpaced ` +
        `${mark.release} or newer`,
    );
  }
}

/**
 * Marks the records as being of this release's layout; call before the first of them is written.
 */
export function markRecords({ state }: Directories, release: string): void {
  const file = path.join(state, RECORDS_MARK);
  const text = `${JSON.stringify({ layout: LAYOUT, release } satisfies LayoutMark)}\n`;
  if (isMarkedSo(file, text)) return;
  writeWhole(file, `${file}.new`, text);
}

/** False also for what cannot be read: the mark is made anew then. */
function isMarkedSo(file: string, text: string): boolean {
  try {
    return readRegularFile(file) === text;
  } catch {
    return false;
  }
}

/** Takes the mark of the records away, with the records (uninstall). */
export function unmarkRecords({ state }: Directories): void {
  for (const name of [RECORDS_MARK, `${RECORDS_MARK}.new`])
    fs.rmSync(path.join(state, name), { force: true });
}
