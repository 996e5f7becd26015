// Requests to rtnetlink without the event loop: the kernel has answered when send(2) returns, and
// goes on with a list at each read. The process stands still for as long as the kernel takes, which
// is all that a CNI call would do meanwhile. The helper, which has others to serve, uses open-rt.ts
// but for a request or two in a pod's namespace: a socket of that kind takes longer to open.

import fs from 'node:fs';
import { check, failedWith, libc } from './libc.ts';
import { setSocketOption } from './ffi.ts';
import { inNetns, type NetNamespace } from './netns.ts';
import { DATAGRAM_BYTES, RT_OPTIONS, SOL_NETLINK, type RtTransport } from './rt-transport.ts';
import { RtSocket } from './rtnetlink.ts';
import { U32 } from '../wire/struct.ts';

/** linux/socket.h, linux/net.h. */
const AF_NETLINK = 16;
const SOCK_RAW = 3;
const SOCK_CLOEXEC = 0o2000000;
const MSG_TRUNC = 0x20;
const MSG_DONTWAIT = 0x40;
/** linux/netlink.h. */
const NETLINK_ROUTE = 0;
/** struct sockaddr_nl, and where the port is in it. */
const ADDRESS_BYTES = 12;
const PORT_AT = 4;

/** What is read, and where it comes from: most answers are a hundredth as long. */
const DATAGRAM = Buffer.allocUnsafeSlow(DATAGRAM_BYTES);
const ADDRESS = Buffer.alloc(ADDRESS_BYTES);

type Datagram = (datagram: Buffer, info: { readonly port: number }) => void;
type Failure = (error: { readonly code: string }) => void;

class BlockingTransport implements RtTransport {
  readonly #fd: number;
  readonly #listeners: { message?: Datagram; truncatedMessage?: Datagram; error?: Failure } = {};
  #isClosed = false;

  /** A socket in the namespace of the calling thread; the kernel gives it a port of its own. */
  constructor() {
    const fd = libc.socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    this.#fd = check('open a netlink socket', fd);
    try {
      for (const option of Object.values(RT_OPTIONS)) setSocketOption(fd, SOL_NETLINK, option, 1);
    } catch (error) {
      this.close();
      throw error;
    }
  }

  on(event: 'message' | 'truncatedMessage', listener: Datagram): void;
  on(event: 'error', listener: Failure): void;
  on(event: 'message' | 'truncatedMessage' | 'error', listener: Datagram & Failure): void {
    this.#listeners[event] = listener;
  }

  /** Listeners have been told all of the answer, unless one of them has closed this, on return. */
  send(datagram: Buffer, done: Failure): void {
    const sent = libc.send(this.#fd, datagram, datagram.length, 0);
    if (sent < 0) return done({ code: failedWith() });
    while (!this.#isClosed && this.#receive());
  }

  /** Nothing of it is in the event loop. */
  ref(): void {}
  unref(): void {}

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    fs.closeSync(this.#fd);
  }

  /** Hands on what one read gives; false when there is nothing to read. */
  #receive(): boolean {
    const flags = MSG_DONTWAIT | MSG_TRUNC;
    const size = U32.encode(ADDRESS_BYTES);
    const length = libc.recvfrom(this.#fd, DATAGRAM, DATAGRAM.length, flags, ADDRESS, size);
    const { message, truncatedMessage, error } = this.#listeners;
    if (length < 0) {
      const code = failedWith();
      if (code !== 'EAGAIN') error?.({ code });
      // A list of which something was lost goes on.
      return code === 'ENOBUFS';
    }
    const take = length > DATAGRAM.length ? truncatedMessage : message;
    // Whoever takes it may keep it, and the next one is read into the same place.
    const bytes = Buffer.from(DATAGRAM.subarray(0, length));
    take?.(bytes, { port: ADDRESS.readUInt32LE(PORT_AT) });
    return true;
  }
}

/** A NETLINK_ROUTE socket in `netns`, or in the namespace of the calling thread. */
export function openBlockingRt(netns?: NetNamespace): RtSocket {
  const open = (): RtSocket => new RtSocket(new BlockingTransport());
  return netns === undefined ? open() : inNetns(netns, open);
}
