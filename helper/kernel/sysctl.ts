// Kernel parameters under /proc/sys. Those below `net/` are the ones of the calling thread's
// network namespace: call these inside inNetns to reach another.

import fs from 'node:fs';
import { KernelError, unlessErrno } from '../wire/errors.ts';

/**
 * Value of a parameter, for instance of `net/ipv4/ip_forward`, without the line's end. Throws
 * KernelError.
 */
export function readSysctl(name: string): string {
  return attempt(`read sysctl "${name}"`, () =>
    fs.readFileSync(sysctlPath(name), 'utf8').trimEnd(),
  );
}

/**
 * Sets a parameter; one that has the value already is not written to, so that a read-only /proc/sys
 * that is right as it is does no harm. Throws KernelError.
 */
export function writeSysctl(name: string, value: string): void {
  if (readSysctl(name) === value) return;
  attempt(`set sysctl "${name}" to "${value}"`, () => fs.writeFileSync(sysctlPath(name), value));
}

/**
 * Whether the stack drops what comes in on a device from an address that it would not answer by it:
 * rp_filter is 1 (Documentation/networking/ip-sysctl.rst: the larger of the device's and that of
 * `all`). False for a device that is gone.
 */
export function isReversePathStrict(device: string): boolean {
  const modes = ['all', device].map((name) =>
    Number(unlessErrno(['ENOENT'], () => readSysctl(`net/ipv4/conf/${name}/rp_filter`)) ?? 0),
  );
  return Math.max(...modes) === 1;
}

/** Slashes part the name, since an interface's name may hold dots. */
function sysctlPath(name: string): string {
  if (name.split('/').some((part) => part === '' || part === '.' || part === '..')) {
    throw new KernelError(
      `find sysctl "${name}"`,
      'EINVAL',
      'a name is words with slashes between',
    );
  }
  return `/proc/sys/${name}`;
}

function attempt<T>(operation: string, fn: () => T): T {
  try {
    return fn();
  } catch (error) {
    if (error instanceof KernelError) throw error;
    throw new KernelError(operation, (error as NodeJS.ErrnoException).code ?? 'EIO');
  }
}
