// System calls of sockets by this process: Node has no binding for raw ones, nor for ancillary
// data.

import { getSystemErrorName } from 'node:util';
import { loadAddon } from '../../helper/kernel/assets.ts';
import { inNetns, type NetNamespace } from '../../helper/kernel/netns.ts';
import { addressFamily, AF_INET, AF_INET6, encodeAddress } from '../../helper/wire/ip-address.ts';

/** linux/socket.h. */
const SOCK_NONBLOCK = 0o4000;
/** Of struct sockaddr_in and sockaddr_in6, with where the address stands. */
const SOCKET_ADDRESSES = {
  [AF_INET]: { bytes: 16, at: 4 },
  [AF_INET6]: { bytes: 28, at: 8 },
} as const;

interface Koffi {
  load(path: string | null): { func(prototype: string): (...args: unknown[]) => number };
  errno(): number;
  address(buffer: Uint8Array): bigint;
}

const koffi = loadAddon('koffi.node') as Koffi;
const libc = koffi.load(null);
export const CALLS = {
  socket: libc.func('int socket(int domain, int type, int protocol)'),
  bind: libc.func('int bind(int fd, void *address, unsigned int size)'),
  setsockopt: libc.func(
    'int setsockopt(int fd, int level, int option, void *value, unsigned int size)',
  ),
  sendto: libc.func(
    'long sendto(int fd, void *data, ulong size, int flags, void *to, unsigned int length)',
  ),
  sendmsg: libc.func('long sendmsg(int fd, void *message, int flags)'),
  sendmmsg: libc.func('int sendmmsg(int fd, void *messages, unsigned int count, int flags)'),
  ioctl: libc.func('int ioctl(int fd, unsigned long request, void *argument)'),
  clock_gettime: libc.func('int clock_gettime(int clock, void *time)'),
} as const;

/** Of the call that has just failed. */
export const errnoOfCall = (): number => koffi.errno();

/** Throws Error with the errno's name. */
export function call(name: keyof typeof CALLS, ...args: unknown[]): number {
  const status = CALLS[name](...args);
  if (status < 0) throw new Error(`${name}: ${getSystemErrorName(-errnoOfCall())}`);
  return status;
}

/** Where the bytes of a buffer are. */
export const addressOf = (buffer: Uint8Array): bigint => koffi.address(buffer);

/** struct sockaddr_in or sockaddr_in6. */
export function encodeSocketAddress(address: string, port = 0): Buffer {
  const family = addressFamily(address);
  const { bytes, at } = SOCKET_ADDRESSES[family];
  const encoded = Buffer.alloc(bytes);
  encoded.writeUInt16LE(family);
  encoded.writeUInt16BE(port, 2);
  encodeAddress(address).copy(encoded, at);
  return encoded;
}

/** A socket in a namespace, which waits for nothing; of IPv4 unless another family is named. */
export const openSocket = (
  netns: NetNamespace,
  type: number,
  protocol = 0,
  family: number = AF_INET,
): number => inNetns(netns, () => call('socket', family, type | SOCK_NONBLOCK, protocol));
