// C programs compiled for this machine, for tests of what C computes.

import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';

/** A compiled program. */
export interface HostProgram {
  readonly executable: string;
  /**
   * Runs it and returns what it wrote to stdout. Throws when it ends with another status than 0.
   */
  run(args: readonly string[], input?: string): string;
  remove(): void;
}

/** Compiles one C source with clang, which also compiles the BPF programs. */
export function compileHostProgram(source: string): HostProgram {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), `pp-${process.pid}-`));
  const executable = path.join(directory, 'program');
  const remove = (): void => fs.rmSync(directory, { recursive: true });
  try {
    execFileSync('clang', [
      '-O2',
      '-Wall',
      '-Wextra',
      '-Werror',
      '-pthread',
      source,
      '-o',
      executable,
    ]);
  } catch (error) {
    remove();
    throw error;
  }
  return {
    executable,
    run: (args, input = '') =>
      execFileSync(executable, args, { input, encoding: 'utf8', maxBuffer: 1 << 26 }),
    remove,
  };
}
