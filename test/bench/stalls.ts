// Whether the machine itself stood still during a run. A virtual machine does when its host gives
// its processors to others: packets then wait that no queue holds, whichever system is measured.

import { spawn } from 'node:child_process';
import { once } from 'node:events';

/** A run in which the machine stood still for longer than this is made again. */
export const MAX_STALL_MS = 40;

const WAKE_UP_US = '5000';

/**
 * The longest delay that cyclictest reports, in milliseconds. Throws Error without a report: then
 * nothing is known. Its lines: "T: 0 ( 123) P:99 I:5000 C: 1000 Min: 5 Act: 6 Avg: 7 Max: 120",
 * times in microseconds.
 */
export function parseLongestStall(report: string): number {
  const delaysUs = [...report.matchAll(/^T:.*\bMax:\s*(\d+)/gm)].map(([, value]) => Number(value));
  if (delaysUs.length === 0)
    throw new Error(
      `Cannot tell whether the machine stood still: cyclictest says ${JSON.stringify(report)}`,
    );
  return Math.max(...delaysUs) / 1000;
}

/**
 * Does `work` while a thread on each processor, which goes before all others, asks to be woken up
 * every 5 ms; also returns how late one was at most. No queue and no program can delay those
 * threads for long, only the machine can.
 */
export async function watchingStalls<T>(
  work: () => Promise<T>,
): Promise<{ readonly result: T; readonly stallMs: number }> {
  // --laptop: leave power management alone. It reports when it is ended.
  const flags = [
    '--smp',
    '--priority=99',
    `--interval=${WAKE_UP_US}`,
    '--mlockall',
    '--quiet',
    '--laptop',
  ];
  const watcher = spawn('setpriv', ['--pdeathsig', 'TERM', 'cyclictest', ...flags], {
    stdio: 'pipe',
  });
  let report = '';
  for (const stream of [watcher.stdout, watcher.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => (report += text));
  const closed = once(watcher, 'close');
  try {
    const result = await work();
    watcher.kill('SIGTERM');
    await closed;
    return { result, stallMs: parseLongestStall(report) };
  } finally {
    if (watcher.exitCode === null && watcher.signalCode === null) watcher.kill('SIGKILL');
    await closed;
  }
}
