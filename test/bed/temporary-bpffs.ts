// A bpffs that tests and benches pin their objects on.

import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { ensureBpffs } from '../../helper/kernel/bpffs.ts';

/** A bpffs of the test's own. */
export interface TemporaryBpffs {
  readonly directory: string;
  remove(): void;
}

/** Mounts a bpffs; `remove` takes it away again with all pins on it. */
export function mountTemporaryBpffs(): TemporaryBpffs {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), `pp-${process.pid}-`));
  try {
    ensureBpffs(directory);
  } catch (error) {
    fs.rmdirSync(directory);
    throw error;
  }
  return {
    directory,
    remove() {
      execFileSync('umount', [directory]);
      fs.rmdirSync(directory);
    },
  };
}
