// Echo requests out of a network namespace, as fast as they are asked for: no program at hand
// offers more than it has answers to.

import { setTimeout as sleep } from 'node:timers/promises';
import { getSystemErrorName } from 'node:util';
import type { ExecutionContext } from 'ava';
import { loadAddon } from '../../helper/kernel/assets.ts';
import { inNetns, type NetNamespace } from '../../helper/kernel/netns.ts';
import { encodeAddress } from '../../helper/wire/ip-address.ts';

/** linux/socket.h, linux/in.h. */
const [AF_INET, SOCK_RAW, SOCK_NONBLOCK, IPPROTO_ICMP] = [2, 3, 0o4000, 1];
const ECHO_REQUEST = 8;
const ADDRESS_BYTES = 16;
/** Ethernet and IPv4. */
const HEADER_BYTES = 14 + 20;
const TICK_MS = 5;

interface Koffi {
  load(path: string | null): { func(prototype: string): (...args: unknown[]) => number };
  errno(): number;
}

const koffi = loadAddon('koffi.node') as Koffi;
const libc = koffi.load(null);
const socket = libc.func('int socket(int domain, int type, int protocol)');
const sendto = libc.func(
  'long sendto(int fd, void *data, ulong size, int flags, void *to, unsigned int length)',
);
const close = libc.func('int close(int fd)');

/** RFC 1071. */
function checksum(bytes: Buffer): number {
  let sum = 0;
  for (let at = 0; at < bytes.length; at += 2) sum += bytes.readUInt16BE(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

/** Bytes of the frame of an echo request of so many bytes. */
export function pingFrameBytes(messageBytes: number): number {
  return HEADER_BYTES + messageBytes;
}

/** Sends echo requests of so many bytes to an IPv4 address for a time; bits are those of frames. */
export async function sendPings(
  t: ExecutionContext,
  netns: NetNamespace,
  {
    to,
    bitsPerSec,
    messageBytes,
    ms,
  }: { to: string; bitsPerSec: number; messageBytes: number; ms: number },
): Promise<void> {
  const fd = inNetns(netns, () => socket(AF_INET, SOCK_RAW | SOCK_NONBLOCK, IPPROTO_ICMP));
  if (fd < 0) throw new Error(`socket: ${getSystemErrorName(-koffi.errno())}`);
  t.teardown(() => void close(fd));
  const address = Buffer.alloc(ADDRESS_BYTES);
  address.writeUInt16LE(AF_INET);
  encodeAddress(to).copy(address, 4);
  const message = Buffer.alloc(messageBytes);
  message[0] = ECHO_REQUEST;
  message.writeUInt16BE(checksum(message), 2);
  const beginMs = performance.now();
  for (let sent = 0, elapsedMs = 0; elapsedMs < ms; await sleep(TICK_MS)) {
    elapsedMs = Math.min(performance.now() - beginMs, ms);
    const due = (elapsedMs * bitsPerSec) / 8000 / pingFrameBytes(messageBytes);
    // A full socket drops, as it would anybody's.
    for (; sent < due; sent += 1) sendto(fd, message, message.length, 0, address, address.length);
  }
}
