// Delegation to an IPAM plugin: run and read as the reference library does it (pkg/invoke).

import { setTimeout as delay } from 'node:timers/promises';
import { Child, type Ending } from '../helper/kernel/child.ts';
import { hasErrno } from '../helper/wire/errors.ts';
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

/** How the variable with the command begins in an environment. */
const COMMAND = 'CNI_COMMAND=';

interface Outcome {
  readonly stdout: string;
  readonly stderr: string;
  /** `exit status 1` as Go words it, `signal: SIGKILL`; undefined for success. */
  readonly failure: string | undefined;
}

/** As Go words it; undefined for success. */
function describe(ending: Ending): string | undefined {
  if ('signal' in ending) return `signal: ${ending.signal}`;
  return ending.status === 0 ? undefined : `exit status ${ending.status}`;
}

/** Collects a child's run. */
async function collect(
  edges: Edges,
  child: Child,
  signal: AbortSignal | undefined,
): Promise<Outcome> {
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];
  let bytes = 0;
  const stop = (): void => child.kill('SIGTERM');
  signal?.addEventListener('abort', stop);
  const ending = await child
    .end(
      (chunk) => {
        bytes += chunk.length;
        if (bytes <= MAX_ANSWER_BYTES) stdout.push(chunk);
        else child.kill('SIGKILL');
      },
      (chunk) => {
        edges.writeStderr(chunk.toString('utf8'));
        if (stderr.length < 64) stderr.push(chunk);
      },
    )
    .finally(() => signal?.removeEventListener('abort', stop));
  const told = Buffer.concat(stderr).toString('utf8');
  if (bytes > MAX_ANSWER_BYTES) {
    // Of what is no answer nothing is kept: it would go into the error, and the runtime's log.
    return { stdout: '', stderr: told, failure: `it answered more than ${MAX_ANSWER_BYTES} bytes` };
  }
  return {
    stdout: Buffer.concat(stdout).toString('utf8'),
    stderr: told,
    failure: describe(ending),
  };
}

/** The environment of the plugin, with another command. */
function environmentFor(edges: Edges, command: Command): Buffer[] {
  const others = edges.environment().filter((entry) => !entry.toString().startsWith(COMMAND));
  return [...others, Buffer.from(`${COMMAND}${command}`)];
}

/** Starts the plugin; one that is being replaced is waited for. Throws CniError. */
async function start(edges: Edges, file: string, command: Command, stdin: Buffer): Promise<Child> {
  const environment = environmentFor(edges, command);
  for (let attempt = 0; ; attempt += 1) {
    try {
      return Child.start(file, environment, stdin);
    } catch (error) {
      if (hasErrno(error, 'ETXTBSY') && attempt < BUSY_RETRIES) {
        await delay(BUSY_DELAY_MS);
        continue;
      }
      throw new CniError(
        ErrorCode.internal,
        (error as Error).message,
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
  const child = await start(edges, file, command, call.stdin);
  const outcome = await collect(edges, child, signal);
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
