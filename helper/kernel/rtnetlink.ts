// One request at a time over a NETLINK_ROUTE socket: sequence numbers, acknowledgements, multipart
// answers, interrupted dumps, deadlines. What the bytes mean is in helper/wire/, the verbs are in
// the files beside this one.

import { setTimeout as sleep } from 'node:timers/promises';
import { getSystemErrorName } from 'node:util';
import { Flags, FlagsGet } from 'netlink/dist/constants.js';
import { formatMessage } from 'netlink/dist/structs.js';
import { WireError } from '../wire/attributes.ts';
import { ReplyCollector } from '../wire/netlink-reply.ts';
import type { Reply, ReplyMessage } from '../wire/netlink-reply.ts';
import { KernelError } from '../wire/errors.ts';
import type { RtTransport } from './rt-transport.ts';

/**
 * The kernel answers at once; it is silent for this long only when it is stuck on a lock. In
 * milliseconds.
 */
const DEFAULT_DEADLINE_MS = 5000;

/** How often a list is asked for again when it changed while it was read, unless said. */
const DUMP_RETRIES = 5;
/** Pause before it is asked for again, twice as long each time: 0.3 s in all. */
const DUMP_RETRY_MS = 10;

/** A message to the kernel. */
export interface RtRequest {
  /**
   * What it does, in words that name the object: `create link "eth0"`. It becomes the KernelError's
   * operation.
   */
  readonly operation: string;
  /** RTM_*. */
  readonly type: number;
  /** NLM_F_CREATE and such; REQUEST, ACK and DUMP are added here. */
  readonly flags?: number;
  readonly payload: Buffer;
  /**
   * Of a list: how often it is asked for again when it changed while it was read; 5 unless said.
   */
  readonly retries?: number;
  /**
   * A change that the kernel makes right before, in the same system call, so that nothing comes in
   * between. Whether it could be made is not told.
   */
  readonly prelude?: Change;
  /** The same right after, also when the request itself was refused. */
  readonly sequel?: Change;
}

type Change = Omit<RtRequest, 'operation' | 'prelude' | 'sequel'>;

/** A request that was sent and waits for its answer. */
interface Pending {
  readonly collector: ReplyCollector;
  readonly isDump: boolean;
  readonly settle: (outcome: Reply | KernelError) => void;
  readonly operation: string;
  readonly deadline: NodeJS.Timeout;
  /** The deadline has passed since something was last heard. */
  isLate: boolean;
}

/**
 * A NETLINK_ROUTE socket. It belongs to the namespace it was opened in for good. Requests are sent
 * one after the other, in the order of the calls. It keeps the process alive only while an answer
 * is awaited.
 */
export class RtSocket {
  readonly #transport: RtTransport;
  readonly #deadlineMs: number;
  #queue: Promise<unknown> = Promise.resolve();
  #pending: Pending | undefined;
  #sequence = 0;
  #isClosed = false;

  constructor(transport: RtTransport, deadlineMs: number = DEFAULT_DEADLINE_MS) {
    this.#transport = transport;
    this.#deadlineMs = deadlineMs;
    transport.on('message', (datagram, { port }) => {
      // Any process may send to this socket; the kernel's port is 0.
      if (port === 0) this.#receive(datagram);
    });
    transport.on('truncatedMessage', (datagram) => {
      this.#fail('EMSGSIZE', `only ${datagram.length} bytes of an answer were read`);
    });
    transport.on('error', (error) => this.#receiveError(error));
    transport.unref();
  }

  /** Makes a change. Rejects with KernelError when the kernel refuses it. */
  async execute(request: RtRequest): Promise<void> {
    await this.#ask(request, Flags.ACK);
  }

  /**
   * Asks for one object. Rejects with KernelError; the errno for an absent object depends on its
   * kind.
   */
  async get<T>(request: RtRequest, decode: (payload: Buffer) => T): Promise<T> {
    const { messages } = await this.#ask(request, Flags.ACK);
    const [message] = messages;
    if (message === undefined)
      throw new KernelError(request.operation, 'EBADMSG', 'the answer is empty');
    return decodeFor(request.operation, () => decode(message.payload));
  }

  /**
   * Asks for a list. What `decode` gives undefined for is left out. A list that changed while it
   * was read is asked for again; KernelError EAGAIN when it never holds still.
   */
  dump<T>(request: RtRequest, decode: (payload: Buffer) => T | undefined): Promise<T[]> {
    return this.scan<T[]>(
      request,
      () => [],
      (objects, payload) => {
        const object = decode(payload);
        if (object !== undefined) objects.push(object);
      },
    );
  }

  /**
   * The same for a list that is too long to be kept: each object's payload is added to what `begin`
   * gave as it comes. A list that is asked for again begins anew.
   */
  async scan<T>(
    request: RtRequest,
    begin: () => T,
    add: (sum: T, payload: Buffer) => void,
  ): Promise<T> {
    const { retries = DUMP_RETRIES } = request;
    for (let attempt = 0; attempt <= retries; attempt++) {
      const sum = begin();
      const reply = await this.#ask(request, FlagsGet.DUMP, ({ payload }) => add(sum, payload));
      if (!reply.isInterrupted) return sum;
      if (attempt < retries) await sleep(DUMP_RETRY_MS * 2 ** attempt);
    }
    throw new KernelError(
      request.operation,
      'EAGAIN',
      `the list changed ${retries + 1} times while read`,
    );
  }

  /** Closes the socket; a request that waits is rejected, and so is every later one. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#fail('EBADF', 'the netlink socket was closed');
    this.#transport.close();
  }

  /** A request with `take` is one for a list. */
  #ask(request: RtRequest, flags: number, take?: (message: ReplyMessage) => void): Promise<Reply> {
    const answer = this.#queue.then(() => this.#exchange(request, flags, take));
    this.#queue = answer.catch(() => undefined);
    return answer;
  }

