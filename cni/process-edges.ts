// The edges of a real process.

import fs from 'node:fs';
import { become } from './become.ts';
import type { Edges } from './edges.ts';
import { mayHaveFormerIfb, mayHaveInterface } from './remains.ts';
import { CniError, ErrorCode } from './types.ts';

const STDIN = 0;
export const STDOUT = 1;
export const STDERR = 2;

/**
 * Some runtimes hand over pipes that do not block; then there is nothing better than to look again.
 */
const RETRY_DELAY_MS = 2;

function isAgain(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === 'EAGAIN';
}

/**
 * Reads without Node's stream layer, which takes longer to load than the whole of the input to
 * read.
 */
async function readAll(limitBytes: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let total = 0;
  while (total <= limitBytes) {
    const chunk = Buffer.allocUnsafe(64 * 1024);
    try {
      const bytes = fs.readSync(STDIN, chunk);
      if (bytes === 0) break;
      chunks.push(chunk.subarray(0, bytes));
      total += bytes;
    } catch (error) {
      if (!isAgain(error)) throw error;
      await new Promise((resolve) => setTimeout(resolve, RETRY_DELAY_MS));
    }
  }
  return Buffer.concat(chunks);
}

function sleep(milliseconds: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds);
}

/** Writes all of the text before it returns. Throws when there is no room, or nobody who reads. */
export function writeAll(fd: number, text: string): void {
  let rest = Buffer.from(text);
  while (rest.length > 0) {
    try {
      rest = rest.subarray(fs.writeSync(fd, rest));
    } catch (error) {
      if (!isAgain(error)) throw error;
      sleep(RETRY_DELAY_MS);
    }
  }
}

function watchTermination(): AbortSignal {
  const controller = new AbortController();
  for (const name of ['SIGTERM', 'SIGINT'] as const) {
    process.on(name, () => {
      controller.abort(
        new CniError(
          ErrorCode.stopped,
          `Cannot finish: stopped by ${name}`,
          'what was done is undone: try again',
        ),
      );
    });
  }
  return controller.signal;
}

/** As the runtime gave it: Node's own copy has lost what is no UTF-8. */
function environment(): Buffer[] {
  const entries: Buffer[] = [];
  const all = fs.readFileSync('/proc/self/environ');
  for (let at = 0, end = 0; at < all.length; at = end + 1) {
    end = all.indexOf(0, at);
    if (end < 0) end = all.length;
    entries.push(all.subarray(at, end));
  }
  return entries;
}

/** The edges of this process. */
export const processEdges: Edges = {
  env: process.env,
  environment,
  euid: process.geteuid?.() ?? 0,
  readStdin: readAll,
  writeStdout: (text) => writeAll(STDOUT, text),
  writeStderr: (text) => {
    try {
      writeAll(STDERR, text);
    } catch {
      // Nobody listens.
    }
  },
  connect: async (path) => {
    const { BlockingStream } = await import('../helper/kernel/blocking-stream.ts');
    return new BlockingStream(path);
  },
  loadKernel: async () => {
    const [{ nodeKernel }, { endAtOnce }] = await Promise.all([
      import('./wiring/kernel.ts'),
      import('../helper/kernel/ffi.ts'),
    ]);
    // All is written by then, and to take Node apart takes longer than to end the process.
    process.once('exit', endAtOnce);
    return nodeKernel;
  },
  mayHaveInterface,
  mayHaveFormerIfb,
  keepUncapped: async (socket, pod) => (await import('./uncapped.ts')).keepUncapped(socket, pod),
  become,
  watchTermination,
};
