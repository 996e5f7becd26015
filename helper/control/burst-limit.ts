// How many packets processors may leave, before a qdisc, to the one that holds its lock. What is
// beyond the kernel drops, after the cap was charged for it.

import { readSysctl, writeSysctl } from '../kernel/sysctl.ts';
import { hasErrno } from '../wire/errors.ts';

/**
 * Since Linux 6.19 (`defer_list` in net/core/dev.c), for each queue of every qdisc of the machine.
 */
const NAME = 'net/core/qdisc_max_burst';
/** Of the kernel (net/core/hotdata.c): nobody has chosen it. */
const DEFAULT = '1000';
/** `limit` of podpace's fq: what may wait there may wait in front of it. */
const RAISED = '1000000';

/**
 * The value; undefined where there is none: before Linux 6.19, and in a network namespace that is
 * not the machine's first.
 */
function burstLimit(): string | undefined {
  try {
    return readSysctl(NAME);
  } catch (error) {
    if (hasErrno(error, 'ENOENT')) return undefined;
    throw error;
  }
}

/**
 * Raises the limit unless somebody has chosen one. Throws KernelError where /proc/sys cannot be
 * written.
 */
export function raiseBurstLimit(): void {
  if (burstLimit() === DEFAULT) writeSysctl(NAME, RAISED);
}

/** Gives the kernel's limit back; one that somebody has chosen since stays. Throws KernelError. */
export function giveBurstLimitBack(): void {
  if (burstLimit() === RAISED) writeSysctl(NAME, DEFAULT);
}

/** What is to be known while the limit is the kernel's. */
export function burstLimitNotices(): string[] {
  if (burstLimit() !== DEFAULT) return [];
  return [
    `net.core.qdisc_max_burst is ${DEFAULT} and podpaced cannot write it: where more packets wait for ` +
      'one queue of a device the kernel drops some that a cap was charged for, and the pod gets less; ' +
      `set it to ${RAISED}`,
  ];
}