  #exchange(
    request: RtRequest,
    flags: number,
    take?: (message: ReplyMessage) => void,
  ): Promise<Reply> {
    const { operation } = request;
    if (this.#isClosed) throw new KernelError(operation, 'EBADF', 'the netlink socket is closed');
    this.#sequence = (this.#sequence + 1) >>> 0;
    const sequence = this.#sequence;
    return new Promise((resolve, reject) => {
      const settle = (outcome: Reply | KernelError): void => {
        clearTimeout(pending.deadline);
        this.#pending = undefined;
        if (!this.#isClosed) this.#transport.unref();
        if (outcome instanceof KernelError) reject(outcome);
        else if (outcome.errno === 0) resolve(outcome);
        else reject(new KernelError(operation, getSystemErrorName(-outcome.errno), outcome.detail));
      };
      const deadline = setTimeout(() => this.#expire(pending), this.#deadlineMs);
      const collector = new ReplyCollector(sequence, take);
      const isDump = take !== undefined;
      const pending: Pending = { collector, isDump, settle, operation, deadline, isLate: false };
      this.#pending = pending;
      this.#transport.ref();
      this.#send(request, Flags.REQUEST | flags | (request.flags ?? 0), sequence);
    });
  }

  #send(request: RtRequest, flags: number, seq: number): void {
    const { prelude, sequel } = request;
    const message = [...aside(prelude), ...formatted(request, flags, seq), ...aside(sequel)];
    const sent = this.#pending;
    this.#transport.send(Buffer.concat(message), (error) => {
      if (error !== undefined && this.#pending === sent)
        this.#fail(error.code, 'the request was not sent');
    });
  }

  /**
   * After something synchronous that took long, a deadline is seen before the answer that has been
   * there all the time. So what has come is read first: before the next immediate callback, and
   * handed on by one that follows it.
   */
  #expire(pending: Pending): void {
    pending.isLate = true;
    const giveUp = (): void => {
      if (this.#pending === pending && pending.isLate)
        this.#fail('ETIMEDOUT', `no answer within ${this.#deadlineMs} ms`);
    };
    setImmediate(() => setImmediate(giveUp));
  }

  #receive(datagram: Buffer): void {
    const pending = this.#pending;
    if (pending === undefined) return;
    pending.isLate = false;
    pending.deadline.refresh();
    try {
      const reply = pending.collector.push(datagram);
      if (reply !== undefined) pending.settle(reply);
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      this.#fail('EBADMSG', error.message);
    }
  }

  /**
   * A part of the answer is lost: a list can be asked for again, a change may have happened or not.
   */
  #receiveError({ code }: { readonly code: string }): void {
    if (code === 'ENOBUFS' && this.#pending?.isDump === true)
      this.#pending.collector.markInterrupted();
    else this.#fail(code, 'the answer was not received');
  }

  #fail(errno: string, detail: string): void {
    this.#pending?.settle(new KernelError(this.#pending.operation, errno, detail));
  }
}

/** A message, filled up to where another one may begin. */
function formatted(
  { type, payload }: Pick<RtRequest, 'type' | 'payload'>,
  flags: number,
  seq: number,
): Uint8Array[] {
  const message = formatMessage({ type, flags, seq, port: 0, data: payload });
  const length = message.reduce((sum, each) => sum + each.length, 0);
  return [...message, Buffer.alloc(-length & 3)];
}

/** With a number of no request, so that no answer to it is taken for one. */
function aside(change: Change | undefined): Uint8Array[] {
  return change === undefined ? [] : formatted(change, Flags.REQUEST | (change.flags ?? 0), 0);
}

function decodeFor<T>(operation: string, decode: () => T): T {
  try {
    return decode();
  } catch (error) {
    if (!(error instanceof WireError)) throw error;
    throw new KernelError(operation, 'EBADMSG', error.message);
  }
}
