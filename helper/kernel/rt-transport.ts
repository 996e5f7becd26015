// What an RtSocket sends requests by.

import { Protocol } from 'netlink/dist/constants.js';
import type { ErrnoException, MessageInfo } from 'netlink/dist/raw.js';
import { NetlinkSocket, SOL_NETLINK } from './netlink-socket.ts';

/** The part of a NetlinkSocket that an RtSocket uses. */
export interface RtTransport {
  on(
    event: 'message' | 'truncatedMessage',
    listener: (datagram: Buffer, info: MessageInfo) => void,
  ): unknown;
  on(event: 'error', listener: (error: ErrnoException) => void): unknown;
  send(datagram: Buffer, done: (error?: ErrnoException) => void): void;
  ref(): void;
  unref(): void;
  close(): void;
}

/** linux/netlink.h. Errors come without a copy of the request. */
const NETLINK_CAP_ACK = 10;
/** Errors come with the kernel's text. */
const NETLINK_EXT_ACK = 11;
/** Lists are filtered by the kernel, and a filter that it does not know is an error. */
const NETLINK_GET_STRICT_CHK = 12;

/**
 * The kernel makes none larger. A list in few of them is seldom interrupted, and a device takes 1.4
 * KiB.
 */
const DATAGRAM_BYTES = 32 * 1024;

/**
 * Opens a socket in the namespace of the calling thread: NETLINK_ROUTE, or of another protocol with
 * such requests.
 */
export function openRtTransport(protocol: Protocol = Protocol.ROUTE): RtTransport {
  const socket = new NetlinkSocket(protocol, DATAGRAM_BYTES);
  try {
    for (const option of [NETLINK_CAP_ACK, NETLINK_EXT_ACK, NETLINK_GET_STRICT_CHK])
      socket.setOption(SOL_NETLINK, option, 1);
  } catch (error) {
    socket.close();
    throw error;
  }
  return socket;
}
