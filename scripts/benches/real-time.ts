// Time that the kernel keeps from real-time tasks: 5 % of each second. A program that waits for packets at real-time priority
// is held up for 50 ms then, which is seen in a 99th percentile. While round trips are measured it is not kept.

import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { capture } from '../lib/process.ts';

/** Before Linux 6.12, Documentation/scheduler/sched-rt-group.rst. */
const RUNTIME_SYSCTL = '/proc/sys/kernel/sched_rt_runtime_us';
/** From Linux 6.12 on: a file for each processor, on debugfs. */
const FAIR_SERVER_FOLDER = 'sched/fair_server';

/** Writes a value to a file and returns what stood there. */
function exchange(file: string, value: string): string {
  const former = fs.readFileSync(file, 'utf8').trim();
  fs.writeFileSync(file, value);
  return former;
}

function fairServerFiles(debugfs: string): string[] {
  const folder = path.join(debugfs, FAIR_SERVER_FOLDER);
  if (!fs.existsSync(folder)) return [];
  return fs.readdirSync(folder).map((processor) => path.join(folder, processor, 'runtime'));
}

/** Runs `work` while real-time tasks get all they want; afterwards everything is as it was. */
export async function withWholeRealTime<T>(work: () => Promise<T>): Promise<T> {
  const debugfs = fs.mkdtempSync(path.join(os.tmpdir(), `pp-${process.pid}-debugfs-`));
  const undo: (() => unknown)[] = [() => fs.rmdirSync(debugfs)];
  try {
    await capture('mount', ['-t', 'debugfs', 'debugfs', debugfs]);
    undo.unshift(() => capture('umount', [debugfs]));
    const changes = [
      ...fairServerFiles(debugfs).map((file) => [file, '0'] as const),
      [RUNTIME_SYSCTL, '-1'] as const,
    ];
    for (const [file, value] of changes) {
      const former = exchange(file, value);
      undo.unshift(() => exchange(file, former));
    }
    return await work();
  } finally {
    for (const step of undo) await step();
  }
}
