// What the kernel complains of while tests run.

import { capture } from './process.ts';

/** What only a defect makes the kernel say: of packet times and queues, of BPF, of itself. */
const COMPLAINT =
  /tstamp|\bfq\b|sch_fq|podpace|\bBUG\b|WARNING:|Oops|general protection|refcount_t|soft lockup|hung_task/;

/**
 * Lines of the kernel's log, oldest first, without their times. Throws CommandError where it may
 * not be read.
 */
export async function readKernelLog(): Promise<string[]> {
  const text = await capture('dmesg', ['--notime', '--level', 'emerg,alert,crit,err,warn']);
  return text.split('\n').filter((line) => line !== '');
}

/** Complaints in `after` that were not in `before`, each once. */
export function newComplaints(before: readonly string[], after: readonly string[]): string[] {
  const known = new Set(before);
  return [...new Set(after.filter((line) => !known.has(line) && COMPLAINT.test(line)))];
}
