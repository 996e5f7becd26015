// The netlink package's raw socket, and the socket options that the package cannot set.

import fs from 'node:fs';
import { Protocol } from 'netlink/dist/constants.js';
import { RawNetlinkSocket } from 'netlink/dist/raw.js';
import type { ErrnoException, MessageInfo } from 'netlink/dist/raw.js';
import { netlinkPort, setSocketOption } from './ffi.ts';

/** The part of a RawNetlinkSocket that an RtSocket uses. */
export interface RtTransport {
  on(event: 'message' | 'truncatedMessage', listener: (datagram: Buffer, info: MessageInfo) => void): unknown;
  on(event: 'error', listener: (error: ErrnoException) => void): unknown;
  send(datagram: Buffer, options: object, callback: (error?: ErrnoException) => void): void;
  ref(): void;
  unref(): void;
  close(): void;
}

/** linux/netlink.h; the number of SOL_NETLINK is in linux/socket.h. */
const SOL_NETLINK = 270;
/** Errors come without a copy of the request. */
const NETLINK_CAP_ACK = 10;
/** Errors come with the kernel's text. */
const NETLINK_EXT_ACK = 11;
/** Lists are filtered by the kernel, and a filter that it does not know is an error. */
const NETLINK_GET_STRICT_CHK = 12;

/** Opens a socket in the namespace of the calling thread: NETLINK_ROUTE, or of another protocol with such requests. */
export function openRtTransport(protocol: Protocol = Protocol.ROUTE): RtTransport {
  const socket = new RawNetlinkSocket(protocol);
  try {
    for (const fd of descriptorsOfPort(socket.address().port)) {
      for (const option of [NETLINK_CAP_ACK, NETLINK_EXT_ACK, NETLINK_GET_STRICT_CHK]) {
        setSocketOption(fd, SOL_NETLINK, option, 1);
      }
    }
  } catch (error) {
    socket.close();
    throw error;
  }
  return socket;
}

/**
 * The package keeps its descriptor to itself, but gives the port, by which the socket is found. Ports are unique
 * within a namespace only, so in a process that opened a thousand sockets another one may have the same:
 * it is one of these too, and has the options already.
 */
function descriptorsOfPort(port: number): number[] {
  return fs
    .readdirSync('/proc/self/fd')
    .map(Number)
    .filter((fd) => netlinkPort(fd) === port);
}
