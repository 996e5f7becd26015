// One directory of records as files: read whole or not at all, written by a rename, given away by
// another.

import fs from 'node:fs';
import path from 'node:path';
import { hasErrno } from '../wire/errors.ts';
import { printable } from '../protocol/printable.ts';
import { remedies } from '../protocol/remedies.ts';
import { ShapingError } from '../shaping/failure.ts';
import { RECORD_SUFFIX } from '../protocol/state-files.ts';
import { formatRecord, parseRecord, type Records } from '../shaping/record-schema.ts';
import { fileState, readRegularFile, writeWhole } from './regular-file.ts';

const { whole: WHOLE, removing: REMOVING, movedAside: MOVED_ASIDE, staged: STAGED } = RECORD_SUFFIX;

/** What a directory holds, by the names of the files without their suffixes. */
export interface FoundRecords<R> {
  readonly records: ReadonlyMap<string, R>;
  /** Records on their way out, of which can be read what they are. */
  readonly removing: ReadonlyMap<string, R>;
  /** What cannot be read, by path: why. */
  readonly bad: ReadonlyMap<string, string>;
}

/** What was read of a file, and the mark that it had before. */
interface Seen<R> {
  readonly mark: string;
  readonly record: R;
}

export class RecordFiles<K extends keyof Records> {
  readonly kind: K;
  readonly directory: string;
  /** By path. There may be a thousand, and they seldom change: those that have not are not read. */
  #seen = new Map<string, Seen<Records[K]>>();
  /** The same of the time before. */
  #formerlySeen: ReadonlyMap<string, Seen<Records[K]>> = new Map();

  /** Nothing is made or read yet. */
  constructor(stateDir: string, kind: K) {
    this.kind = kind;
    this.directory = path.join(stateDir, kind);
  }

  /**
   * Makes the directory, readable by root only; true when it was not there. What is no directory is
   * left, and read() tells of it.
   */
  make(): boolean {
    if (this.#isSomethingElse()) return false;
    return fs.mkdirSync(this.directory, { recursive: true, mode: 0o700 }) !== undefined;
  }

  #isSomethingElse(): boolean {
    const stat = fs.statSync(this.directory, { throwIfNoEntry: false });
    return stat !== undefined && !stat.isDirectory();
  }

