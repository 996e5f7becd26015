// Runs an executable to its end, whatever that is.

import { spawn, type ChildProcess } from 'node:child_process';

/** How a program ended, and all it wrote. */
export interface Ended {
  /** Null when a signal ended it. */
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Waits for the end of a process whose output is piped. */
export function endOf(child: ChildProcess): Promise<Ended> {
  return new Promise((resolve, reject) => {
    let [stdout, stderr] = ['', ''];
    child.stdout?.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
    child.stderr?.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
    child.on('error', reject);
    child.on('close', (code) => resolve({ code, stdout, stderr }));
  });
}

/** Runs a program with nothing to read. It is ended after `timeoutMs`. */
export const runProgram = (
  file: string,
  args: readonly string[],
  timeoutMs = 60_000,
): Promise<Ended> =>
  endOf(spawn(file, args, { stdio: ['ignore', 'pipe', 'pipe'], timeout: timeoutMs }));
