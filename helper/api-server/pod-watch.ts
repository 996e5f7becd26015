// Follows the pods of a node at the API server: does what helper/cluster/list-watch.ts says, and
// tells it what came of that.

import { setTimeout as sleep } from 'node:timers/promises';
import { describeStatus } from '../cluster/failures.ts';
import {
  after,
  beginning,
  STEADY_MS,
  stepOf,
  type Following,
  type Outcome,
  type PodsChange,
  type Step,
} from '../cluster/list-watch.ts';
import { Lines, parsePage, parseWatchLine, statusMessage, StreamError } from '../cluster/stream.ts';
import { Silence, type Answer, type ApiClient } from './client.ts';

/** Pods on one page: a node has 110 by default. */
const PAGE_PODS = 250;

/** For a list, or for a watch until it is accepted. */
const SILENCE_MS = 20_000;
const LIST_DEADLINE_MS = 60_000;

/** Servers send bookmarks about once a minute (the real one was seen to at 14 to 60 s). */
const WATCH_SILENCE_MS = 150_000;
/** How much later than it was asked to a watch may end. */
const LATE_MS = 30_000;

/** Without what podpaced does not need of a pod; whole where the server does not know that. */
function acceptOf(kind: 'PartialObjectMetadata' | 'PartialObjectMetadataList'): string {
  return `application/json;as=${kind};g=meta.k8s.io;v=v1,application/json`;
}

export interface PodWatchOptions {
  readonly client: ApiClient;
  readonly nodeName: string;
  /** Hears of each change in its order; the first is of all pods. */
  readonly hear: (change: PodsChange) => void;
  /** Hears when the server goes away, and when it is back (undefined). */
  readonly tellAway: (why: string | undefined) => void;
  /** For how long a watch may say nothing, if not for the usual time. */
  readonly watchSilenceMs?: number;
}

export class PodWatch {
  readonly #options: PodWatchOptions;
  readonly #closing = new AbortController();
  #following: Following = beginning(performance.now());

  /** Begins at once. */
  constructor(options: PodWatchOptions) {
    this.#options = options;
    void this.#run();
  }

  /** Since when (ms of performance.now()) and why changes are not known; undefined while they are. */
  get away(): Following['away'] {
    return this.#following.away;
  }

  close(): void {
    this.#closing.abort();
  }

  async #run(): Promise<void> {
    while (!this.#closing.signal.aborted) {
      const step = stepOf(this.#following, Math.random());
      for await (const outcome of this.#outcomesOf(step)) {
        if (this.#closing.signal.aborted) return;
        this.#take(outcome);
        // The version that is asked for does not hold any more.
        if (outcome.of === 'message' && outcome.message.type === 'error') break;
      }
    }
  }

  #take(outcome: Outcome): void {
    const wasAway = this.#following.away !== undefined;
    const circumstance = { nowMs: performance.now(), chance: Math.random() };
    const { state, change } = after(this.#following, outcome, circumstance);
    this.#following = state;
    if (change !== undefined) this.#options.hear(change);
    if (wasAway !== (state.away !== undefined)) this.#options.tellAway(state.away?.why);
  }

  /** What comes of a step; never rejects. */
  async *#outcomesOf(step: Step): AsyncGenerator<Outcome> {
    try {
      if (step.do === 'wait') yield await this.#wait(step.ms);
      else if (step.do === 'list') yield await this.#list(step);
      else yield* this.#watch(step);
    } catch (error) {
      yield outcomeOf(error as Error);
    }
  }

  async #wait(ms: number): Promise<Outcome> {
    await sleep(ms, undefined, { signal: this.#closing.signal, ref: false });
    return { of: 'waited' };
  }

  async #list({ continue: next }: { readonly continue?: string }): Promise<Outcome> {
    const path = this.#path({
      limit: String(PAGE_PODS),
      ...(next !== undefined && { continue: next }),
    });
    const asked = { path, accept: acceptOf('PartialObjectMetadataList') };
    const answer = await this.#options.client.askWhole(
      { ...asked, silenceMs: SILENCE_MS, deadlineMs: LIST_DEADLINE_MS },
      this.#closing.signal,
    );
    return answer.status === 200
      ? { of: 'page', ...parsePage(answer.body) }
      : refused(answer, answer.body);
  }

  async *#watch({
    resourceVersion,
    timeoutSeconds,
  }: Extract<Step, { do: 'watch' }>): AsyncGenerator<Outcome> {
    const ending = new AbortController();
    const signal = AbortSignal.any([this.#closing.signal, ending.signal]);
    const path = this.#path({
      ...{ watch: '1', allowWatchBookmarks: 'true', resourceVersion },
      timeoutSeconds: String(timeoutSeconds),
    });
    try {
      const { client, watchSilenceMs = WATCH_SILENCE_MS } = this.#options;
      const answer = await client.ask(
        {
          ...{ path, accept: acceptOf('PartialObjectMetadata'), silenceMs: watchSilenceMs },
          deadlineMs: timeoutSeconds * 1000 + LATE_MS,
        },
        signal,
      );
      if (answer.status !== 200) {
        yield refused(answer, await beginningOf(answer));
        return;
      }
      yield* this.#messagesOf(answer);
    } finally {
      ending.abort();
    }
  }

  async *#messagesOf({ body }: Answer): AsyncGenerator<Outcome> {
    const beganMs = performance.now();
    const steady = setTimeout(() => this.#take({ of: 'steady' }), STEADY_MS);
    try {
      const lines = new Lines();
      for await (const piece of body) {
        for (const line of lines.push(piece)) {
          const message = parseWatchLine(line);
          if (message !== undefined) yield { of: 'message', message };
        }
      }
    } finally {
      clearTimeout(steady);
    }
    yield { of: 'ended', lastedMs: performance.now() - beganMs };
  }

  #path(query: Readonly<Record<string, string>>): string {
    const fieldSelector = `spec.nodeName=${this.#options.nodeName}`;
    return `/api/v1/pods?${new URLSearchParams({ fieldSelector, ...query }).toString()}`;
  }
}

/** Enough for the message of a refusal. */
const MAX_REFUSAL_BYTES = 16_384;

async function beginningOf({ body }: Answer): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  let bytes = 0;
  for await (const piece of body) {
    pieces.push(piece);
    bytes += piece.length;
    if (bytes > MAX_REFUSAL_BYTES) break;
  }
  return Buffer.concat(pieces);
}

function refused({ status, retryAfterMs }: Omit<Answer, 'body'>, body: Uint8Array): Outcome {
  if (status === 410) return { of: 'expired' };
  const why = describeStatus(status, statusMessage(body));
  return { of: 'failed', why, ...(retryAfterMs !== undefined && { leastWaitMs: retryAfterMs }) };
}

function outcomeOf(error: Error): Outcome {
  if (error instanceof Silence) return { of: 'silent' };
  if (error instanceof StreamError)
    return { of: 'garbage', why: `the API server sends ${error.message}` };
  return { of: 'failed', why: error.message };
}