  /** Removes what was not written to its end (by a helper that is gone). */
  removeStaged(): void {
    for (const name of this.#names(STAGED)) unlink(path.join(this.directory, name + STAGED));
  }

  /** Removes what was on its way in or out; what is wished for stays (uninstall). */
  removeUnfinished(): void {
    for (const suffix of [STAGED, REMOVING])
      for (const name of this.#names(suffix)) unlink(path.join(this.directory, name + suffix));
    removeEmptyDirectory(this.directory);
  }

  path(name: string): string {
    return path.join(this.directory, name + WHOLE);
  }

  /** All that is there. A record that was moved aside and can be read now is put back. */
  read(): FoundRecords<Records[K]> {
    const bad = new Map<string, string>();
    [this.#formerlySeen, this.#seen] = [this.#seen, new Map()];
    if (this.#isSomethingElse()) bad.set(this.directory, 'it is no directory; take it away');
    for (const name of this.#names(MOVED_ASIDE)) {
      const aside = path.join(this.directory, name + MOVED_ASIDE);
      const isFree = !fs.existsSync(this.path(name));
      if (isFree && this.#readOne(aside, name, bad) !== undefined)
        fs.renameSync(aside, this.path(name));
      else if (!isFree) bad.delete(aside);
    }
    return {
      records: this.#readAll(WHOLE, bad),
      removing: this.#readAll(REMOVING, new Map()),
      bad,
    };
  }

  /** Names of the files of records, without their suffix. */
  names(): string[] {
    return this.#names(WHOLE);
  }

  /** One record. Throws Error that says what is wrong with it, ENOENT when it is not there. */
  readOne(name: string): Records[K] {
    return parseRecord(this.kind, name, readRegularFile(this.path(name)));
  }

  /** Throws ShapingError that names the file when it cannot be written; then it is as it was. */
  write(name: string, record: Records[K]): void {
    const file = this.path(name);
    const staged = path.join(this.directory, name + STAGED);
    this.make();
    try {
      writeWhole(file, staged, formatRecord(this.kind, record));
    } catch (error) {
      unlink(staged);
      const reason = (error as NodeJS.ErrnoException).code ?? (error as Error).message;
      const remedy = hasErrno(error, 'ENOSPC', 'EDQUOT')
        ? remedies.room(this.directory)
        : `see what is wrong with ${this.directory}`;
      throw new ShapingError(
        'internal',
        `Cannot write the record ${file}: ${reason}`,
        remedy,
        error,
      );
    }
    unlink(path.join(this.directory, name + MOVED_ASIDE));
  }

  /**
   * From here on the record counts no more; what is left of it is finished by whoever comes next.
   */
  startRemoval(name: string): void {
    try {
      // Needs no room, unlike a file that says the same.
      fs.renameSync(this.path(name), path.join(this.directory, name + REMOVING));
    } catch (error) {
      if (!hasErrno(error, 'ENOENT')) throw error;
    }
  }

  finishRemoval(name: string): void {
    unlink(path.join(this.directory, name + REMOVING));
  }

  /** Removes a record, whatever is wrong with it. */
  remove(name: string): void {
    for (const suffix of [WHOLE, MOVED_ASIDE]) unlink(path.join(this.directory, name + suffix));
  }

  /**
   * Removes all that records can leave (uninstall), and the directory when nothing else is in it.
   */
  removeAll(): void {
    for (const suffix of [WHOLE, MOVED_ASIDE, REMOVING, STAGED]) {
      for (const name of this.#names(suffix)) unlink(path.join(this.directory, name + suffix));
    }
    removeEmptyDirectory(this.directory);
  }

  #names(suffix: string): string[] {
    try {
      return fs
        .readdirSync(this.directory)
        .filter((name) => name.endsWith(suffix))
        .map((name) => name.slice(0, -suffix.length));
    } catch (error) {
      // What is no directory holds no names.
      if (hasErrno(error, 'ENOENT', 'ENOTDIR')) return [];
      throw error;
    }
  }

  #readAll(suffix: string, bad: Map<string, string>): Map<string, Records[K]> {
    const records = new Map<string, Records[K]>();
    for (const name of this.#names(suffix)) {
      const record = this.#readOne(path.join(this.directory, name + suffix), name, bad);
      if (record !== undefined) records.set(name, record);
    }
    return records;
  }

  #readOne(file: string, name: string, bad: Map<string, string>): Records[K] | undefined {
    const state = fileState(file);
    const former = this.#formerlySeen.get(file);
    const isSame = state !== undefined && former?.mark === state.mark;
    try {
      const record = isSame ? former.record : parseRecord(this.kind, name, readRegularFile(file));
      if (state?.isSettled === true) this.#seen.set(file, { mark: state.mark, record });
      return record;
    } catch (error) {
      // Gone since the directory was read.
      if (!hasErrno(error, 'ENOENT')) bad.set(file, reasonOf(error));
      return undefined;
    }
  }
}

/** Removes a file; one that is not there, or is a directory, is left. */
function unlink(file: string): void {
  try {
    fs.unlinkSync(file);
  } catch (error) {
    if (!hasErrno(error, 'ENOENT', 'ENOTDIR', 'EISDIR', 'EPERM')) throw error;
  }
}

/** Why a record cannot be read, printable. */
export function reasonOf(error: unknown): string {
  // That is how O_NOFOLLOW says it.
  if (hasErrno(error, 'ELOOP')) return 'it is no regular file but a symbolic link';
  if (hasErrno(error, 'ENXIO')) return 'it is no regular file but a socket';
  return printable((error as Error).message);
}

/** Takes a directory away unless something is in it. */
export function removeEmptyDirectory(directory: string): void {
  try {
    fs.rmdirSync(directory);
  } catch (error) {
    if (!hasErrno(error, 'ENOTEMPTY', 'ENOENT', 'ENOTDIR', 'EEXIST', 'EBUSY')) throw error;
  }
}
