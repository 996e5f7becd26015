// One connection of the helper's socket: its requests are answered one after the other. It is read
// no further meanwhile, so whoever sends more than is answered waits in the kernel, and what nobody
// waits for any more is not begun.

import { once } from 'node:events';
import type net from 'node:net';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { encodeLine, FrameError, LineReader } from './protocol/frame.ts';
import type { ProtocolError, Response } from './protocol/messages.ts';
import { answerVersion } from './protocol/versions.ts';

/** Answers one message; never rejects. */
export type Handler = (message: unknown) => Promise<Response>;

export interface ConnectionOptions {
  /**
   * An answer that takes longer is replaced by an error; the work itself goes on to its end, and
   * the next waits for it.
   */
  readonly requestDeadlineMs: number;
  /**
   * A connection on which nothing happens for so long is closed, unless it waits for us; so is one
   * on which a line takes longer.
   */
  readonly idleTimeoutMs: number;
  /** Called when a request begins and when its answer has been written. */
  readonly onBusy: (isBusy: boolean) => void;
}

const LINE_FEED = 0x0a;

/** An error as the answer to a message; undefined where none has been read. */
export function errorResponse(message: unknown, error: ProtocolError): Response {
  return { version: answerVersion(message), error };
}

async function withDeadline(
  asked: unknown,
  work: Promise<Response>,
  deadlineMs: number,
): Promise<Response> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<Response>((resolve) => {
    const message = `No answer within ${deadlineMs} ms`;
    timer = setTimeout(
      () => resolve(errorResponse(asked, { code: 'busy', message, remedy: 'try again' })),
      deadlineMs,
    );
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

function encodeAnswer(asked: unknown, response: Response): Buffer {
  try {
    return encodeLine(response);
  } catch (error) {
    const { message } = error as Error;
    return encodeLine(errorResponse(asked, { code: 'internal', message }));
  }
}

/** Resolves when the peer has read enough for more to be written, or has gone. */
async function drained(socket: net.Socket): Promise<void> {
  const waiting = new AbortController();
  const { signal } = waiting;
  // Either rejects when the other has come first.
  const events = ['drain', 'close'].map((event) =>
    once(socket, event, { signal }).catch(() => undefined),
  );
  await Promise.race(events);
  waiting.abort();
}

class Connection {
  readonly #socket: net.Socket;
  readonly #handler: Handler;
  readonly #options: ConnectionOptions;
  readonly #reader = new LineReader();
  #isBusy = false;
  #lineTimer: NodeJS.Timeout | undefined;

  constructor(socket: net.Socket, handler: Handler, options: ConnectionOptions) {
    this.#socket = socket;
    this.#handler = handler;
    this.#options = options;
  }

  async serve(): Promise<void> {
    const socket = this.#socket;
    this.#closeWhenIdle();
    try {
      for await (const chunk of socket.iterator({ destroyOnReturn: false })) {
        const failure = this.#take(chunk as Buffer);
        for (
          let message = this.#reader.next();
          message !== undefined;
          message = this.#reader.next()
        ) {
          if (!socket.writable) return;
          await this.#answer(message);
          // What is answered without waiting for anything would leave others none.
          await nextTurn();
        }
        if (failure !== undefined) return this.#refuse(failure);
      }
      socket.end();
    } catch {
      // The peer is gone, and with it all that it still wanted.
      socket.destroy();
    } finally {
      this.#timeLine(undefined);
    }
  }

  /**
   * Takes what has come; returns what is wrong with it, after which nothing more can be understood.
   */
  #take(chunk: Buffer): FrameError | undefined {
    try {
      this.#reader.push(chunk);
    } catch (error) {
      if (error instanceof FrameError) return error;
      throw error;
    }
    if (chunk.includes(LINE_FEED)) this.#timeLine(undefined);
    if (this.#reader.isMidLine) this.#timeLine(this.#options.idleTimeoutMs);
    return undefined;
  }

  /** Gives a line that has begun so long to end, from its first byte on. */
  #timeLine(limitMs: number | undefined): void {
    if (limitMs === undefined) {
      clearTimeout(this.#lineTimer);
      this.#lineTimer = undefined;
      return;
    }
    this.#lineTimer ??= setTimeout(() => this.#socket.destroy(), limitMs).unref();
  }

  async #answer(message: unknown): Promise<void> {
    const socket = this.#socket;
    this.#setBusy(true);
    const work = this.#handler(message);
    const response = await withDeadline(message, work, this.#options.requestDeadlineMs);
    const hasRoom = socket.writable && socket.write(encodeAnswer(message, response));
    await work;
    this.#setBusy(false);
    if (!hasRoom && socket.writable) await drained(socket);
  }

  #refuse({ message }: FrameError): void {
    const line = encodeLine(errorResponse(undefined, { code: 'bad-request', message }));
    this.#socket.end(line, () => this.#socket.destroy());
  }

  #setBusy(isBusy: boolean): void {
    this.#isBusy = isBusy;
    this.#options.onBusy(isBusy);
  }

  #closeWhenIdle(): void {
    const { idleTimeoutMs } = this.#options;
    this.#socket.setTimeout(idleTimeoutMs, () => {
      if (this.#isBusy) this.#socket.setTimeout(idleTimeoutMs);
      else this.#socket.destroy();
    });
  }
}

/** Serves a connection to its end; never rejects. */
export function serveConnection(
  socket: net.Socket,
  handler: Handler,
  options: ConnectionOptions,
): Promise<void> {
  socket.on('error', () => socket.destroy());
  return new Connection(socket, handler, options).serve();
}
