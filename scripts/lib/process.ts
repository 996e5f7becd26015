import { spawn } from 'node:child_process';
import type { StdioOptions } from 'node:child_process';

const TAIL_LINES = 15;

/** How to run a command. */
export interface RunOptions {
  cwd?: string;
  /** Added to this process's environment. */
  env?: Readonly<Record<string, string>>;
  /**
   * Called with the lines of captured output as they come, to show progress; a long one may come in
   * pieces.
   */
  onLine?: (line: string) => void;
  /**
   * When it is aborted the command is asked to end (SIGTERM), and waited for: it may have something
   * to take away.
   */
  signal?: AbortSignal;
}

/** A command that could not be started, or that ended with another status than 0. */
export class CommandError extends Error {
  override readonly name = 'CommandError';
  /** Exit status, or undefined when a signal ended the command or it never started. */
  readonly status: number | undefined;
  /**
   * The last lines that the command wrote, stderr only where the two were kept apart; empty when
   * inherited.
   */
  readonly outputTail: string;

  constructor(command: string, ending: string, status: number | undefined, outputTail: string) {
    super(`Cannot run ${command}: ${ending}${outputTail === '' ? '' : `\n${outputTail}`}`);
    this.status = status;
    this.outputTail = outputTail;
  }
}

/** What a command wrote, as far as it was captured. */
interface Captured {
  stdout: Buffer[];
  stderr: Buffer[];
}

/** Runs a command whose output goes where this process's goes. Throws CommandError. */
export async function run(
  command: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<void> {
  await spawnCommand(command, args, options, ['ignore', 'inherit', 'inherit']);
}

/**
 * Runs a command and returns what it wrote to stdout. Throws CommandError with the end of its
 * stderr.
 */
export async function capture(
  command: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<string> {
  return (await captureBytes(command, args, options)).toString('utf8');
}

/** As `capture`, for output that is no text. */
export async function captureBytes(
  command: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<Buffer> {
  return Buffer.concat(
    (await spawnCommand(command, args, options, ['ignore', 'pipe', 'pipe'])).stdout,
  );
}

/** Whether the command starts and ends with status 0; its output is thrown away. */
export async function succeeds(command: string, args: readonly string[]): Promise<boolean> {
  try {
    await capture(command, args);
    return true;
  } catch (error) {
    if (error instanceof CommandError) return false;
    throw error;
  }
}

function spawnCommand(
  command: string,
  args: readonly string[],
  options: RunOptions,
  stdio: StdioOptions,
): Promise<Captured> {
  const shown = [command, ...args].join(' ');
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      cwd: options.cwd,
      env: { ...process.env, ...options.env },
      stdio,
    });
    const captured: Captured = { stdout: [], stderr: [] };
    for (const name of ['stdout', 'stderr'] as const) {
      child[name]?.on('data', (chunk: Buffer) => {
        captured[name].push(chunk);
        if (options.onLine !== undefined)
          chunk.toString('utf8').split('\n').filter(Boolean).forEach(options.onLine);
      });
    }
    const end = (): void => void child.kill('SIGTERM');
    options.signal?.addEventListener('abort', end, { once: true });
    child.on('exit', () => options.signal?.removeEventListener('abort', end));
    child.on('error', (error) => reject(new CommandError(shown, error.message, undefined, '')));
    child.on('close', (status, signal) => {
      if (status === 0) return resolve(captured);
      const ending = signal === null ? `exit status ${String(status)}` : `ended by ${signal}`;
      const output = captured.stderr.length > 0 ? captured.stderr : captured.stdout;
      reject(
        new CommandError(
          shown,
          ending,
          status ?? undefined,
          lastLines(Buffer.concat(output).toString('utf8')),
        ),
      );
    });
  });
}

function lastLines(text: string): string {
  return text.trimEnd().split('\n').slice(-TAIL_LINES).join('\n');
}
