// The socket of a service manager, to which its services tell how they are (sd_notify(3)).

import fs from 'node:fs';
import type { ExecutionContext } from 'ava';
import { CALLS } from './libc.ts';

/** linux/socket.h and asm-generic/fcntl.h. */
const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const SOCK_NONBLOCK = 0o4000;

/** Listens at a path, or behind `@` at an abstract name; gives what has come since it was asked. */
export function listenForNotices(
  t: Pick<ExecutionContext, 'teardown'>,
  place: string,
): () => string[] {
  const fd = CALLS.socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
  t.teardown(() => fs.closeSync(fd));
  const name = Buffer.from(place.replace(/^@/, '\0'));
  const address = Buffer.concat([Buffer.from([AF_UNIX, 0]), name]);
  if (CALLS.bind(fd, address, address.length) !== 0) throw new Error(`Cannot bind ${place}`);
  return () => {
    const texts: string[] = [];
    const bytes = Buffer.alloc(8192);
    for (;;) {
      try {
        texts.push(bytes.toString('utf8', 0, fs.readSync(fd, bytes)));
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'EAGAIN') return texts;
        throw error;
      }
    }
  };
}
