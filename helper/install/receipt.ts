// What `podpaced install` has done on this node, so that `podpaced uninstall` can undo it: where.
// It is written before anything else changes, and outlives a reboot, as what was installed does.

import fs from 'node:fs';
import path from 'node:path';
import { removeEmptyDirectory } from '../control/record-files.ts';
import { readRegularFile } from '../control/regular-file.ts';
import {
  boolean,
  integer,
  list,
  object,
  optional,
  ShapeError,
  string,
  text,
  type Read,
} from '../protocol/shape.ts';
import { hasErrno } from '../wire/errors.ts';
import { dropFile, putFile, STAGED } from './files.ts';
import { resolveIn } from './node-root.ts';

const RECEIPT = '/var/lib/podpace/install.json';
const RECEIPT_VERSION = 1;

const receipt = object({
  receiptVersion: integer(1),
  /** Of podpaced. */
  release: string,
  /** `isOurs`: the executable was put there, and was not there before with the same content. */
  plugins: list(object({ binDir: text, isOurs: boolean })),
  /** Whether the plugin's shared libraries were put there. */
  hasLibraries: optional(boolean),
  /** Where podpace was added to a list, or is kept in one by the helper. */
  confDirs: list(text),
  /** `containerd`, `CRI-O`, or empty. */
  runtime: string,
  /** Lists that were written as they were given, and what they held, the last one last. */
  ownLists: list(object({ confDir: text, name: text, sha256: list(text) })),
});

export type Receipt = Omit<Read<typeof receipt>, 'receiptVersion'>;

function fileIn(root: string): string {
  return resolveIn(root, RECEIPT);
}

/**
 * Undefined where nothing was installed. Throws Error for one that cannot be read, with the remedy.
 */
export function readReceipt(root: string): Receipt | undefined {
  const file = fileIn(root);
  try {
    const { receiptVersion, ...rest } = receipt(JSON.parse(readRegularFile(file)), '');
    if (receiptVersion > RECEIPT_VERSION)
      throw new ShapeError(`it is of a newer podpaced (${rest.release})`);
    return rest;
  } catch (error) {
    if (hasErrno(error, 'ENOENT')) return undefined;
    throw new Error(
      `Cannot read ${file}, which says what was installed: ${(error as Error).message}; correct it, or take it away ` +
        'and run podpaced install again',
      { cause: error },
    );
  }
}

/** Throws Error with the remedy. */
export function writeReceipt(root: string, content: Receipt): void {
  const file = fileIn(root);
  const lines = JSON.stringify({ receiptVersion: RECEIPT_VERSION, ...content }, undefined, 2);
  try {
    fs.mkdirSync(path.dirname(file), { recursive: true, mode: 0o755 });
  } catch (error) {
    throw new Error(`Cannot make ${path.dirname(file)}: ${(error as Error).message}`, {
      cause: error,
    });
  }
  putFile(file, { mode: 0o644, flag: '--root' }, (staged) =>
    fs.writeFileSync(staged, `${lines}\n`, { flag: 'wx' }),
  );
}

export function removeReceipt(root: string): void {
  const file = fileIn(root);
  const directory = path.dirname(file);
  dropFile(path.join(directory, STAGED), '--root');
  dropFile(file, '--root');
  removeEmptyDirectory(directory);
}
