// UDP out of network namespaces, as much as is asked for.

import { setTimeout as sleep } from 'node:timers/promises';
import type { ExecutionContext } from 'ava';
import type { NetNamespace } from '../../helper/kernel/netns.ts';
import { UdpSender } from './udp-sender.ts';

/** A full Ethernet frame of UDP over IPv4, without its checksum, and what it carries. */
export const FRAME_BYTES = 1514;
const HEADER_BYTES = 14 + 20 + 8;
const PAYLOAD_BYTES = FRAME_BYTES - HEADER_BYTES;
/**
 * The discard port. Nobody listens there; what the receiver says of it disturbs no socket that is
 * not connected.
 */
const PORT = 9;
const TICK_MS = 5;

export interface Flow {
  readonly socket: UdpSender;
  readonly to: string;
  /** On the wire, layer 2, of datagrams that are not fragmented. */
  readonly bitsPerSec: number;
  /** Of a datagram; absent: that of a full frame. */
  readonly payloadBytes?: number;
}

/** A socket in a namespace, closed after the test, which fails with it. */
export const openSender = (
  t: ExecutionContext,
  netns: NetNamespace,
  family: 4 | 6 = 4,
): UdpSender => new UdpSender(t, netns, family, (message) => t.fail(message));

/**
 * Sends datagrams by all flows for so many milliseconds. Resolves with the longest time in between
 * in which it sent nothing: this process is also the one that compiles, collects garbage and waits
 * for files.
 */
export async function sendAll(flows: readonly Flow[], durationMs: number): Promise<number> {
  const beginMs = performance.now();
  let [longestPauseMs, lastMs] = [0, 0];
  const sent = flows.map(() => 0);
  for (let elapsedMs = 0; elapsedMs < durationMs;) {
    elapsedMs = Math.min(performance.now() - beginMs, durationMs);
    longestPauseMs = Math.max(longestPauseMs, elapsedMs - lastMs);
    lastMs = elapsedMs;
    for (const [index, flow] of flows.entries()) {
      const { socket, to, bitsPerSec, payloadBytes = PAYLOAD_BYTES } = flow;
      const due = Math.floor((elapsedMs * bitsPerSec) / 8000 / (payloadBytes + HEADER_BYTES));
      socket.send({ to, port: PORT, payloadBytes, count: due - (sent[index] ?? 0) });
      sent[index] = due;
    }
    await sleep(TICK_MS);
  }
  return longestPauseMs;
}
