// Directories that root alone can write to: whoever else can could have root write, or remove,
// files anywhere.

import fs from 'node:fs';

/** What is said of a directory that is not there. */
export const ABSENT = 'it is not there';

/** Why a directory is not used; undefined for one that is. */
export function directoryFault(directory: string): string | undefined {
  const stat = fs.lstatSync(directory, { throwIfNoEntry: false });
  if (stat === undefined) return ABSENT;
  if (!stat.isDirectory()) return 'it is no directory';
  const isOwn = stat.uid === process.geteuid?.() && (stat.mode & 0o022) === 0;
  return isOwn ? undefined : 'others than root can write to it';
}
