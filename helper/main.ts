// Entry of the podpaced executable.

import { STDERR, STDOUT, writeAll } from '../cni/process-edges.ts';
import { printable } from './protocol/printable.ts';

/** The end for what nobody foresaw: one line instead of a stack in minified source. */
function fail(error: unknown): never {
  try {
    writeAll(
      STDERR,
      `podpaced: ${printable(error instanceof Error ? error.message : String(error))}\n`,
    );
  } catch {
    // Nobody listens.
  }
  process.exit(1);
}

process.on('uncaughtException', fail);
// A log that nobody reads must not end the helper.
process.stderr.on('error', () => undefined);

const edges = {
  stdout: (text: string): boolean => {
    try {
      writeAll(STDOUT, text);
      return true;
    } catch (error) {
      // As with `podpaced list | head -1`: who reads has enough.
      if ((error as NodeJS.ErrnoException).code === 'EPIPE') return false;
      throw new Error(`Cannot print the answer: ${(error as Error).message}`, { cause: error });
    }
  },
  stderr: (text: string) => void process.stderr.write(text),
};

// Loaded only now, so that fail() tells of what goes wrong while it loads.
void import('./cli.ts')
  .then(({ runCli }) => runCli(process.argv.slice(2), edges))
  // Connections that a caller still holds must not keep a stopped helper alive.
  .then((code) => process.exit(code), fail);
