// Wishes as files: what pods were to have that were added without it, under `onUnenforceable:
// allow`. The plugin writes them, with or without a helper; the helper puts them in force as soon
// as it can. They stand beside the helper's socket, which both know.

import fs from 'node:fs';
import path from 'node:path';
import { hasErrno } from '../wire/errors.ts';
import { keyOf, type AttachmentKey } from '../protocol/messages.ts';
import { WISHES } from '../protocol/state-files.ts';
import { RecordFiles, removeEmptyDirectory, type FoundRecords } from './record-files.ts';
import type { Wish } from '../shaping/records.ts';

const ABSENT = 'it is not there';

const NOTHING: FoundRecords<Wish> = { records: new Map(), removing: new Map(), bad: new Map() };

/** Writing meets the removal of a directory that was just empty. */
const ATTEMPTS = 3;

export class WishFiles {
  readonly #files: RecordFiles<typeof WISHES>;

  /** Nothing is made or read yet. */
  constructor(socketPath: string) {
    this.#files = new RecordFiles(path.dirname(socketPath), WISHES);
  }

  /** Where a wish is or would be. */
  path(key: AttachmentKey): string {
    return this.#files.path(keyOf(key));
  }

  /** All that are there; a directory that others can write to counts as a bad file. */
  read(): FoundRecords<Wish> {
    try {
      const fault = this.#fault();
      if (fault === undefined) return this.#files.read();
      return { ...NOTHING, bad: new Map(fault === ABSENT ? [] : [[this.#files.directory, fault]]) };
    } catch (error) {
      return { ...NOTHING, bad: new Map([[this.#files.directory, (error as Error).message]]) };
    }
  }

  /** Throws Error that names the file when it cannot be written. */
  write(wish: Wish): void {
    for (let attempt = 1; ; attempt += 1) {
      this.#files.make();
      const fault = this.#fault();
      if (fault !== undefined && fault !== ABSENT)
        throw new Error(`Cannot write to ${this.#files.directory}: ${fault}`);
      try {
        return this.#files.write(keyOf(wish), wish);
      } catch (error) {
        if (attempt === ATTEMPTS || !hasErrno((error as Error).cause, 'ENOENT')) throw error;
      }
    }
  }

  /**
   * Removes a wish, whatever is wrong with it, and the directory with the last one; does nothing
   * when there is none.
   */
  remove(key: AttachmentKey): void {
    if (this.#fault() !== undefined) return;
    this.#files.remove(keyOf(key));
    removeEmptyDirectory(this.#files.directory);
  }

  /** Removes all, or what was not written to its end (uninstall). */
  clear({ forget }: { readonly forget: boolean }): void {
    if (this.#fault() !== undefined) return;
    if (forget) this.#files.removeAll();
    else this.#files.removeUnfinished();
  }

  /**
   * Why the directory is not used: whoever else can write to it could have root write, or remove,
   * files anywhere.
   */
  #fault(): string | undefined {
    const stat = fs.lstatSync(this.#files.directory, { throwIfNoEntry: false });
    if (stat === undefined) return ABSENT;
    if (!stat.isDirectory()) return 'it is no directory';
    const isOwn = stat.uid === process.geteuid?.() && (stat.mode & 0o022) === 0;
    return isOwn ? undefined : 'others than root can write to it';
  }
}
