// The process of a helper, as the machine sees it.

import fs from 'node:fs';

/** What it holds of the machine's memory. */
export function rssMib(pid: number): number {
  const [, kib] = /VmRSS:\s+(\d+) kB/.exec(fs.readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
  return Number(kib) / 1024;
}

/** File descriptors that it has open. */
export function descriptorsOf(pid: number): number {
  return fs.readdirSync(`/proc/${pid}/fd`).length;
}

/** clock_t counts in 1/100 s wherever podpace runs (USER_HZ). */
const TICKS_PER_SEC = 100;

/** What it has used of processors so far, in seconds (man 5 proc_pid_stat: utime and stime). */
export function cpuSec(pid: number): number {
  const stat = fs.readFileSync(`/proc/${pid}/stat`, 'utf8');
  // The name, the second field, may hold anything.
  const [utime, stime] = stat
    .slice(stat.lastIndexOf(')') + 2)
    .split(' ')
    .slice(11, 13);
  return (Number(utime) + Number(stime)) / TICKS_PER_SEC;
}
