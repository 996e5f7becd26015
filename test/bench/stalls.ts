// Whether the machine itself stood still during a run. A virtual machine does when its host gives
// its processors to others: packets then wait that no queue holds, whichever system is measured.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { say } from '../../scripts/lib/progress.ts';
import type { Measured } from './record.ts';

/** A run in which the machine stood still for longer than this is made again. */
export const MAX_STALL_MS = 40;

/** How often a run is made at most for one in which the machine did not stand still. */
const MAX_ATTEMPTS = 5;

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
 * Measures, again if the machine stood still meanwhile; of several attempts the one with the
 * shortest stall counts.
 */
export async function measureUndisturbed(measure: () => Promise<Measured>): Promise<Measured> {
  let best: (Measured & { readonly stallMs: number }) | undefined;
  for (let attempt = 1; attempt <= MAX_ATTEMPTS; attempt += 1) {
    const { result, stallMs } = await watchingStalls(measure);
    if (best === undefined || stallMs < best.stallMs) best = { ...result, stallMs };
    if (stallMs <= MAX_STALL_MS) break;
    const next = attempt < MAX_ATTEMPTS ? 'again' : 'going on';
    say(`the machine stood still for ${Math.round(stallMs)} ms: ${next}`);
  }
  return best!;
}

/**
 * Does `work` while a thread on each processor, which goes before all others, asks to be woken up
 * every 5 ms; also returns how late one was at most. No queue and no program can delay those
 * threads for long, only the machine can.
 */
async function watchingStalls<T>(
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
