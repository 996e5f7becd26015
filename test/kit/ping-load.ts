// Echo requests out of a network namespace, as fast as they are asked for: no program at hand
// offers more than it has answers to.

import fs from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ExecutionContext } from 'ava';
import type { NetNamespace } from '../../helper/kernel/netns.ts';
import { checksum } from './checksum.ts';
import { CALLS, encodeSocketAddress, openSocket } from './libc.ts';

/** linux/socket.h, linux/in.h. */
const [SOCK_RAW, IPPROTO_ICMP] = [3, 1];
const ECHO_REQUEST = 8;
/** Ethernet and IPv4. */
const HEADER_BYTES = 14 + 20;
const TICK_MS = 5;

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
  const fd = openSocket(netns, SOCK_RAW, IPPROTO_ICMP);
  t.teardown(() => fs.closeSync(fd));
  const address = encodeSocketAddress(to);
  const message = Buffer.alloc(messageBytes);
  message[0] = ECHO_REQUEST;
  message.writeUInt16BE(checksum(message), 2);
  const beginMs = performance.now();
  for (let sent = 0, elapsedMs = 0; elapsedMs < ms; await sleep(TICK_MS)) {
    elapsedMs = Math.min(performance.now() - beginMs, ms);
    const due = (elapsedMs * bitsPerSec) / 8000 / pingFrameBytes(messageBytes);
    // A full socket drops, as it would anybody's.
    for (; sent < due; sent += 1)
      CALLS.sendto(fd, message, message.length, 0, address, address.length);
  }
}
