// Waiting for descriptors without the event loop, which takes longer to set up for a descriptor, in
// Node's streams most of all, than a CNI call has to wait for most of them.

import { check, failedWith, libc } from './libc.ts';

/** poll(2), asm-generic/poll.h. */
export const POLLIN = 0x1;
export const POLLOUT = 0x4;

/** struct pollfd: the descriptor, what is waited for, what there is. */
const POLLFD_BYTES = 8;
const [EVENTS_AT, RESULTS_AT] = [4, 6];

/**
 * For this long at most the event loop stands still, ms: a signal that comes right before poll(2)
 * does not end it, and is heard of then.
 */
const SLICE_MS = 50;

/** A descriptor and what it is to be ready for. */
export interface Polled {
  readonly fd: number;
  readonly events: number;
}

/** The event loop's turn: signals, timers and other promises get theirs. */
export function turn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}

/**
 * Those that are ready, have an error, or whose other end is gone; none when a signal came, or when
 * nothing happened for a while. Throws KernelError.
 */
export function ready<T extends Polled>(polled: readonly T[], waitMs: number = SLICE_MS): T[] {
  const table = Buffer.alloc(polled.length * POLLFD_BYTES);
  for (const [index, { fd, events }] of polled.entries()) {
    table.writeInt32LE(fd, index * POLLFD_BYTES);
    table.writeInt16LE(events, index * POLLFD_BYTES + EVENTS_AT);
  }
  const count = libc.poll(table, polled.length, waitMs);
  if (count < 0 && failedWith() !== 'EINTR') check('wait for descriptors', count);
  if (count <= 0) return [];
  return polled.filter((_, index) => table.readInt16LE(index * POLLFD_BYTES + RESULTS_AT) !== 0);
}
