// Framing: one JSON message per line, at most 64 KiB with its line feed.

import { show } from '../wire/show.ts';

/** Largest message in bytes, line feed included. */
export const MAX_MESSAGE_BYTES = 64 * 1024;

/** A peer sent something that is no message. The connection cannot go on after it. */
export class FrameError extends Error {
  override readonly name = 'FrameError';
}

/**
 * One message as the bytes of its line. Throws RangeError when it is larger than MAX_MESSAGE_BYTES.
 */
export function encodeLine(message: unknown): Buffer {
  const line = Buffer.from(`${JSON.stringify(message)}\n`);
  if (line.length > MAX_MESSAGE_BYTES) {
    throw new RangeError(
      `Cannot send a message of ${line.length} bytes: the limit is ${MAX_MESSAGE_BYTES}`,
    );
  }
  return line;
}

/**
 * Cuts a byte stream into messages, however the stream was split. An oversized line is refused as
 * soon as the limit is passed, so a peer cannot make the reader hold more.
 */
export class LineReader {
  #pending: Buffer[] = [];
  #pendingBytes = 0;
  readonly #messages: unknown[] = [];

  /**
   * Takes the next bytes of the stream. Throws FrameError for an oversized line or one that is not
   * JSON.
   */
  push(chunk: Buffer): void {
    let rest = chunk;
    for (let end = rest.indexOf(0x0a); end >= 0; end = rest.indexOf(0x0a)) {
      this.#hold(rest.subarray(0, end));
      this.#messages.push(parseLine(Buffer.concat(this.#pending)));
      this.#pending = [];
      this.#pendingBytes = 0;
      rest = rest.subarray(end + 1);
    }
    if (rest.length > 0) this.#hold(rest);
  }

  /**
   * The oldest message not yet taken, or undefined. A message is never undefined itself: JSON has
   * no such value.
   */
  next(): unknown {
    return this.#messages.shift();
  }

  /** True when the stream ended inside a line. */
  get isMidLine(): boolean {
    return this.#pendingBytes > 0;
  }

  #hold(bytes: Buffer): void {
    this.#pendingBytes += bytes.length;
    if (this.#pendingBytes + 1 > MAX_MESSAGE_BYTES) {
      throw new FrameError(`Message is longer than ${MAX_MESSAGE_BYTES} bytes`);
    }
    this.#pending.push(bytes);
  }
}

function parseLine(line: Buffer): unknown {
  try {
    return JSON.parse(line.toString('utf8')) as unknown;
  } catch {
    throw new FrameError(`Message is not JSON: ${show(line.toString('utf8', 0, 80))}`);
  }
}
