// The helper's records as files under the state directory (a tmpfs: they are worth nothing after a reboot).
// A rename makes each change whole; a file that cannot be read is moved aside and reported, never guessed at.

import fs from 'node:fs';
import path from 'node:path';
import { hasErrno } from '../kernel/errors.ts';
import { keyOf, type AttachmentKey } from '../protocol/messages.ts';
import { RECORD_VERSION, type AttachmentRecord, type ExitRecord } from './records.ts';

type Kind = 'attachments' | 'exits';

export class Store {
  readonly #directory: string;
  readonly #warn: (message: string) => void;
  /** As the files are; absent when they have to be read. */
  #attachments: AttachmentRecord[] | undefined;
  #exits: ExitRecord[] | undefined;

  /** Makes the directory, readable by root only. `warn` hears of files that cannot be understood. */
  constructor(directory: string, warn: (message: string) => void) {
    this.#directory = directory;
    this.#warn = warn;
    for (const kind of ['attachments', 'exits'] as const) {
      fs.mkdirSync(path.join(directory, kind), { recursive: true, mode: 0o700 });
    }
  }

  /** In the order of their keys. The files are read again after each change through this store and each `refresh`. */
  readAttachments(): readonly AttachmentRecord[] {
    this.#attachments ??= this.#readAttachmentFiles();
    return this.#attachments;
  }

  /** Has the files read again: somebody may have removed or damaged one. */
  refresh(): void {
    this.#attachments = undefined;
    this.#exits = undefined;
  }

  /** In no order. Read again when the attachments are. */
  readExits(): readonly ExitRecord[] {
    this.#exits ??= this.#readAll<ExitRecord>('exits');
    return this.#exits;
  }

  writeAttachment(record: AttachmentRecord): void {
    this.refresh();
    this.#write('attachments', keyOf(record), record);
  }

  writeExit(record: ExitRecord): void {
    this.refresh();
    this.#write('exits', String(record.ifindex), record);
  }

  removeAttachment(key: AttachmentKey): void {
    this.refresh();
    fs.rmSync(this.#file('attachments', keyOf(key)), { force: true });
  }

  removeExit(ifindex: number): void {
    this.refresh();
    fs.rmSync(this.#file('exits', String(ifindex)), { force: true });
  }

  /** Takes the directories away when they are empty (uninstall). */
  removeIfEmpty(): void {
    for (const directory of ['attachments', 'exits', '.']) {
      try {
        fs.rmdirSync(path.join(this.#directory, directory));
      } catch (error) {
        if (!hasErrno(error, 'ENOTEMPTY', 'ENOENT', 'EEXIST', 'EBUSY')) throw error;
      }
    }
  }

  #file(kind: Kind, name: string): string {
    return path.join(this.#directory, kind, `${name}.json`);
  }

  #write(kind: Kind, name: string, record: object): void {
    const file = this.#file(kind, name);
    const staged = `${file}.new`;
    fs.writeFileSync(staged, `${JSON.stringify({ recordVersion: RECORD_VERSION, ...record })}\n`, {
      mode: 0o600,
    });
    fs.renameSync(staged, file);
  }

  #readAttachmentFiles(): AttachmentRecord[] {
    const records = this.#readAll<AttachmentRecord>('attachments').map(
      (record) => [keyOf(record), record] as const,
    );
    return records.toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([, record]) => record);
  }

  #readAll<T>(kind: Kind): T[] {
    const directory = path.join(this.#directory, kind);
    const names = fs.readdirSync(directory).filter((name) => name.endsWith('.json'));
    return names.flatMap((name) => {
      const record = this.#readOne(path.join(directory, name));
      return record === undefined ? [] : [record as T];
    });
  }

  #readOne(file: string): object | undefined {
    try {
      const { recordVersion, ...record } = JSON.parse(fs.readFileSync(file, 'utf8')) as {
        recordVersion: unknown;
      };
      if (recordVersion === RECORD_VERSION) return record;
      this.#setAside(
        file,
        `its record version is ${String(recordVersion)}, this podpaced knows ${RECORD_VERSION}`,
      );
    } catch (error) {
      this.#setAside(file, (error as Error).message);
    }
    return undefined;
  }

  #setAside(file: string, reason: string): void {
    fs.renameSync(file, `${file}.unreadable`);
    this.#warn(`Cannot read the record ${file}: ${reason}; it was moved aside to ${file}.unreadable`);
  }
}
