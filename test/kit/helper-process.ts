// The process of a helper, as the machine sees it.

import fs from 'node:fs';
import type { TestHelper } from './helper.ts';

/** The process behind a helper's socket. */
export function pidOf({ socket }: TestHelper): number {
  const pids = fs.readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  const found = pids.find((pid) => {
    try {
      const words = fs.readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
      return words.includes(socket) && words[0]?.endsWith('podpaced') === true;
    } catch {
      return false;
    }
  });
  if (found === undefined) throw new Error(`no process serves ${socket}`);
  return Number(found);
}

/** What it holds of the machine's memory. */
export function rssMib(pid: number): number {
  const [, kib] = /VmRSS:\s+(\d+) kB/.exec(fs.readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
  return Number(kib) / 1024;
}

/** File descriptors that it has open. */
export function descriptorsOf(pid: number): number {
  return fs.readdirSync(`/proc/${pid}/fd`).length;
}
