// Delegation to an IPAM plugin: run and read as the reference library does it (pkg/invoke).

import { spawn, type ChildProcess } from 'node:child_process';
import { setTimeout as delay } from 'node:timers/promises';
import type { Edges } from './edges.ts';
import { parseJson, show } from './json.ts';
import { isResultVersion, parseResult, resultVersion, type CniResult } from './result.ts';
import type { Command, Invocation } from './skel.ts';
import { CniError, DelegateError, ErrorCode, isJsonObject } from './types.ts';

/** Largest answer of a delegate, in bytes. */
const MAX_ANSWER_BYTES = 1024 * 1024;

/** Characters. */
const MAX_QUOTED = 1000;

/**
 * A plugin that is being replaced gives ETXTBSY for a moment; the reference library waits this
 * often, this long.
 */
const BUSY_RETRIES = 5;
const BUSY_DELAY_MS = 1000;

interface Outcome {
  readonly stdout: string;
  readonly stderr: string;
  /** `exit status 1` as Go words it, `signal: SIGKILL`; undefined for success. */
  readonly failure: string | undefined;
}

function describeExit(code: number | null, signal: NodeJS.Signals | null): string | undefined {
  if (signal !== null) return `signal: ${signal}`;
  return code === 0 ? undefined : `exit status ${code}`;
}

/** Collects a child's run. Rejects when it cannot be started, or answers without end. */
async function collect(
  edges: Edges,
  child: ChildProcess,
  stdin: Buffer,
  signal: AbortSignal | undefined,
): Promise<Outcome> {
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];
  let bytes = 0;
  child.stdout?.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes <= MAX_ANSWER_BYTES) stdout.push(chunk);
    else child.kill('SIGKILL');
  });
  child.stderr?.on('data', (chunk: Buffer) => {
    edges.writeStderr(chunk.toString('utf8'));
    if (stderr.length < 64) stderr.push(chunk);
  });
  const stop = (): void => void child.kill('SIGTERM');
  signal?.addEventListener('abort', stop);
  // A delegate need not read its stdin (host-local's VERSION does not): EPIPE is no failure.
  child.stdin?.on('error', () => undefined);
  child.stdin?.end(stdin);
  const failure = await new Promise<string | undefined>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, killedBy) => resolve(describeExit(code, killedBy)));
  }).finally(() => signal?.removeEventListener('abort', stop));
  const told = Buffer.concat(stderr).toString('utf8');
  if (bytes > MAX_ANSWER_BYTES) {
    // Of what is no answer nothing is kept: it would go into the error, and the runtime's log.
    return { stdout: '', stderr: told, failure: `it answered more than ${MAX_ANSWER_BYTES} bytes` };
  }
  return { stdout: Buffer.concat(stdout).toString('utf8'), stderr: told, failure };
}

async function execute(
  edges: Edges,
  file: string,
  command: Command,
  stdin: Buffer,
  signal: AbortSignal | undefined,
): Promise<Outcome> {
  const env = { ...edges.env, CNI_COMMAND: command };
  for (let attempt = 0; ; attempt += 1) {
    try {
      const child = spawn(file, [], { env, stdio: ['pipe', 'pipe', 'pipe'] });
      return await collect(edges, child, stdin, signal);
    } catch (error) {
      const isBusy = (error as NodeJS.ErrnoException).code === 'ETXTBSY';
      if (isBusy && attempt < BUSY_RETRIES) {
        await delay(BUSY_DELAY_MS);
        continue;
      }
      throw new CniError(
        ErrorCode.internal,
        `Cannot run ${file}: ${(error as Error).message}`,
        'the IPAM plugin must be an executable file for this machine',
      );
    }
  }
}

/** What a delegate wrote, in an error: its beginning says enough. */
function quoted(text: string): string {
  return JSON.stringify(text.length > MAX_QUOTED ? `${text.slice(0, MAX_QUOTED)}…` : text);
}

/**
 * The delegate's own error where it printed one; else one in the words of the reference library.
 */
function delegateError({ stdout, stderr, failure }: Outcome): CniError {
  const internal = (message: string): CniError => new CniError(ErrorCode.internal, message);
  if (stdout.trim() === '') {
    if (stderr === '') return internal(`netplugin failed with no error message: ${failure}`);
    return internal(`netplugin failed: ${quoted(stderr)}: ${failure}`);
  }
  try {
    const answer = parseJson(stdout);
    const { code, msg, details } = isJsonObject(answer) ? answer : {};
    if (typeof code === 'number') {
      return new DelegateError(
        code,
        typeof msg === 'string' ? msg : '',
        typeof details === 'string' ? details : undefined,
      );
    }
  } catch {
    // Told below, with the text.
  }
  return internal(`netplugin failed but error parsing its diagnostic message ${quoted(stdout)}`);
}

/**
 * Runs the IPAM plugin `file` with the whole environment and stdin byte for byte; its stderr goes
 * to ours. Returns what it printed. Throws its error unwrapped. `signal` stops it.
 */
export async function delegate(
  edges: Edges,
  call: Invocation,
  file: string,
  command: Command,
  signal?: AbortSignal,
): Promise<string> {
  signal?.throwIfAborted();
  const outcome = await execute(edges, file, command, call.stdin, signal);
  signal?.throwIfAborted();
  if (outcome.failure !== undefined) throw delegateError(outcome);
  return outcome.stdout;
}

/** What IPAM ADD gave. Throws CniError 6 when it is no result, 7 when a field of it is wrong. */
export function parseIpamResult(stdout: string, call: Invocation, type: string): CniResult {
  let answer: unknown;
  try {
    answer = parseJson(stdout);
  } catch (error) {
    throw new CniError(
      ErrorCode.decodingFailure,
      `Cannot read the answer of IPAM plugin "${type}": ${(error as Error).message}: ${show(stdout)}`,
    );
  }
  const path = `the answer of IPAM plugin "${type}"`;
  if (!isJsonObject(answer)) {
    throw new CniError(
      ErrorCode.decodingFailure,
      `Cannot use ${path}: it is ${show(answer)}, not an object`,
    );
  }
  const version = resultVersion(answer, call.cniVersion, path);
  if (isResultVersion(version)) return parseResult(answer, version, path);
  throw new CniError(
    ErrorCode.decodingFailure,
    `Cannot use ${path}: unsupported CNI result version ${show(version)}`,
  );
}
