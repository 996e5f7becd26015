// What the kernel tells of its own accord: devices, qdiscs and routes that come, go or change.

import { Flags, MessageType, Protocol } from 'netlink/dist/constants.js';
import { formatMessage } from 'netlink/dist/structs.js';
import { decodeRtEvents, type RtEvent } from '../wire/rt-event.ts';
import { WireError } from '../wire/attributes.ts';
import { splitMessages } from '../wire/netlink-reply.ts';
import { NetlinkSocket } from './netlink-socket.ts';

export type { RtEvent } from '../wire/rt-event.ts';

/**
 * RTNLGRP_* of linux/rtnetlink.h: links, qdiscs and filters, IPv4 routes, IPv6 routes, nexthop
 * objects.
 */
const GROUPS = [1, 4, 7, 11, 32] as const;

/**
 * Enough for some thousand events that come while the helper is busy; the kernel uses as much as
 * there is to hold.
 */
const RECEIVE_BUFFER_BYTES = 8 * 1024 * 1024;

/** The kernel answers at once, unless there is no room for the answer. */
const SETTLE_DEADLINE_MS = 1000;

/** A subscription in the namespace of the calling thread. It does not keep the process alive. */
export class RtEvents {
  readonly #socket: NetlinkSocket;
  readonly #lost: () => void;
  /** Whoever waits for the answer to a request, by its sequence number. */
  readonly #waiting = new Map<number, () => void>();
  #sequence = 0;
  #isClosed = false;

  /**
   * `listener` hears of everything once; when events were lost it hears of one without an index.
   */
  constructor(listener: (event: RtEvent) => void, receiveBufferBytes = RECEIVE_BUFFER_BYTES) {
    this.#socket = new NetlinkSocket(Protocol.ROUTE);
    this.#socket.setReceiveBuffer(receiveBufferBytes);
    const lost = (): void => listener({ kind: 'lost' });
    this.#lost = lost;
    this.#socket.on('message', (datagram, { port }) => {
      // Any process may send to this socket; the kernel's port is 0.
      if (port !== 0) return;
      for (const event of decoded(datagram)) listener(event);
      if (this.#waiting.size > 0) this.#answer(datagram);
    });
    this.#socket.on('truncatedMessage', lost);
    this.#socket.on('error', lost);
    this.#socket.onDrops(lost);
    for (const group of GROUPS) this.#socket.addMembership(group);
    this.#socket.unref();
  }

  /**
   * Resolves when the listener has heard of all that happened before: the kernel's answer to a
   * message that asks for nothing else comes behind it. Where there is none something was lost.
   */
  settle(): Promise<void> {
    if (this.#isClosed) return Promise.resolve();
    this.#sequence = (this.#sequence + 1) >>> 0;
    const seq = this.#sequence;
    const nothing = { type: MessageType.NOOP, flags: Flags.REQUEST | Flags.ACK };
    const message = formatMessage({ ...nothing, seq, port: 0, data: Buffer.alloc(0) });
    return new Promise((resolve) => {
      const end = (): void => {
        clearTimeout(deadline);
        this.#waiting.delete(seq);
        resolve();
      };
      const giveUp = (): void => {
        this.#lost();
        end();
      };
      const deadline = setTimeout(giveUp, SETTLE_DEADLINE_MS);
      this.#waiting.set(seq, end);
      this.#socket.send(Buffer.concat(message), (error) => {
        if (error !== undefined && this.#waiting.has(seq)) giveUp();
      });
    });
  }

  close(): void {
    this.#isClosed = true;
    this.#socket.close();
    for (const end of this.#waiting.values()) end();
  }

  #answer(datagram: Buffer): void {
    for (const { type, seq } of messagesOf(datagram))
      if (type === MessageType.ERROR) this.#waiting.get(seq)?.();
  }
}

/** Of what is no message nothing is an answer. */
function messagesOf(datagram: Buffer): ReturnType<typeof splitMessages> {
  try {
    return splitMessages(datagram);
  } catch (error) {
    if (!(error instanceof WireError)) throw error;
    return [];
  }
}

function decoded(datagram: Buffer): readonly RtEvent[] {
  try {
    return decodeRtEvents(datagram);
  } catch (error) {
    if (!(error instanceof WireError)) throw error;
    return [{ kind: 'lost' }];
  }
}
