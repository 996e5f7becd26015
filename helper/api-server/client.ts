// Requests to the API server: the only place that talks to it. HTTP/1.1 by Node's own module, a
// connection for each request; tokens and certificates are read anew each time, since they are
// replaced while the helper runs.

import fs from 'node:fs';
import type { IncomingMessage } from 'node:http';
import https from 'node:https';
import type { Access, Credentials, Source } from '../cluster/access.ts';
import { ABSENT_AUTHORITY, describeFailure } from '../cluster/failures.ts';

/** Nothing that is asked for comes near. */
const MAX_BODY_BYTES = 64 * 1024 * 1024;
const MAX_FILE_BYTES = 1024 * 1024;

/** The server has not said anything for as long as it may. */
export class Silence extends Error {
  override readonly name = 'Silence';
}

/** Why there is no answer; the message is a clause for people, with the remedy where there is one. */
export class NoAnswer extends Error {
  override readonly name = 'NoAnswer';
}

/** What is asked of the server. */
export interface Asked {
  readonly method?: 'GET' | 'POST';
  /** With its query. */
  readonly path: string;
  readonly accept?: string;
  /** An object, sent as JSON. */
  readonly body?: object;
  /** How long the server may say nothing, from the connection on. */
  readonly silenceMs: number;
  /** How long all of it may take. */
  readonly deadlineMs: number;
}

/** The head of an answer; the rest comes in pieces. */
export interface Answer {
  readonly status: number;
  /** What Retry-After asks for; absent without it. */
  readonly retryAfterMs?: number;
  readonly body: AsyncIterable<Uint8Array>;
}

function read(source: Source): string {
  if ('text' in source) return source.text;
  const { size } = fs.statSync(source.file);
  if (size > MAX_FILE_BYTES) throw new Error(`${source.file} has ${size} bytes`);
  return fs.readFileSync(source.file, 'utf8');
}

/** Spaces and line ends are no part of a token; within one they would end the header. */
function headersOf(credentials: Credentials): Record<string, string> {
  if (!('token' in credentials)) return {};
  const token = read(credentials.token).trim();
  if (token === '' || !/^[\x21-\x7e]+$/.test(token)) throw new Error('the token is no token');
  return { Authorization: `Bearer ${token}` };
}

function optionsOf(access: Access, { method = 'GET', path, accept, body }: Asked) {
  const { host, port, pathPrefix, serverName, ca, credentials } = access;
  const authority = read(ca);
  if (!authority.includes('-----BEGIN CERTIFICATE-----')) throw new Error(ABSENT_AUTHORITY);
  return {
    ...{ host, port, method, path: pathPrefix + path, agent: false as const, ca: authority },
    ...(serverName !== undefined && { servername: serverName }),
    ...('certificate' in credentials && {
      ...{ cert: read(credentials.certificate), key: read(credentials.key) },
    }),
    headers: {
      ...{ Accept: accept ?? 'application/json', 'User-Agent': 'podpaced' },
      ...(body !== undefined && { 'Content-Type': 'application/json' }),
      ...headersOf(credentials),
    },
  };
}

function retryAfterMsOf({ headers }: IncomingMessage): number | undefined {
  const seconds = Number(headers['retry-after']);
  return Number.isFinite(seconds) && seconds >= 0 ? seconds * 1000 : undefined;
}

/** The server of one cluster. */
export class ApiClient {
  readonly #access: () => Access;

  /** `access` is asked before each request: what it goes by may have changed. */
  constructor(access: () => Access) {
    this.#access = access;
  }

  /**
   * Asks, and resolves with the head of the answer. Whoever does not read the body to its end has to
   * abort by the signal. Rejects with Silence or NoAnswer, as reading the body does.
   */
  async ask(asked: Asked, signal: AbortSignal): Promise<Answer> {
    const { body, silenceMs, deadlineMs } = asked;
    const limit = AbortSignal.any([signal, AbortSignal.timeout(deadlineMs)]);
    let options: ReturnType<typeof optionsOf>;
    try {
      options = optionsOf(this.#access(), asked);
    } catch (error) {
      throw new NoAnswer((error as Error).message, { cause: error });
    }
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      let ending: { destroy(error: Error): unknown };
      const request = https.request({ ...options, signal: limit }, (answer) => {
        ending = answer;
        resolve(answer);
      });
      ending = request;
      request.setTimeout(silenceMs, () => ending.destroy(new Silence('it says nothing')));
      request.on('error', (error) => reject(noAnswer(error)));
      request.end(body === undefined ? undefined : JSON.stringify(body));
    });
    const { statusCode: status = 0 } = response;
    const retryAfterMs = retryAfterMsOf(response);
    const pieces = piecesOf(response);
    return { status, ...(retryAfterMs !== undefined && { retryAfterMs }), body: pieces };
  }

  /** Asks, and resolves with the whole answer. Rejects as `ask` does. */
  async askWhole(
    asked: Asked,
    signal: AbortSignal,
  ): Promise<Omit<Answer, 'body'> & { readonly body: Uint8Array }> {
    const { body, ...head } = await this.ask(asked, signal);
    const pieces: Uint8Array[] = [];
    let bytes = 0;
    for await (const piece of body) {
      bytes += piece.length;
      if (bytes > MAX_BODY_BYTES)
        throw new NoAnswer(`the answer has more than ${MAX_BODY_BYTES} bytes`);
      pieces.push(piece);
    }
    return { ...head, body: Buffer.concat(pieces) };
  }
}

function noAnswer(error: Error): Error {
  if (error instanceof Silence) return error;
  return new NoAnswer(describeFailure(error), { cause: error });
}

async function* piecesOf(response: IncomingMessage): AsyncGenerator<Uint8Array> {
  try {
    for await (const piece of response) yield piece as Uint8Array;
  } catch (error) {
    throw noAnswer(error as Error);
  } finally {
    response.destroy();
  }
}
