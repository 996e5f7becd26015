// The helper's records: in memory, and as files under the state directory (a tmpfs: they are worth
// nothing after a reboot). A file that cannot be understood is left where it is and reported, never
// guessed at.

import path from 'node:path';
import { printable } from '../protocol/printable.ts';
import { keyOf, type AttachmentKey } from '../protocol/messages.ts';
import { ATTACHMENTS, EXITS } from '../protocol/state-files.ts';
import { RECORD_NAMES, type Records } from '../shaping/record-schema.ts';
import { RecordFiles } from './record-files.ts';
import {
  contradictionsOf,
  isOutlived,
  type AttachmentRecord,
  type ExitRecord,
  type Origin,
} from '../shaping/records.ts';

/** Records of one kind. */
class Shelf<K extends 'attachments' | 'exits'> {
  readonly files: RecordFiles<K>;
  /** By the name of the file; what is here is what counts. */
  records = new Map<string, Records[K]>();
  removing = new Map<string, Records[K]>();
  /** By path: what cannot be read, and why. */
  bad = new Map<string, string>();
  /** By path: what was lost under our hands, until the files are read again. */
  lost = new Set<string>();
  /** Of another boot or network namespace: of no device that is there now. */
  outlived = new Map<string, Records[K]>();

  constructor(files: RecordFiles<K>) {
    this.files = files;
  }

  /** In the order of their names. */
  sorted(): Records[K][] {
    return [...this.records].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([, record]) => record);
  }

  put(record: Records[K]): void {
    const name = RECORD_NAMES[this.files.kind](record);
    this.files.write(name, record);
    this.records.set(name, record);
    this.bad.delete(this.files.path(name));
  }

  take(name: string): void {
    this.files.remove(name);
    this.records.delete(name);
    this.bad.delete(this.files.path(name));
  }

  /**
   * Reads all files; what memory knows better than they do is written again, or goes on counting.
   */
  reload(origin: Origin): void {
    const former = this.records;
    const found = this.files.read();
    this.removing = new Map(found.removing);
    this.bad = new Map(found.bad);
    this.lost = new Set();
    this.outlived = new Map();
    const records = new Map<string, Records[K]>();
    for (const [name, record] of found.records)
      (isOutlived(record, origin) ? this.outlived : records).set(name, record);
    // What is as it was is consistent already, and stays the same to whoever has worked it out.
    const isSame =
      records.size === former.size &&
      [...records].every(([name, record]) => former.get(name) === record);
    if (isSame) return;
    this.records = this.#consistent(records);
    for (const [name, record] of former) {
      if (this.records.has(name) || this.outlived.has(name) || this.removing.has(name)) continue;
      this.records.set(name, record);
      const file = this.files.path(name);
      if (this.bad.has(file)) continue;
      this.#writeAgain(file, name, record);
    }
  }

  #writeAgain(file: string, name: string, record: Records[K]): void {
    try {
      this.files.write(name, record);
      this.lost.add(file);
    } catch (error) {
      this.bad.set(file, `it was lost and cannot be written again: ${(error as Error).message}`);
    }
  }

  /**
   * Without records that contradict each other: which of them is right cannot be told from them.
   */
  #consistent(records: Map<string, Records[K]>): Map<string, Records[K]> {
    if (this.files.kind !== ATTACHMENTS) return records;
    const contradictions = contradictionsOf([...records.values()] as AttachmentRecord[]);
    for (const [record, reason] of contradictions) {
      records.delete(keyOf(record));
      this.bad.set(this.files.path(keyOf(record)), reason);
    }
    return records;
  }
}

export class Store {
  readonly #warn: (message: string) => void;
  readonly #origin: Origin;
  readonly #attachments: Shelf<'attachments'>;
  readonly #exits: Shelf<'exits'>;
  #isStale = true;
  #isHidden = false;
  #sorted: readonly AttachmentRecord[] | undefined;

  /**
   * Makes the directory, readable by root only. `warn` hears of what is put right without more ado,
   * and of what could not be. Records carry `origin`; those of another are not of this node's
   * devices.
   */
  constructor(directory: string, warn: (message: string) => void, origin: Origin = {}) {
    this.#warn = warn;
    this.#origin = origin;
    this.#attachments = new Shelf(new RecordFiles(directory, ATTACHMENTS));
    this.#exits = new Shelf(new RecordFiles(directory, EXITS));
    for (const { files } of this.#shelves) {
      files.make();
      files.removeStaged();
    }
  }

  get #shelves(): [Shelf<'attachments'>, Shelf<'exits'>] {
    return [this.#attachments, this.#exits];
  }

