// System calls of sockets by this process: Node has no binding for raw ones, nor for ancillary
// data.

import { getSystemErrorName } from 'node:util';
import { loadAddon } from '../../helper/kernel/assets.ts';
import { inNetns, type NetNamespace } from '../../helper/kernel/netns.ts';
import { encodeAddress } from '../../helper/wire/ip-address.ts';

/** linux/socket.h. */
const [AF_INET, SOCK_NONBLOCK] = [2, 0o4000];
/** struct sockaddr_in. */
const ADDRESS_BYTES = 16;

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
  ioctl: libc.func('int ioctl(int fd, unsigned long request, void *argument)'),
  clock_gettime: libc.func('int clock_gettime(int clock, void *time)'),
} as const;

/** Throws Error with the errno's name. */
export function call(name: keyof typeof CALLS, ...args: unknown[]): number {
  const status = CALLS[name](...args);
  if (status < 0) throw new Error(`${name}: ${getSystemErrorName(-koffi.errno())}`);
  return status;
}

/** Where the bytes of a buffer are. */
export const addressOf = (buffer: Uint8Array): bigint => koffi.address(buffer);

/** struct sockaddr_in. */
export function encodeSocketAddress(address: string, port = 0): Buffer {
  const bytes = Buffer.alloc(ADDRESS_BYTES);
  bytes.writeUInt16LE(AF_INET);
  bytes.writeUInt16BE(port, 2);
  encodeAddress(address).copy(bytes, 4);
  return bytes;
}

/** A socket of IPv4 in a namespace, which waits for nothing. */
export const openSocket = (netns: NetNamespace, type: number, protocol = 0): number =>
  inNetns(netns, () => call('socket', AF_INET, type | SOCK_NONBLOCK, protocol));
