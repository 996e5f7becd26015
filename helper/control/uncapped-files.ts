// Records of pods that were added without a cap, as files. There may be a thousand, and they seldom
// change: one that is as it was when it was read is not read again.

import { hasErrno } from '../wire/errors.ts';
import { keyOf } from '../protocol/messages.ts';
import { UNCAPPED } from '../protocol/state-files.ts';
import type { UncappedRecord } from '../shaping/records.ts';
import { PluginFiles } from './plugin-files.ts';
import { reasonOf } from './record-files.ts';
import { fileState } from './regular-file.ts';

/** What was read of a file. */
interface Seen {
  /** Changes with every record that is written, and with every change of its file. */
  readonly state: string;
  readonly record?: UncappedRecord;
  /** Why there is none. */
  readonly fault?: string;
}

export class UncappedFiles extends PluginFiles<typeof UNCAPPED> {
  #seen: ReadonlyMap<string, Seen> = new Map();

  constructor(socketPath: string) {
    super(socketPath, UNCAPPED);
  }

  /** Removes what the plugin did not write to its end. */
  removeStaged(): void {
    if (this.isUsable) this.files.removeStaged();
  }

  /** All that are there now, in the order of their keys, and what cannot be read: why, by path. */
  look(): {
    readonly records: readonly UncappedRecord[];
    readonly bad: ReadonlyMap<string, string>;
  } {
    const badness = this.directoryBadness();
    const names = badness === undefined ? this.files.names().toSorted() : [];
    const seen = new Map<string, Seen>();
    for (const name of names) {
      const found = this.#seeOne(name);
      if (found !== undefined) seen.set(name, found);
    }
    this.#seen = seen;
    const bad = new Map(badness);
    for (const [name, { fault }] of seen)
      if (fault !== undefined) bad.set(this.files.path(name), fault);
    return { records: [...seen.values()].flatMap(({ record }) => record ?? []), bad };
  }

  /**
   * Writes a record that says more in place of the one that was read, unless another has come or it
   * has gone since. Throws Error when it cannot be written.
   */
  complete(record: UncappedRecord): void {
    const seen = this.#seen.get(keyOf(record));
    if (seen !== undefined && seen.state === fileState(this.path(record))?.mark) this.write(record);
  }

  #seeOne(name: string): Seen | undefined {
    const state = fileState(this.files.path(name))?.mark;
    if (state === undefined) return undefined;
    const former = this.#seen.get(name);
    if (former?.state === state) return former;
    try {
      return { state, record: this.files.readOne(name) };
    } catch (error) {
      return hasErrno(error, 'ENOENT') ? undefined : { state, fault: reasonOf(error) };
    }
  }
}
