// Programs that run beside the lab: servers of the load, the helper, the holder of the mount
// namespace.

import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';

const GRACE_MS = 5_000;
const READY_TIMEOUT_MS = 60_000;
const OUTPUT_TAIL_CHARACTERS = 2_000;

/** A program that this process has started and will end. */
export class BackgroundProcess {
  readonly pid: number;
  readonly #shown: string;
  readonly #child: ChildProcess;
  readonly #exited: Promise<void>;
  /** It has ended, and all that it wrote has come. */
  readonly #closed: Promise<void>;
  #output = '';

  private constructor(child: ChildProcess, pid: number, shown: string) {
    this.#child = child;
    this.pid = pid;
    this.#shown = shown;
    this.#exited = new Promise((resolve) => child.once('exit', () => resolve()));
    this.#closed = new Promise((resolve) => child.once('close', () => resolve()));
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => {
        this.#output += text;
      });
    }
  }

  /**
   * Starts a program in a session of its own, so that Ctrl-C at the terminal reaches only this
   * process, which then ends its programs in order. Should this process be killed outright, the
   * kernel ends the program (pdeathsig).
   */
  static async start(command: string, args: readonly string[]): Promise<BackgroundProcess> {
    const shown = [command, ...args].join(' ');
    const child = spawn('setpriv', ['--pdeathsig', 'TERM', command, ...args], {
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    await new Promise<void>((resolve, reject) => {
      child.once('spawn', () => resolve());
      child.once('error', (error) => reject(new Error(`Cannot start ${shown}: ${error.message}`)));
    });
    if (child.pid === undefined) throw new Error(`Cannot start ${shown}: it has no process id`);
    return new BackgroundProcess(child, child.pid, shown);
  }

  get #ended(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null;
  }

  /** What it has written, or as much as was not forgotten. */
  get output(): string {
    return this.#output;
  }

  get #tail(): string {
    return this.#output.trim().slice(-OUTPUT_TAIL_CHARACTERS);
  }

  /**
   * Waits until `isReady` says so; it is given what the program has written.
   * @throws Error with the end of that when the program ends before, or is not ready within 60 s.
   */
  async ready(isReady: (output: string) => boolean, signal?: AbortSignal): Promise<void> {
    const deadline = performance.now() + READY_TIMEOUT_MS;
    while (!isReady(this.#output)) {
      signal?.throwIfAborted();
      if (this.#ended) throw new Error(`Cannot go on: ${this.#shown} has ended: ${this.#tail}`);
      if (performance.now() > deadline) {
        throw new Error(`Cannot go on: ${this.#shown} is not ready after 60 s: ${this.#tail}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  /** `ready` is given only what the program writes from now on. */
  forgetOutput(): void {
    this.#output = '';
  }

  /**
   * Takes the processor from the program until `resume`; a program that has ended is none the worse
   * for it.
   */
  pause(): void {
    this.#child.kill('SIGSTOP');
  }

  /** Gives the processor back. */
  resume(): void {
    this.#child.kill('SIGCONT');
  }

  /** Sends a signal and waits for the end. */
  async end(signal: NodeJS.Signals): Promise<void> {
    this.#child.kill(signal);
    await this.#closed;
  }

  /**
   * Ends the program: SIGTERM, and SIGKILL after 5 s. Nothing happens when it has ended already.
   */
  async stop(): Promise<void> {
    if (this.#ended) return;
    this.#child.kill('SIGTERM');
    this.#child.kill('SIGCONT');
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), GRACE_MS);
    await this.#exited;
    clearTimeout(timer);
  }
}
