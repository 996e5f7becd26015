// Records that the plugin writes, with or without a helper: they stand beside the helper's socket,
// which both know.

import path from 'node:path';
import { hasErrno } from '../wire/errors.ts';
import { keyOf, type AttachmentKey } from '../protocol/messages.ts';
import { ABSENT, directoryFault } from './own-directory.ts';
import { RecordFiles, type FoundRecords } from './record-files.ts';
import type { Records } from '../shaping/record-schema.ts';

/** Writing meets the removal of a directory that was just empty. */
const ATTEMPTS = 3;

export class PluginFiles<K extends 'wishes' | 'uncapped'> {
  protected readonly files: RecordFiles<K>;

  /** Nothing is made or read yet. */
  constructor(socketPath: string, kind: K) {
    this.files = new RecordFiles(path.dirname(socketPath), kind);
  }

  /** Where a record is or would be. */
  path(key: AttachmentKey): string {
    return this.files.path(keyOf(key));
  }

  /** All that are there; a directory that others can write to counts as a bad file. */
  read(): FoundRecords<Records[K]> {
    try {
      const bad = this.directoryBadness();
      if (bad !== undefined) return { records: new Map(), removing: new Map(), bad };
      return this.files.read();
    } catch (error) {
      const bad = new Map([[this.files.directory, (error as Error).message]]);
      return { records: new Map(), removing: new Map(), bad };
    }
  }

  /** What is wrong with the directory, empty where there is none; undefined when nothing is. */
  protected directoryBadness(): ReadonlyMap<string, string> | undefined {
    const fault = directoryFault(this.files.directory);
    if (fault === undefined) return undefined;
    return new Map(fault === ABSENT ? [] : [[this.files.directory, fault]]);
  }

  /** Throws Error that names the file when it cannot be written. */
  write(record: Records[K]): void {
    for (let attempt = 1; ; attempt += 1) {
      this.files.make();
      const fault = directoryFault(this.files.directory);
      if (fault !== undefined && fault !== ABSENT)
        throw new Error(`Cannot write to ${this.files.directory}: ${fault}`);
      try {
        return this.files.write(keyOf(record), record);
      } catch (error) {
        if (attempt === ATTEMPTS || !hasErrno((error as Error).cause, 'ENOENT')) throw error;
      }
    }
  }

  /** Removes a record, whatever is wrong with it; does nothing when there is none. */
  remove(key: AttachmentKey): void {
    if (this.isUsable) this.files.remove(keyOf(key));
  }

  /** Removes the records of a network that are not of these. Throws Error when one cannot be. */
  keepOnly(network: string, valid: readonly AttachmentKey[]): void {
    const staying = new Set(valid.map(keyOf));
    for (const record of this.read().records.values())
      if (record.network === network && !staying.has(keyOf(record))) this.remove(record);
  }

  protected get isUsable(): boolean {
    return directoryFault(this.files.directory) === undefined;
  }

  /** Removes all, or what was not written to its end (uninstall). */
  clear({ forget }: { readonly forget: boolean }): void {
    if (!this.isUsable) return;
    if (forget) this.files.removeAll();
    else this.files.removeUnfinished();
  }
}
