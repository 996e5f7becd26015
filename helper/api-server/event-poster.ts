// Posts events, a few in a second. Nothing waits for them: what cannot be posted now is tried again
// later, and what the server refuses is dropped, since the log has said it.

import { setTimeout as sleep } from 'node:timers/promises';
import { describeStatus } from '../cluster/failures.ts';
import { eventOf, namespaceOf, Outbox, type Notice } from '../cluster/events.ts';
import { statusMessage } from '../cluster/stream.ts';
import type { ApiClient } from './client.ts';

const SILENCE_MS = 10_000;
const RETRY_MS = 10_000;

export interface EventPosterOptions {
  readonly client: ApiClient;
  readonly nodeName: string;
  /** Hears, once, that events are refused. */
  readonly log: (level: 'warn', message: string) => void;
}

export class EventPoster {
  readonly #options: EventPosterOptions;
  readonly #outbox = new Outbox();
  readonly #closing = new AbortController();
  #isPosting = false;
  #hasWarned = false;

  constructor(options: EventPosterOptions) {
    this.#options = options;
  }

  /** Has a notice posted, unless one of the same object and reason has been. */
  post(notice: Notice): void {
    this.#outbox.put(notice);
    void this.#postAll();
  }

  close(): void {
    this.#closing.abort();
  }

  async #postAll(): Promise<void> {
    if (this.#isPosting) return;
    this.#isPosting = true;
    try {
      for (
        let waitMs = this.#outbox.waitMs(performance.now());
        waitMs !== undefined;
        waitMs = this.#outbox.waitMs(performance.now())
      ) {
        await this.#sleep(waitMs);
        const notice = this.#outbox.take(performance.now());
        if (notice !== undefined) await this.#postOne(notice);
      }
    } catch {
      // Closed.
    } finally {
      this.#isPosting = false;
    }
  }

  async #postOne(notice: Notice): Promise<void> {
    const { client, nodeName } = this.#options;
    const now = new Date().toISOString().replace(/\.\d+Z$/, 'Z');
    const path = `/api/v1/namespaces/${encodeURIComponent(namespaceOf(notice))}/events`;
    const asked = { method: 'POST', path, body: eventOf(notice, { nodeName, now }) } as const;
    try {
      const { status, body } = await client.askWhole(
        { ...asked, silenceMs: SILENCE_MS, deadlineMs: SILENCE_MS },
        this.#closing.signal,
      );
      if (status === 401 || status === 429 || status >= 500) await this.#later(notice);
      // 409: a helper before this one has posted it.
      else if (status >= 300 && status !== 409)
        this.#warn(describeStatus(status, statusMessage(body)));
    } catch {
      await this.#later(notice);
    }
  }

  async #later(notice: Notice): Promise<void> {
    this.#outbox.putBack(notice);
    await this.#sleep(RETRY_MS);
  }

  #warn(why: string): void {
    if (this.#hasWarned) return;
    this.#hasWarned = true;
    this.#options.log('warn', `Cannot post an event, and says no more of it: ${why}`);
  }

  /** Rejects when the poster is closed. */
  #sleep(ms: number): Promise<void> {
    return sleep(ms, undefined, { signal: this.#closing.signal, ref: false });
  }
}
