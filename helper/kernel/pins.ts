// Pins as files of bpffs.

import fs from 'node:fs';
import { openPinned, pinObject } from './bpf.ts';
import { hasErrno } from '../wire/errors.ts';

/** Descriptor of a pinned object; undefined when there is none. */
export function openIfPinned(pin: string): number | undefined {
  try {
    return openPinned(pin);
  } catch (error) {
    if (hasErrno(error, 'ENOENT')) return undefined;
    throw error;
  }
}

/**
 * Pins an object in place of the one that may be pinned there, without a gap. (bpffs refuses names
 * with a dot: EPERM.)
 */
export function replacePin(fd: number, pin: string): void {
  const staged = `${pin}_new`;
  fs.rmSync(staged, { force: true });
  pinObject(fd, staged);
  fs.renameSync(staged, pin);
}
