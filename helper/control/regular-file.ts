// Reading files that anybody who may write to a directory may have put there: never a pipe, which
// waits for a writer, a device without an end, or what a link leads to.

import fs from 'node:fs';

/** No file of podpace's comes near: what is longer is none, and is not read into memory. */
const MAX_BYTES = 1_048_576;

/** What a file must be besides regular. */
interface Demands {
  readonly maxBytes?: number;
  /** Nobody but root can have written it. */
  readonly isRoots?: boolean;
}

/** Of st_mode: group and others may write. */
const WRITABLE_BY_OTHERS = 0o022;

/**
 * The text of a regular file. Throws Error that says what it is instead, or fs's error: ELOOP for a
 * symbolic link, ENXIO for a socket.
 */
export function readRegularFile(
  file: string,
  { maxBytes = MAX_BYTES, isRoots = false }: Demands = {},
): string {
  const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = fs.constants;
  const fd = fs.openSync(file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  try {
    const stat = fs.fstatSync(fd);
    if (!stat.isFile()) throw new Error('it is no regular file');
    if (stat.size > maxBytes) throw new Error(`it has ${stat.size} bytes, more than ${maxBytes}`);
    if (isRoots && stat.uid !== 0) throw new Error(`it belongs to user ${stat.uid}, not to root`);
    if (isRoots && (stat.mode & WRITABLE_BY_OTHERS) !== 0)
      throw new Error('others than root may write it');
    return fs.readFileSync(fd, 'utf8');
  } finally {
    fs.closeSync(fd);
  }
}

/** The kernel's times of files go in steps, of 10 ms at most: a second change may go unseen. */
const SETTLED_MS = 100;

/** By which it is known again that a file is as it was. */
export interface FileState {
  /** Changes with every change of the file, and with whatever takes its place. */
  readonly mark: string;
  /** False right after a change: the next one may leave the mark as it is. */
  readonly isSettled: boolean;
}

/** The state of a file, of a link's own; undefined where there is none. */
export function fileState(file: string): FileState | undefined {
  const stat = fs.lstatSync(file, { throwIfNoEntry: false });
  if (stat === undefined) return undefined;
  const { ino, size, mtimeMs, ctimeMs } = stat;
  const isSettled = Date.now() - ctimeMs >= SETTLED_MS;
  return { mark: `${ino} ${size} ${mtimeMs} ${ctimeMs}`, isSettled };
}

/**
 * Writes a file whole or not at all, readable by root only, through another one beside it, whatever
 * is there by either name.
 */
export function writeWhole(file: string, staged: string, text: string): void {
  fs.rmSync(staged, { force: true });
  fs.writeFileSync(staged, text, { mode: 0o600, flag: 'wx' });
  fs.renameSync(staged, file);
}
