// Pushes metrics by OTLP over HTTP: every period all figures, in requests of some directions each.
// They add up, so a push that fails is not kept: the next one has all of it.
//
// One push is under way at a time, and one request of it is in memory. It ends with its period, and
// whatever the receiver does, nothing waits for it but the next push.

import fs from 'node:fs';
import type { IncomingMessage } from 'node:http';
import os from 'node:os';
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import zlib from 'node:zlib';
import type { Log } from './log.ts';
import { figuresOf, type MetricsSource } from './metrics-page.ts';
import { directionsOf } from './metrics/families.ts';
import {
  directionsRequest,
  helperRequest,
  rejectionIn,
  type Teller,
} from './otlp/export-request.ts';
import { isRetryable, pauseMs, type Receiver } from './otlp/receiver.ts';
import { printable } from './protocol/printable.ts';
import { VERSION } from './version.ts';

const gzip = promisify(zlib.gzip);

/** Directions of a request: some milliseconds to write. */
const AT_ONCE = 50;
/** For one request with its answer. */
const REQUEST_MS = 10_000;
const MAX_ANSWER_BYTES = 64 * 1024;
/** A receiver that asks for more is tried again nevertheless. */
const LONGEST_LEAVE_MS = 3_600_000;
/** Of what a receiver says. */
const MAX_SAID = 200;

export interface PushOptions {
  readonly log: Log;
  readonly nodeName: string | undefined;
  readonly periodMs: number;
}

/** A receiver that did not take a request. */
class Refused extends Error {
  readonly isFinal: boolean;
  readonly afterMs: number | undefined;

  constructor(
    message: string,
    { isFinal = false, afterMs }: { isFinal?: boolean; afterMs?: number | undefined },
  ) {
    super(message);
    this.isFinal = isFinal;
    this.afterMs = afterMs;
  }
}

/** Milliseconds for which a receiver asks to be left alone (RFC 9110, section 10.2.3). */
function retryAfterMs(header: string | undefined): number | undefined {
  if (header === undefined) return undefined;
  const ms = /^\d+$/.test(header) ? Number(header) * 1000 : Date.parse(header) - Date.now();
  return Number.isNaN(ms) ? undefined : Math.min(Math.max(0, ms), LONGEST_LEAVE_MS);
}

async function bodyOf(response: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > MAX_ANSWER_BYTES)
      throw new Refused(`it answers more than ${MAX_ANSWER_BYTES} bytes`, { isFinal: true });
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** What a receiver says, as it can be shown. */
function said(text: string): string {
  return printable(text.trim()).slice(0, MAX_SAID);
}

/** Sends one request. Returns what the answer says against it, if anything; throws Refused. */
async function post(
  { url, headers, authorities }: Receiver,
  body: Buffer,
  signal: AbortSignal,
): Promise<string | undefined> {
  const isTls = url.protocol === 'https:';
  const { request } = isTls ? await import('node:https') : await import('node:http');
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    const own = { 'content-type': 'application/x-protobuf', 'content-encoding': 'gzip' };
    const options = {
      ...{ method: 'POST', signal },
      headers: { ...headers, ...own, 'content-length': body.length },
      ...(isTls && authorities !== undefined && { ca: fs.readFileSync(authorities) }),
    };
    request(url, options).on('response', resolve).on('error', reject).end(body);
  });
  const { statusCode: status = 0 } = response;
  const answer = await bodyOf(response);
  if (status < 200 || status > 299) {
    const afterMs = retryAfterMs(response.headers['retry-after']);
    const isFinal = !isRetryable(status);
    const isText = response.headers['content-type']?.startsWith('text/') === true;
    const why = isText ? said(answer.toString('utf8')) : '';
    throw new Refused(`it answers ${status}${why === '' ? '' : `: ${why}`}`, { isFinal, afterMs });
  }
  try {
    const rejection = rejectionIn(answer);
    return rejection === undefined ? undefined : said(rejection);
  } catch {
    return 'its answer is not OTLP';
  }
}

export class Push {
  readonly #receiver: Receiver;
  readonly #source: MetricsSource;
  readonly #options: PushOptions;
  readonly #teller: Teller;
  readonly #closing = new AbortController();
  readonly #startMs = Date.now();
  /** What it is called in messages: without a name and a password. */
  readonly #place: string;
  #fault: string | undefined;

