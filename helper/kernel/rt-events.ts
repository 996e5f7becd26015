// What the kernel tells of its own accord: devices, qdiscs and routes that come, go or change.

import { Protocol } from 'netlink/dist/constants.js';
import { decodeRtEvents, type RtEvent } from '../wire/rt-event.ts';
import { WireError } from '../wire/attributes.ts';
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

/** A subscription in the namespace of the calling thread. It does not keep the process alive. */
export class RtEvents {
  readonly #socket: NetlinkSocket;

  /**
   * `listener` hears of everything once; when events were lost it hears of one without an index.
   */
  constructor(listener: (event: RtEvent) => void, receiveBufferBytes = RECEIVE_BUFFER_BYTES) {
    this.#socket = new NetlinkSocket(Protocol.ROUTE);
    this.#socket.setReceiveBuffer(receiveBufferBytes);
    const lost = (): void => listener({ kind: 'lost' });
    this.#socket.on('message', (datagram, { port }) => {
      // Any process may send to this socket; the kernel's port is 0.
      if (port !== 0) return;
      for (const event of decoded(datagram)) listener(event);
    });
    this.#socket.on('truncatedMessage', lost);
    this.#socket.on('error', lost);
    this.#socket.onDrops(lost);
    for (const group of GROUPS) this.#socket.addMembership(group);
    this.#socket.unref();
  }

  close(): void {
    this.#socket.close();
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
