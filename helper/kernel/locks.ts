// Locks that the kernel takes away from whoever dies: flock(2) on things that are there anyway.

import fs from 'node:fs';
import { unlessErrno } from '../wire/errors.ts';
import { closing } from './descriptors.ts';
import { lockFile } from './ffi.ts';
import { deviceNumbers } from './mounts.ts';

/**
 * The network namespace of the calling thread: there is one inode for each, and it can be locked as
 * a file can.
 */
export const NETWORK_NAMESPACE = '/proc/thread-self/ns/net';

function openAny(path: string): number {
  return fs.openSync(path, fs.constants.O_RDONLY | fs.constants.O_NONBLOCK);
}

/** `major:minor:inode` as /proc/locks writes it. */
function lockName(fd: number): string {
  const { dev, ino } = fs.fstatSync(fd, { bigint: true });
  const { major, minor } = deviceNumbers(dev);
  const hex = (value: bigint): string => value.toString(16).padStart(2, '0');
  return `${hex(major)}:${hex(minor)}:${ino}`;
}

/** Process that holds a lock in the content of /proc/locks (proc_locks(5)). */
export function holderIn(locks: string, name: string): number | undefined {
  for (const line of locks.split('\n')) {
    const [, kind, , , pid, file] = line.split(/\s+/);
    if (kind === 'FLOCK' && file === name) return Number(pid);
  }
  return undefined;
}

/**
 * Process that holds the lock of a file or directory; undefined when none does, or none that can be
 * seen from this process namespace. Reads only, and needs no native code.
 */
export function lockHolder(path: string): number | undefined {
  const fd = unlessErrno(['ENOENT'], () => openAny(path));
  if (fd === undefined) return undefined;
  return closing(fd, () => holderIn(fs.readFileSync('/proc/locks', 'utf8'), lockName(fd)));
}

/**
 * Locks a file or directory for as long as the descriptor is open; undefined when somebody else
 * has. Throws Node's ENOENT.
 */
export function tryLock(path: string): number | undefined {
  const fd = openAny(path);
  try {
    if (lockFile(fd)) return fd;
  } catch (error) {
    fs.closeSync(fd);
    throw error;
  }
  fs.closeSync(fd);
  return undefined;
}
