// Folders for what is written meanwhile.

import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type { Teardown } from './undo.ts';

/** Makes a folder that is gone when it is over. */
export function temporaryDirectory(t: Teardown): string {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), `pp-${process.pid}-`));
  t.teardown(() => fs.rmSync(directory, { recursive: true, force: true }));
  return directory;
}
