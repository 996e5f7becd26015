// What the kernel tells of its own accord: devices, qdiscs and routes that come, go or change.

import { Protocol } from 'netlink/dist/constants.js';
import { RawNetlinkSocket } from 'netlink/dist/raw.js';
import { decodeRtEvents, type RtEvent } from '../wire/rt-event.ts';
import { WireError } from '../wire/attributes.ts';

export type { RtEvent } from '../wire/rt-event.ts';

/** RTNLGRP_* of linux/rtnetlink.h: links, qdiscs and filters, IPv4 routes, IPv6 routes. */
const GROUPS = [1, 4, 7, 11] as const;

/** Enough for the events of some thousand devices that come at once; the kernel bounds it by net.core.rmem_max. */
const RECEIVE_BUFFER_BYTES = 4 * 1024 * 1024;
const SEND_BUFFER_BYTES = 4096;

/** A subscription in the namespace of the calling thread. It does not keep the process alive. */
export class RtEvents {
  readonly #socket: RawNetlinkSocket;

  /** `listener` hears of everything once; when events were lost it hears of one without an index. */
  constructor(listener: (event: RtEvent) => void) {
    const options = { recvBufferSize: RECEIVE_BUFFER_BYTES, sendBufferSize: SEND_BUFFER_BYTES };
    this.#socket = new RawNetlinkSocket(Protocol.ROUTE, options);
    for (const group of GROUPS) this.#socket.addMembership(group);
    const lost = (): void => listener({ kind: 'lost' });
    this.#socket.on('message', (datagram, { port }) => {
      // Any process may send to this socket; the kernel's port is 0.
      if (port !== 0) return;
      try {
        for (const event of decodeRtEvents(datagram)) listener(event);
      } catch (error) {
        if (!(error instanceof WireError)) throw error;
        lost();
      }
    });
    this.#socket.on('truncatedMessage', lost);
    // ENOBUFS: more came than was read.
    this.#socket.on('error', lost);
    this.#socket.unref();
  }

  close(): void {
    // Not at once: the caller may stand inside the addon's receive loop, which goes on to use what close frees.
    setImmediate(() => this.#socket.close());
  }
}
