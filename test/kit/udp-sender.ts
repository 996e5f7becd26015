// A UDP socket of this process in a network namespace that sends many datagrams with one call. To
// have Node send each by itself is most of what a load costs on an emulated processor.

import fs from 'node:fs';
import { getSystemErrorName } from 'node:util';
import type { NetNamespace } from '../../helper/kernel/netns.ts';
import { AF_INET, AF_INET6 } from '../../helper/wire/ip-address.ts';
import type { Teardown } from '../bed/undo.ts';
import { addressOf, call, CALLS, encodeSocketAddress, errnoOfCall, openSocket } from './libc.ts';

/** linux/socket.h, linux/in.h. */
const [SOCK_DGRAM, IPPROTO_IP, IP_TTL] = [2, 0, 2];
/** Sizes of struct iovec and mmsghdr, and where msg_iov stands in the latter: 64 bits. */
const [VECTOR_BYTES, MESSAGE_BYTES, VECTOR_AT] = [16, 64, 16];
const MESSAGES_AT_ONCE = 64;

/** Datagrams to send now. */
export interface Datagrams {
  readonly to: string;
  readonly port: number;
  /** All zero. */
  readonly payloadBytes: number;
  /** One when absent. */
  readonly count?: number;
}

/** What sendmmsg is given for datagrams that are all alike; the messages point into the rest. */
interface Batch {
  readonly messages: Buffer;
  readonly pointedTo: readonly Buffer[];
}

function makeBatch({ to, port, payloadBytes }: Datagrams): Batch {
  const [address, payload] = [encodeSocketAddress(to, port), Buffer.alloc(payloadBytes)];
  const vector = Buffer.alloc(VECTOR_BYTES);
  vector.writeBigUInt64LE(addressOf(payload), 0);
  vector.writeBigUInt64LE(BigInt(payloadBytes), 8);
  const messages = Buffer.alloc(MESSAGES_AT_ONCE * MESSAGE_BYTES);
  for (let at = 0; at < messages.length; at += MESSAGE_BYTES) {
    messages.writeBigUInt64LE(addressOf(address), at);
    messages.writeUInt32LE(address.length, at + 8);
    messages.writeBigUInt64LE(addressOf(vector), at + VECTOR_AT);
    messages.writeBigUInt64LE(1n, at + VECTOR_AT + 8);
  }
  return { messages, pointedTo: [address, payload, vector] };
}

/** A socket of one family. */
export class UdpSender {
  readonly #fd: number;
  readonly #fail: (message: string) => void;
  readonly #batches = new Map<string, Batch>();

  /** Closed with `t`; `fail` is told why something could not be sent. */
  constructor(t: Teardown, netns: NetNamespace, family: 4 | 6, fail: (message: string) => void) {
    this.#fd = openSocket(netns, SOCK_DGRAM, 0, family === 4 ? AF_INET : AF_INET6);
    this.#fail = fail;
    t.teardown(() => fs.closeSync(this.#fd));
  }

  /** Of IPv4 packets from now on. */
  setTTL(ttl: number): void {
    const value = Buffer.alloc(4);
    value.writeInt32LE(ttl);
    call('setsockopt', this.#fd, IPPROTO_IP, IP_TTL, value, value.length);
  }

  /** Sends datagrams, one right after the other. A full socket drops, as it would anybody's. */
  send(datagrams: Datagrams): void {
    const { to, port, payloadBytes, count = 1 } = datagrams;
    const key = `${to} ${port} ${payloadBytes}`;
    const batch = this.#batches.get(key) ?? makeBatch(datagrams);
    this.#batches.set(key, batch);
    for (let left = count; left > 0;) {
      const [some, flags] = [Math.min(left, MESSAGES_AT_ONCE), 0];
      const sent = CALLS.sendmmsg(this.#fd, batch.messages, some, flags);
      if (sent < 0) {
        const name = getSystemErrorName(-errnoOfCall());
        if (name !== 'EAGAIN' && name !== 'ENOBUFS') this.#fail(`a sender: sendmmsg: ${name}`);
        return;
      }
      left -= sent;
    }
  }
}