  constructor(receiver: Receiver, source: MetricsSource, options: PushOptions) {
    this.#receiver = receiver;
    this.#source = source;
    this.#options = options;
    this.#place = receiver.url.origin + receiver.url.pathname;
    this.#teller = { version: VERSION, hostName: os.hostname(), nodeName: options.nodeName };
    void this.#run();
  }

  /** Why the receiver has no metrics, or not all. */
  notices(): readonly string[] {
    return this.#fault === undefined ? [] : [this.#fault];
  }

  close(): void {
    this.#closing.abort();
  }

  /** The first push comes by chance within a period: a fleet that is updated does not push at once. */
  async #run(): Promise<void> {
    const { signal } = this.#closing;
    const { periodMs } = this.#options;
    let dueMs = performance.now() + Math.random() * periodMs;
    while (!signal.aborted) {
      await sleep(Math.max(0, dueMs - performance.now()), undefined, { signal, ref: false }).catch(
        () => undefined,
      );
      if (signal.aborted) return;
      dueMs = performance.now() + periodMs;
      try {
        this.#tell(await this.#push(dueMs));
      } catch (error) {
        if (signal.aborted) return;
        this.#tell((error as Error).message);
        // Whoever asks for a longer pause than a period gets it.
        if (error instanceof Refused)
          dueMs = Math.max(dueMs, performance.now() + (error.afterMs ?? 0));
      }
    }
  }

  /** Logs that it works, and that it does not: once each. */
  #tell(fault: string | undefined): void {
    const former = this.#fault;
    this.#fault =
      fault === undefined
        ? undefined
        : `Metrics do not all reach ${this.#place}: ${fault}; see --otlp-endpoint`;
    if (this.#fault !== undefined && former === undefined) this.#options.log('warn', this.#fault);
    if (this.#fault === undefined && former !== undefined)
      this.#options.log('info', `Metrics reach ${this.#place} again`);
  }

  /** Sends all figures of now. Returns what the receiver did not take, although it answered. */
  async #push(untilMs: number): Promise<string | undefined> {
    const measured = await this.#source.shaper.measure(this.#source.problems());
    const endMs = Date.now();
    const figures = figuresOf(this.#source, measured.length);
    const span = { startMs: this.#startMs, endMs };
    let fault = await this.#send(helperRequest(this.#teller, figures, span), untilMs);
    const directions = directionsOf(measured).map((direction) => {
      const addedMs = Date.parse(direction.attachment.addedAt ?? '');
      return {
        direction,
        startMs: Math.min(Number.isNaN(addedMs) ? span.startMs : addedMs, endMs),
      };
    });
    for (let at = 0; at < directions.length; at += AT_ONCE) {
      await nextTurn();
      const some = directions.slice(at, at + AT_ONCE);
      const rejection = await this.#send(directionsRequest(this.#teller, some, endMs), untilMs);
      fault ??= rejection;
    }
    return fault;
  }

  /** Sends a request until it is taken, or until the moment of performance.now(). */
  async #send(request: Uint8Array, untilMs: number): Promise<string | undefined> {
    const body = await gzip(request);
    for (let tries = 1; ; tries += 1) {
      const leftMs = Math.ceil(Math.max(1, Math.min(REQUEST_MS, untilMs - performance.now())));
      const deadline = AbortSignal.timeout(leftMs);
      try {
        return await post(
          ...([this.#receiver, body, AbortSignal.any([deadline, this.#closing.signal])] as const),
        );
      } catch (error) {
        const failure = deadline.aborted
          ? new Refused(`no answer within ${Math.round(leftMs / 1000)} s`, {})
          : (error as Error);
        const { isFinal = false, afterMs } = failure as Partial<Refused>;
        // Who asks for none, or for one that has passed, is not asked without a pause either.
        const waitMs = Math.max(afterMs ?? 0, pauseMs(tries, Math.random()));
        if (isFinal || performance.now() + waitMs >= untilMs) throw failure;
        await sleep(waitMs, undefined, { signal: this.#closing.signal, ref: false });
      }
    }
  }
}
