import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import type { Readable } from 'node:stream';

const TAIL_CHARACTERS = 2000;

/**
 * A long-running helper process of a VM. It has a session of its own, so that Ctrl-C reaches this
 * process alone, which then ends the helper in order; and the kernel kills it should this process
 * die without doing so.
 */
export class Child {
  /** Our ends of the stream sockets that the process has as descriptors 3, 4, ... */
  readonly ports: Readable[];
  /** Fulfilled with a sentence on how it ended, when it has. */
  readonly ended: Promise<string>;
  readonly #process: ChildProcess;
  #errors = '';

  /** Starts the command with nothing on stdin, stdout thrown away and so many ports. */
  constructor(command: readonly string[], portCount = 0) {
    const ports = Array.from({ length: portCount }, () => 'pipe' as const);
    this.#process = spawn('setpriv', ['--pdeathsig', 'KILL', ...command], {
      detached: true,
      stdio: ['ignore', 'ignore', 'pipe', ...ports],
    });
    this.#process.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#errors = (this.#errors + text).slice(-TAIL_CHARACTERS);
    });
    this.ports = this.#process.stdio.slice(3) as Readable[];
    const name = command[0] ?? '';
    this.ended = new Promise((resolve) => {
      this.#process.on('error', (error) => resolve(`${name} did not start: ${error.message}`));
      this.#process.on('exit', (status, signal) =>
        resolve(
          `${name} ended with ${signal ?? `status ${String(status)}`}\n${this.#errors}`.trimEnd(),
        ),
      );
    });
  }

  /** Process id; undefined when the process did not start. */
  get pid(): number | undefined {
    return this.#process.pid;
  }

  /** Kills the process if it still runs and waits until it is gone. */
  async kill(): Promise<void> {
    this.#process.kill('SIGKILL');
    await this.ended;
  }
}
