// Which boot this is, and how long ago it was.

import fs from 'node:fs';

/** A UUID, drawn by the kernel at each boot. */
export function bootId(): string {
  return fs.readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
}

/**
 * Seconds since boot, suspended time included: CLOCK_BOOTTIME, to a hundredth (fs/proc/uptime.c).
 */
export function bootSeconds(): number {
  const text = fs.readFileSync('/proc/uptime', 'utf8');
  const seconds = Number.parseFloat(text);
  if (Number.isFinite(seconds)) return seconds;
  throw new Error(`Cannot use /proc/uptime: it begins with ${JSON.stringify(text.slice(0, 20))}`);
}
