// Runs test files with AVA and counts what its TAP stream says.

import { spawn, spawnSync } from 'node:child_process';
import os from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { cutShort } from './cut-short.ts';
import { buildDirectory } from './paths.ts';
import { say } from './progress.ts';

/** AVA's command line, in the directory of the bundles. */
export const AVA_CLI = 'ava/cli.js';

export interface Tally {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

export interface AvaOptions {
  /** Stands before each line about these tests. */
  readonly label: string;
  /** Files at a time. */
  readonly concurrency: number;
  /** False: a skipped test is a failed one. */
  readonly allowSkips: boolean;
  /**
   * For how long no test may end before all have failed, like 120s; unless said, as package.json
   * has it.
   */
  readonly timeout?: string;
  /**
   * Times are those of the machine's processors: where waiting costs nothing, and is no sign of
   * what a test costs.
   */
  readonly hasFreeWaits?: boolean;
  /**
   * Ends the run where no test ends for so long, by the time that `hasFreeWaits` says: a limit of
   * AVA's would count waiting.
   */
  readonly stallMs?: number;
  /** Where the bundles are, and AVA, and its configuration for them. */
  readonly directory: string;
  /** Ends the run early, takes away what its tests have made, and has this throw. */
  readonly signal: AbortSignal;
}

export function addTallies(a: Tally, b: Tally): Tally {
  return {
    passed: a.passed + b.passed,
    failed: a.failed + b.failed,
    skipped: a.skipped + b.skipped,
  };
}

/** One result line of TAP (testanything.org, version 13); undefined for every other line. */
export function parseTapLine(
  line: string,
): { readonly outcome: keyof Tally; readonly title: string } | undefined {
  const match = /^(ok|not ok) \d+ - (.*)$/.exec(line);
  if (match === null) return undefined;
  const [, verdict, title = ''] = match;
  const directive = /^(.*?) # (SKIP|TODO)\b/i.exec(title);
  if (directive !== null) return { outcome: 'skipped', title: directive[1] ?? title };
  return { outcome: verdict === 'ok' ? 'passed' : 'failed', title };
}

const SLOWEST_TOLD = 8;
const BUSIEST_TOLD = 20;
const HEARTBEAT_MS = 20_000;

/** For how long the machine's processors have worked since it was started, in all. */
function busyMs(): number {
  return os
    .cpus()
    .map(({ times }) => times.user + times.nice + times.sys + times.irq)
    .reduce((sum, ms) => sum + ms, 0);
}

/** The processes that have worked most, for whoever wants to know why tests stand still. */
function busiest(): string {
  const columns = 'pid,ppid,class,nice,stat,wchan:20,etimes,cputimes,args';
  const { stdout } = spawnSync('ps', ['-eo', columns, '--sort=-cputimes', '--columns', '160'], {
    encoding: 'utf8',
  });
  return stdout.split('\n').slice(0, BUSIEST_TOLD).join('\n');
}

/** Follows a TAP stream: counts, and passes failures on with the block that explains them. */
class TapFollower {
  readonly counts = { passed: 0, failed: 0, skipped: 0 };
  readonly #options: AvaOptions;
  readonly #msByFile = new Map<string, number>();
  readonly #nowMs: () => number;
  #lastMs: number;
  #toldCount = 0;
  #isInFailure = false;
  /** The last test that ended, of each of the files that run at a time: AVA names them first. */
  readonly #lastTitles = new Map<string, string>();

  constructor(options: AvaOptions) {
    this.#options = options;
    this.#nowMs = options.hasFreeWaits === true ? busyMs : () => performance.now();
    this.#lastMs = this.#nowMs();
  }

