// A unix stream socket as a client uses it for a question and its answer, without node:net, which
// takes longer to load and to set up than the helper takes to answer.

import fs from 'node:fs';
import { check, failedWith, libc } from './libc.ts';
import { POLLIN, POLLOUT, ready, turn } from './polling.ts';

/** linux/socket.h, linux/net.h. */
const AF_UNIX = 1;
const SOCK_STREAM = 1;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
/** struct sockaddr_un: the family, then a path with its NUL. */
const PATH_AT = 2;
const PATH_BYTES = 108;

const READ_BYTES = 64 * 1024;

interface Listeners {
  connect?: () => void;
  data?: (chunk: Buffer) => void;
  error?: (error: NodeJS.ErrnoException) => void;
  close?: () => void;
}

/** An error as Node's own sockets have them. */
function failure(call: string, code: string): NodeJS.ErrnoException {
  return Object.assign(new Error(`${call} ${code}`), { code, syscall: call });
}

/** What client.ts asks by. Its events come in the event loop's turns, from the next one on. */
export class BlockingStream {
  readonly #listeners: Listeners = {};
  #fd: number | undefined;
  #unwritten: Buffer = Buffer.alloc(0);
  #isClosed = false;

  constructor(path: string) {
    void this.#run(path);
  }

  on<E extends keyof Listeners>(event: E, listener: NonNullable<Listeners[E]>): void {
    this.#listeners[event] = listener;
  }

  /** Writes as soon as there is room. */
  write(bytes: Buffer): void {
    this.#unwritten = Buffer.concat([this.#unwritten, bytes]);
  }

  /** Nothing comes any more. */
  destroy(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    if (this.#fd !== undefined) fs.closeSync(this.#fd);
  }

  async #run(path: string): Promise<void> {
    try {
      await turn();
      if (this.#isClosed) return;
      const fd = this.#connect(path);
      // What is to be said at once goes out in the turn that has connected.
      while (!this.#isClosed && this.#step(fd)) await turn();
    } catch (error) {
      if (!this.#isClosed) this.#listeners.error?.(error as NodeJS.ErrnoException);
    }
    if (this.#isClosed) return;
    this.destroy();
    this.#listeners.close?.();
  }

  #connect(path: string): number {
    const bytes = Buffer.from(path);
    // The kernel would cut it there, or take the name for an abstract one.
    if (bytes.length === 0 || bytes.length >= PATH_BYTES || bytes.includes(0))
      throw failure('connect', 'EINVAL');
    // One that is not there needs no addon.
    fs.statSync(path);
    const fd = libc.socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    this.#fd = check('open a unix socket', fd);
    const address = Buffer.alloc(PATH_AT + PATH_BYTES);
    address.writeUInt16LE(AF_UNIX);
    bytes.copy(address, PATH_AT);
    if (libc.connect(fd, address, address.length) < 0) throw failure('connect', failedWith());
    this.#listeners.connect?.();
    return fd;
  }

  /** Waits a while, reads and writes what can be; false when the other end will say no more. */
  #step(fd: number): boolean {
    const reading = { fd, events: POLLIN };
    const writing = { fd, events: POLLOUT };
    const acting = ready(this.#unwritten.length > 0 ? [reading, writing] : [reading]);
    if (acting.includes(writing))
      this.#unwritten = this.#unwritten.subarray(fs.writeSync(fd, this.#unwritten));
    return !acting.includes(reading) || this.#readSome(fd);
  }

  #readSome(fd: number): boolean {
    const chunk = Buffer.allocUnsafe(READ_BYTES);
    const bytes = fs.readSync(fd, chunk);
    if (bytes > 0) this.#listeners.data?.(chunk.subarray(0, bytes));
    return bytes > 0;
  }
}
