// The netlink package's socket, made safe. Its addon calls JavaScript from a loop in C++ that ends
// the process when what it called throws, closes the socket, or leaves a tick behind that throws;
// ARCHITECTURE.md lists every such place. So nothing of ours runs inside that loop: what comes is
// put on a list there, and an immediate hands it on.

import fs from 'node:fs';
import { RawNetlinkSocket, type ErrnoException, type MessageInfo } from 'netlink/dist/raw.js';
import type { Protocol } from 'netlink/dist/constants.js';
import { hasErrno } from '../wire/errors.ts';
import { netlinkPort, setSocketOption, socketDrops } from './ffi.ts';
import { SOL_NETLINK } from './rt-transport.ts';

/** linux/netlink.h. A socket whose buffer is full has no error; what was dropped is counted. */
const NETLINK_NO_ENOBUFS = 5;
/** asm-generic/socket.h. */
const SOL_SOCKET = 1;
const SO_RCVBUF = 8;
const SO_RCVBUFFORCE = 33;

/** Descriptors of the sockets of this process that are open. */
const owned = new Set<number>();

/**
 * A netlink socket of the namespace that the calling thread is in when it is made. It keeps the
 * process alive until `unref`.
 */
export class NetlinkSocket {
  readonly #raw: RawNetlinkSocket;
  readonly #fd: number;
  /** What has come and was not handed on yet. */
  #arrived: (() => void)[] = [];
  #dropped: (() => void) | undefined;
  #drops = 0;
  #isClosed = false;

  /**
   * The size of each datagram is asked for first, unless `datagramBytes` says how large they may
   * be: for lists the kernel then fills datagrams of that size, up to 32 KiB. Throws KernelError,
   * or the package's ErrnoException when there is no socket to be had.
   */
  constructor(protocol: Protocol, datagramBytes?: number) {
    // Sizes of zero leave the kernel's.
    const sizes = { recvBufferSize: 0, sendBufferSize: 0 };
    const options =
      datagramBytes === undefined
        ? sizes
        : { ...sizes, messagePeeking: false, msgBufferSize: datagramBytes };
    this.#raw = new RawNetlinkSocket(protocol, options);
    try {
      this.#fd = descriptorOfPort(this.#raw.address().port);
      // The addon does not survive an error that poll(2) tells it of, and a full buffer would be
      // one.
      setSocketOption(this.#fd, SOL_NETLINK, NETLINK_NO_ENOBUFS, 1);
    } catch (error) {
      this.#raw.close();
      throw error;
    }
    owned.add(this.#fd);
    // Without any listener the package would throw an error, in the addon's loop.
    this.on('error', () => undefined);
  }

  /**
   * `message` for what one read gave, `truncatedMessage` when it gave less than there was, `error`
   * when it failed.
   */
  on(
    event: 'message' | 'truncatedMessage',
    listener: (datagram: Buffer, info: MessageInfo) => void,
  ): void;
  on(event: 'error', listener: (error: ErrnoException) => void): void;
  on(event: 'message' | 'truncatedMessage' | 'error', listener: (...args: never[]) => void): void {
    const receive = (...args: unknown[]): void => this.#later(() => listener(...(args as never[])));
    this.#raw.on(event as 'message', receive);
  }

  /** Calls `listener` after the kernel has dropped something for want of room. */
  onDrops(listener: () => void): void {
    this.#dropped = listener;
    this.#drops = socketDrops(this.#fd);
  }

  /** Makes room for what was not read yet, beyond net.core.rmem_max where that is allowed. */
  setReceiveBuffer(bytes: number): void {
    try {
      this.setOption(SOL_SOCKET, SO_RCVBUFFORCE, bytes);
    } catch (error) {
      if (!hasErrno(error, 'EPERM')) throw error;
      this.setOption(SOL_SOCKET, SO_RCVBUF, bytes);
    }
  }

  /** setsockopt(2) of an option whose value is an int. Throws KernelError. */
  setOption(level: number, option: number, value: number): void {
    setSocketOption(this.#fd, level, option, value);
  }

  addMembership(group: number): void {
    this.#raw.addMembership(group);
  }

  dropMembership(group: number): void {
    this.#raw.dropMembership(group);
  }

  /**
   * Sends to the kernel. `done` gets the error with which sendmsg(2) failed, if it did; it is not
   * called after `close`.
   */
  send(datagram: Buffer, done: (error?: ErrnoException) => void): void {
    this.#raw.send(datagram, {}, (error) => this.#later(() => done(error)));
  }

  ref(): void {
    if (!this.#isClosed) this.#raw.ref();
  }

  unref(): void {
    if (!this.#isClosed) this.#raw.unref();
  }

  /** No listener is called any more. A second call does nothing. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#arrived = [];
    owned.delete(this.#fd);
    this.#raw.close();
  }

  #later(deliver: () => void): void {
    if (this.#arrived.push(deliver) === 1) setImmediate(() => this.#handOn());
  }

  #handOn(): void {
    const arrived = this.#arrived;
    this.#arrived = [];
    for (const deliver of arrived) if (!this.#isClosed) deliver();
    if (this.#dropped === undefined || this.#isClosed) return;
    // A full buffer holds something that is still to be read, so this comes after each drop.
    const drops = socketDrops(this.#fd);
    if (drops === this.#drops) return;
    this.#drops = drops;
    this.#dropped();
  }
}

/**
 * The package keeps its descriptor to itself, but gives the port, by which the socket is found.
 * Ports are unique within a namespace only: those of other namespaces are known already.
 */
function descriptorOfPort(port: number): number {
  const fds = fs.readdirSync('/proc/self/fd').map(Number);
  const fd = fds.find((candidate) => !owned.has(candidate) && netlinkPort(candidate) === port);
  if (fd === undefined) throw new Error(`Cannot find the netlink socket with port ${port}`);
  return fd;
}
