// What the kernel answers to one request: pure, so that every way in which an answer can be split,
// interrupted or damaged is a plain test. Types and flags: linux/netlink.h.

import { Flags, FlagsAck, MessageType } from 'netlink/dist/constants.js';
import { parseMessages } from 'netlink/dist/structs.js';
import type { NetlinkMessage } from 'netlink/dist/structs.js';
import { Attributes, WireError, requireLength } from './attributes.ts';

/** NLMSGERR_ATTR_MSG of linux/netlink.h: the extended ack's text. */
const NLMSGERR_ATTR_MSG = 1;

/** struct nlmsghdr. */
const HEADER_BYTES = 16;

/** One message that belongs to the answer. */
export interface ReplyMessage {
  readonly type: number;
  readonly payload: Buffer;
}

/** The answer when its last message has come. */
export interface Reply {
  /** Zero, or the positive errno with which the kernel refused. */
  readonly errno: number;
  /** Text of the extended ack. */
  readonly detail?: string;
  readonly messages: readonly ReplyMessage[];
  /**
   * True when what was listed changed meanwhile (NLM_F_DUMP_INTR), so that `messages` may miss
   * something.
   */
  readonly isInterrupted: boolean;
}

/** Collects the answer to the request with one sequence number out of what a socket receives. */
export class ReplyCollector {
  readonly #sequence: number;
  readonly #messages: ReplyMessage[] = [];
  readonly #take: (message: ReplyMessage) => void;
  #isInterrupted = false;
  /** What `take` threw first. */
  #failure: WireError | undefined;

  /**
   * With `take`, each message is handed to it as it comes, and the answer has none: a list may be
   * of 100,000.
   */
  constructor(sequence: number, take?: (message: ReplyMessage) => void) {
    this.#sequence = sequence;
    this.#take = take ?? ((message) => this.#messages.push(message));
  }

  /**
   * Takes what one read of the socket gave; returns the answer once it is complete. Messages of
   * another sequence number, left over from a request that was given up, are passed over. Throws
   * WireError for bytes that are no netlink messages, and at the end that which `take` threw: the
   * kernel refuses another list until this one is read.
   */
  push(datagram: Buffer): Reply | undefined {
    for (const message of splitMessages(datagram)) {
      if (message.seq !== this.#sequence) continue;
      if ((message.flags & Flags.DUMP_INTR) !== 0) this.#isInterrupted = true;
      if (message.type === MessageType.ERROR || message.type === MessageType.DONE)
        return this.#finish(message);
      if (message.type !== MessageType.NOOP)
        this.#hand({ type: message.type, payload: message.data });
    }
    return undefined;
  }

  /** Says that messages may have been lost, so that the answer counts as interrupted. */
  markInterrupted(): void {
    this.#isInterrupted = true;
  }

  #hand(message: ReplyMessage): void {
    try {
      this.#take(message);
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      this.#failure ??= error;
    }
  }

  #finish(message: NetlinkMessage): Reply {
    if (this.#failure !== undefined) throw this.#failure;
    const status = { messages: this.#messages, isInterrupted: this.#isInterrupted };
    const detail = extendedAckText(message);
    const errno = message.data.length < 4 ? 0 : Math.abs(message.data.readInt32LE());
    return detail === undefined ? { ...status, errno } : { ...status, errno, detail };
  }
}

/** The messages of one datagram. Throws WireError. */
export function splitMessages(datagram: Buffer): NetlinkMessage[] {
  try {
    return parseMessages(datagram);
  } catch (error) {
    throw new WireError(`Cannot decode netlink message: ${(error as Error).message}`);
  }
}

/**
 * An ERROR carries the errno, then the request's header, and its payload unless capped; a DONE the
 * errno only.
 */
function extendedAckText(message: NetlinkMessage): string | undefined {
  if (message.type === MessageType.ERROR)
    requireLength('netlink error', message.data, 4 + HEADER_BYTES);
  if ((message.flags & FlagsAck.ACK_TLVS) === 0) return undefined;
  let offset = 4;
  if (message.type === MessageType.ERROR) {
    const isCapped = (message.flags & FlagsAck.CAPPED) !== 0;
    offset += isCapped ? HEADER_BYTES : (message.data.readUInt32LE(4) + 3) & ~3;
  }
  if (offset > message.data.length)
    throw new WireError('Cannot decode extended ack: it starts after its message');
  return Attributes.decode(message.data.subarray(offset)).string(NLMSGERR_ATTR_MSG);
}
