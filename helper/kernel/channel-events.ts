// Devices whose number of queues in use changes, as `ethtool -L` does it.

import { Flags, Protocol } from 'netlink/dist/constants.js';
import { formatMessage } from 'netlink/dist/structs.js';
import { WireError } from '../wire/attributes.ts';
import {
  ETHTOOL_FAMILY,
  GENL_ID_CTRL,
  decodeChannelEvents,
  decodeFamily,
  encodeFamilyQuery,
  type ChannelEvent,
} from '../wire/ethtool-message.ts';
import { ReplyCollector } from '../wire/netlink-reply.ts';
import { NetlinkSocket } from './netlink-socket.ts';

export type { ChannelEvent } from '../wire/ethtool-message.ts';

const SEQUENCE = 1;

/**
 * A subscription in the namespace of the calling thread. It does not keep the process alive. A
 * kernel without ethtool over netlink (CONFIG_ETHTOOL_NETLINK) tells nothing.
 */
export class ChannelEvents {
  readonly #socket = new NetlinkSocket(Protocol.GENERIC);
  readonly #listener: (event: ChannelEvent) => void;
  readonly #answer = new ReplyCollector(SEQUENCE);
  /** Number of the family, once the kernel has said it. */
  #family: number | undefined;

  constructor(listener: (event: ChannelEvent) => void) {
    this.#listener = listener;
    this.#socket.on('message', (datagram, { port }) => {
      // Any process may send to this socket; the kernel's port is 0.
      if (port === 0) this.#receive(datagram);
    });
    // What is lost here is a line of the log: a device's qdiscs and programs are looked after by
    // others.
    const query = {
      type: GENL_ID_CTRL,
      flags: Flags.REQUEST | Flags.ACK,
      seq: SEQUENCE,
      port: 0,
      data: encodeFamilyQuery(ETHTOOL_FAMILY),
    };
    this.#socket.send(Buffer.concat(formatMessage(query)), () => undefined);
    this.#socket.unref();
  }

  close(): void {
    this.#socket.close();
  }

  #receive(datagram: Buffer): void {
    try {
      if (this.#family === undefined) return this.#subscribe(datagram);
      for (const event of decodeChannelEvents(datagram, this.#family)) this.#listener(event);
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
    }
  }

  #subscribe(datagram: Buffer): void {
    const message = this.#answer.push(datagram)?.messages[0];
    if (message === undefined) return;
    const { id, monitorGroup } = decodeFamily(message.payload);
    if (monitorGroup === undefined) return;
    this.#family = id;
    this.#socket.addMembership(monitorGroup);
  }
}
