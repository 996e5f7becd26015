// Pins as files of bpffs.

import fs from 'node:fs';
import { openPinned, pinObject } from './bpf.ts';
import { closing } from './descriptors.ts';
import { unlessErrno } from '../wire/errors.ts';

/** Descriptor of a pinned object; undefined when there is none. */
export function openIfPinned(pin: string): number | undefined {
  return unlessErrno(['ENOENT'], () => openPinned(pin));
}

/** What `use` makes of a pinned object, which is closed then; undefined when there is none. */
export function withPinned<T>(pin: string, use: (fd: number) => T): T | undefined {
  const fd = openIfPinned(pin);
  return fd === undefined ? undefined : closing(fd, use);
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
