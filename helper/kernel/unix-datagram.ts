// Datagrams to a unix socket, for which Node has no binding.

import { closing } from './descriptors.ts';
import { check, libc } from './libc.ts';

/** linux/socket.h and asm-generic/fcntl.h. */
const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const MSG_NOSIGNAL = 0x4000;

/** Bytes of sun_path in linux/un.h. */
const MAX_PATH = 108;

/** A struct sockaddr_un: a path, or behind `@` a name of the abstract namespace (unix(7)). */
function socketAddress(place: string): Buffer {
  const name = Buffer.from(place.startsWith('@') ? `\0${place.slice(1)}` : place);
  if (name.length > MAX_PATH)
    throw new RangeError(`The name of a socket is longer than ${MAX_PATH} bytes: ${place}`);
  const family = Buffer.alloc(2);
  // Of the machine's byte order; podpace runs on little-endian ones.
  family.writeUInt16LE(AF_UNIX);
  return Buffer.concat([family, name]);
}

/**
 * Sends one datagram, without waiting where its receiver's queue is full. Throws KernelError when it
 * cannot be handed over, RangeError for a place that is none.
 */
export function sendDatagram(place: string, text: string): void {
  const address = socketAddress(place);
  const kind = SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC;
  const fd = check('make a unix socket', libc.socket(AF_UNIX, kind, 0));
  closing(fd, () => {
    check(`reach ${place}`, libc.connect(fd, address, address.length));
    const bytes = Buffer.from(text);
    check(`send to ${place}`, libc.send(fd, bytes, bytes.length, MSG_NOSIGNAL));
  });
}
