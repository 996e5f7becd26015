// Pins as files of bpffs.

import fs from 'node:fs';
import { openPinned, pinObject } from './bpf.ts';
import { unlessErrno } from '../wire/errors.ts';

/** Descriptor of a pinned object; undefined when there is none. */
export function openIfPinned(pin: string): number | undefined {
  return unlessErrno(['ENOENT'], () => openPinned(pin));
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
