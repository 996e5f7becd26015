// The file of a unix socket: who is behind it, and when it may be taken away.

import fs from 'node:fs';
import net from 'node:net';
import { hasErrno } from './wire/errors.ts';

/**
 * True when somebody listens at a socket; false for one that nobody serves any more, for another
 * file, and for none.
 */
export function isServed(socketPath: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = net.connect(socketPath);
    socket.on('connect', () => {
      socket.destroy();
      resolve(true);
    });
    // EAGAIN: its queue is full, so somebody has it open.
    socket.on('error', (error) => resolve(hasErrno(error, 'EAGAIN')));
  });
}

/**
 * Takes away the socket of a helper that is dead; does nothing when there is no file.
 * Throws Error when the file is no socket, or when somebody answers there: then it is left alone.
 */
export async function removeDeadSocket(socketPath: string): Promise<void> {
  const stat = fs.lstatSync(socketPath, { throwIfNoEntry: false });
  if (stat === undefined) return;
  if (!stat.isSocket()) {
    throw new Error(
      `Cannot listen on ${socketPath}: there is a file that is no socket; remove it, or choose another path with --socket`,
    );
  }
  if (await isServed(socketPath)) {
    throw new Error(`Cannot listen on ${socketPath}: another podpaced is serving it`);
  }
  fs.rmSync(socketPath, { force: true });
}