  take(line: string): void {
    const result = parseTapLine(line);
    if (result === undefined) {
      if (this.#isInFailure) process.stderr.write(`${line}\n`);
      return;
    }
    const isRefusedSkip = result.outcome === 'skipped' && !this.#options.allowSkips;
    const outcome = isRefusedSkip ? 'failed' : result.outcome;
    this.counts[outcome] += 1;
    this.#lastTitles.set(result.title.split(' › ', 1).join(''), result.title);
    this.#noteTime(result.title);
    this.#isInFailure = outcome === 'failed';
    if (outcome === 'failed')
      say(`${this.#options.label}: FAILED ${result.title}${isRefusedSkip ? ' (skipped)' : ''}`);
  }

  /** How far the tests are; after which title, where none has ended since this was last asked. */
  progress(): string {
    const { passed, failed, skipped } = this.counts;
    const count = passed + failed + skipped;
    const isSame = count === this.#toldCount;
    this.#toldCount = count;
    const after = isSame && count > 0 ? `, after ${this.last()}` : '';
    return `${this.#options.label}: ${passed} passed, ${failed} failed so far${after}`;
  }

  /** Whether tests have worked for longer than any of them may since the last one ended. */
  hasStalled(): boolean {
    return this.#nowMs() - this.#lastMs > (this.#options.stallMs ?? Infinity);
  }

  /** The titles after which a test that hangs may stand. */
  last(): string {
    return [...this.#lastTitles.values()].join(' and ') || 'none';
  }

  /** The files that took longest, with their seconds; a file at a time is presumed. */
  slowest(): string {
    const slowest = [...this.#msByFile].toSorted(([, a], [, b]) => b - a).slice(0, SLOWEST_TOLD);
    return slowest.map(([file, ms]) => `${file} ${(ms / 1000).toFixed(0)} s`).join(', ');
  }

  #noteTime(title: string): void {
    const file = title.split(' › ').slice(0, -1).join('/');
    const nowMs = this.#nowMs();
    this.#msByFile.set(file, (this.#msByFile.get(file) ?? 0) + nowMs - this.#lastMs);
    this.#lastMs = nowMs;
  }
}

/**
 * Runs bundles of test files (one-worker.ts), each in a process of its own. A run that ends badly
 * without a failed test counts as one failure.
 */
export async function runAva(files: readonly string[], options: AvaOptions): Promise<Tally> {
  const startMs = performance.now();
  if (files.length === 0) {
    say(`${options.label}: no test files`);
    return { passed: 0, failed: 1, skipped: 0 };
  }
  const cli = path.join(options.directory, AVA_CLI);
  const limit = options.timeout === undefined ? [] : ['--timeout', options.timeout];
  const args = [cli, '--tap', '--concurrency', String(options.concurrency), ...limit, ...files];
  // What one test file has had compiled the next one need not: in a VM that is seconds for each.
  const env = {
    ...process.env,
    NODE_COMPILE_CACHE: path.join(buildDirectory, 'node-compile-cache'),
  };
  const stdio = ['ignore', 'pipe', 'inherit'] as const;
  const ava = spawn(process.execPath, args, {
    cwd: options.directory,
    env,
    stdio: [...stdio],
    // Or Ctrl-C ends it before all that it has started is known.
    detached: true,
  });
  const follower = new TapFollower(options);
  const ended = new Promise<number | null>((resolve, reject) => {
    ava.on('error', reject);
    ava.on('close', (status) => resolve(status));
  });
  let ending: Promise<void> | undefined;
  const end = (): void => {
    if (ava.pid !== undefined) ending = cutShort(ava.pid);
  };
  const heartbeat = setInterval(() => {
    say(follower.progress());
    if (ending !== undefined || !follower.hasStalled()) return;
    say(`${options.label}: no test has ended for too long; what runs here:\n${busiest()}`);
    end();
  }, HEARTBEAT_MS);
  options.signal.addEventListener('abort', end, { once: true });
  for await (const line of createInterface({ input: ava.stdout })) follower.take(line);
  const status = await ended;
  clearInterval(heartbeat);
  options.signal.removeEventListener('abort', end);
  await ending;
  options.signal.throwIfAborted();
  const { counts } = follower;
  if (status !== 0 && counts.failed === 0) {
    // So does a test that outlasts the limit: AVA's TAP names none
    // (findings/ava-tap-idle-timeout.sh). It is the one after the last that ended: the tests of a
    // bundle run in turn.
    say(
      `${options.label}: AVA ended with status ${status} without a failed test, after ${follower.last()}`,
    );
    counts.failed += 1;
  }
  const seconds = ((performance.now() - startMs) / 1000).toFixed(0);
  say(
    `${options.label}: ${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped in ${seconds} s`,
  );
  if (options.concurrency === 1) say(`${options.label}: slowest: ${follower.slowest()}`);
  return counts;
}