  /** In the order of their keys. */
  readAttachments(): readonly AttachmentRecord[] {
    if (this.#isHidden) return [];
    this.#load();
    this.#sorted ??= this.#attachments.sorted();
    return this.#sorted;
  }

  readAttachment(key: AttachmentKey): AttachmentRecord | undefined {
    if (this.#isHidden) return undefined;
    this.#load();
    return this.#attachments.records.get(keyOf(key));
  }

  /** In no order. */
  readExits(): readonly ExitRecord[] {
    this.#load();
    return [...this.#exits.records.values()];
  }

  /** Attachments on their way out, of which something may be left in the kernel. */
  readRemoving(): readonly AttachmentRecord[] {
    this.#load();
    return [...this.#attachments.removing.values()];
  }

  /** From now on as if there were no attachments; their files stay. */
  hideAttachments(): void {
    this.#isHidden = true;
  }

  /** Has the files read again: somebody may have removed or damaged one. */
  refresh(): void {
    this.#isStale = true;
  }

  /** What is wrong with the files, a sentence for each; empty when nothing is. */
  problems(): string[] {
    this.#load();
    return this.#shelves.flatMap(({ bad, lost }) => [
      ...[...bad].map(([file, reason]) => this.#badness(file, reason)),
      ...[...lost].map(
        (file) => `The record ${printable(file)} was lost; podpaced has written it again`,
      ),
    ]);
  }

  /** Files of attachments that cannot be read. */
  unreadable(): string[] {
    this.#load();
    return [...this.#attachments.bad.keys()].toSorted();
  }

  /**
   * Why nothing is known of an attachment although there is a file of it; undefined when there is
   * none.
   */
  badnessOf(key: AttachmentKey): string | undefined {
    this.#load();
    const { bad, files } = this.#attachments;
    const file = files.path(keyOf(key));
    const reason = bad.get(file);
    return reason === undefined ? undefined : this.#badness(file, reason);
  }

  /**
   * Removes and returns the records of another boot or network namespace; nothing of them is here.
   */
  takeOutlived(): {
    readonly attachments: readonly AttachmentRecord[];
    readonly exits: readonly ExitRecord[];
  } {
    this.#load();
    const attachments = [...this.#attachments.outlived.values()];
    const exits = [...this.#exits.outlived.values()];
    for (const shelf of this.#shelves) {
      for (const name of shelf.outlived.keys()) shelf.files.remove(name);
      shelf.outlived.clear();
    }
    return { attachments, exits };
  }

  /**
   * Throws ShapingError that names the file when it cannot be written; then nothing has changed.
   */
  writeAttachment(record: AttachmentRecord): void {
    this.#load();
    this.#attachments.put({ ...record, ...this.#origin });
    this.#sorted = undefined;
  }

  /** Like writeAttachment. */
  writeExit(record: ExitRecord): void {
    this.#load();
    this.#exits.put({ ...record, ...this.#origin });
  }

  /**
   * Writes records of 23c71bb again, with their origin: call when their devices were found to be
   * theirs.
   */
  adopt(): void {
    if (this.#origin.bootId === undefined) return;
    try {
      for (const record of this.readAttachments())
        if (record.bootId === undefined) this.writeAttachment(record);
      for (const record of this.readExits())
        if (record.bootId === undefined) this.writeExit(record);
    } catch (error) {
      // They are as good as before; the next look tries again.
      this.#warn((error as Error).message);
    }
  }

  removeAttachment(key: AttachmentKey): void {
    this.#load();
    this.#attachments.take(keyOf(key));
    this.#sorted = undefined;
  }

  /**
   * From here on the attachment is not known, and what is left of it in the kernel is to go, also
   * after a crash.
   */
  startRemoval(record: AttachmentRecord): void {
    this.#load();
    const name = keyOf(record);
    this.#attachments.files.startRemoval(name);
    this.#attachments.removing.set(name, record);
    this.removeAttachment(record);
  }

  /** Nothing is left of it. */
  finishRemoval(key: AttachmentKey): void {
    this.#attachments.files.finishRemoval(keyOf(key));
    this.#attachments.removing.delete(keyOf(key));
  }

  removeExit(ifindex: number): void {
    this.#load();
    this.#exits.take(String(ifindex));
  }

  #badness(file: string, reason: string): string {
    const isAttachment = path.dirname(file) === this.#attachments.files.directory;
    const consequence = isAttachment
      ? 'what the kernel may hold of it stays in force and is not looked after'
      : 'what stood on that exit before is not known';
    return (
      `Cannot read the record ${printable(file)}: ${reason}; ${consequence}. ` +
      'Run a podpaced that can read it, or remove the file'
    );
  }

  #load(): void {
    if (!this.#isStale) return;
    this.#isStale = false;
    const former = this.#attachments.records;
    try {
      for (const shelf of this.#shelves) {
        if (shelf.files.make())
          this.#warn(`${shelf.files.directory} was gone: made it again, with its records`);
        shelf.reload(this.#origin);
      }
    } catch (error) {
      this.#isStale = true;
      throw error;
    } finally {
      if (this.#attachments.records !== former) this.#sorted = undefined;
    }
  }
}
