// Datagrams whose socket says when they are to leave (SO_TXTIME), and the kernel's word on when
// each has come.
//
// By system calls of this process: Node has no binding for ancillary data, and no program at hand
// asks for a time.

import fs from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { openNetns } from '../../helper/kernel/netns.ts';
import { addressOf, call, CALLS, encodeSocketAddress, openSocket } from './libc.ts';

/** linux/time.h. By another clock than the monotonic one only CAP_NET_ADMIN may ask. */
const CLOCK_IDS = { CLOCK_REALTIME: 0, CLOCK_MONOTONIC: 1, CLOCK_TAI: 11 } as const;
/** Those by which a socket may ask on every kernel. */
export type TxtimeClock = 'CLOCK_MONOTONIC' | 'CLOCK_TAI';

/** linux/socket.h, asm-generic/socket.h, asm-generic/sockios.h. */
const SOCK_DGRAM = 2;
const SOL_SOCKET = 1;
const SO_PRIORITY = 12;
const SO_TXTIME = 61;
const SIOCGSTAMPNS = 0x8907;

/**
 * Sizes of struct timespec, sock_txtime, iovec, cmsghdr with a u64 behind it, and
 * msghdr: 64 bits.
 */
const SIZES = { time: 16, option: 8, vector: 16, control: 24, message: 56 } as const;

/** How long nothing more may come before all has come: longer than any horizon. */
const CALM_MS = 500;
const POLL_MS = 10;
const BEGIN_MS = 100;
const MAX_DATAGRAM = 65_536;
const PORT = 5999;

function decodeTime(bytes: Buffer): bigint {
  return bytes.readBigInt64LE(0) * 1_000_000_000n + bytes.readBigInt64LE(8);
}

/** What a clock shows, in ns. */
export function readClock(clock: keyof typeof CLOCK_IDS): bigint {
  const time = Buffer.alloc(SIZES.time);
  call('clock_gettime', CLOCK_IDS[clock], time);
  return decodeTime(time);
}

/** A socket in the namespace at a path. */
function openDatagrams(netns: string): number {
  const place = openNetns(netns);
  try {
    return openSocket(place, SOCK_DGRAM);
  } finally {
    place.close();
  }
}

/** Datagrams to send at once, one right after the other. */
export interface Datagrams {
  /** Path of the sender's namespace. */
  readonly from: string;
  /** Path of the receiver's, and an address that it has there. */
  readonly to: { readonly netns: string; readonly address: string };
  readonly count: number;
  readonly payloadBytes: number;
  /** By which clock they say when they are to leave; absent when they do not. */
  readonly clock?: TxtimeClock;
  /** How far ahead that is. */
  readonly aheadMs?: number;
  /** When that is, by that clock, in place of a time ahead. */
  readonly atNs?: bigint;
  /** SO_PRIORITY of the socket. */
  readonly priority?: number;
}

/**
 * struct cmsghdr with the time at which a datagram is to leave (SCM_TXTIME, which is SO_TXTIME);
 * the socket says by which clock.
 */
function askFor(fd: number, clock: TxtimeClock, atNs: bigint): Buffer {
  const option = Buffer.alloc(SIZES.option);
  option.writeInt32LE(CLOCK_IDS[clock]);
  call('setsockopt', fd, SOL_SOCKET, SO_TXTIME, option, option.length);
  const control = Buffer.alloc(SIZES.control);
  control.writeBigUInt64LE(BigInt(control.length), 0);
  control.writeInt32LE(SOL_SOCKET, 8);
  control.writeInt32LE(SO_TXTIME, 12);
  control.writeBigUInt64LE(atNs, 16);
  return control;
}

/** Sends by a socket of its own. */
function sendAll({
  from,
  to,
  count,
  payloadBytes,
  clock,
  aheadMs = 0,
  atNs,
  priority,
}: Datagrams): void {
  const fd = openDatagrams(from);
  try {
    const [address, payload] = [encodeSocketAddress(to.address, PORT), Buffer.alloc(payloadBytes)];
    const [vector, message] = [Buffer.alloc(SIZES.vector), Buffer.alloc(SIZES.message)];
    vector.writeBigUInt64LE(addressOf(payload), 0);
    vector.writeBigUInt64LE(BigInt(payloadBytes), 8);
    message.writeBigUInt64LE(addressOf(address), 0);
    message.writeUInt32LE(address.length, 8);
    message.writeBigUInt64LE(addressOf(vector), 16);
    message.writeBigUInt64LE(1n, 24);
    if (priority !== undefined) {
      const value = Buffer.alloc(4);
      value.writeInt32LE(priority);
      call('setsockopt', fd, SOL_SOCKET, SO_PRIORITY, value, value.length);
    }
    const control =
      clock && askFor(fd, clock, atNs ?? readClock(clock) + BigInt(aheadMs) * 1_000_000n);
    if (control !== undefined) {
      message.writeBigUInt64LE(addressOf(control), 32);
      message.writeBigUInt64LE(BigInt(control.length), 40);
    }
    for (let sent = 0; sent < count; sent += 1) call('sendmsg', fd, message, 0);
  } finally {
    fs.closeSync(fd);
  }
}

/**
 * The wall clock at which each datagram has come to a socket, in ns, when nothing has come any more
 * for a while.
 */
async function arrivalsAt(fd: number): Promise<bigint[]> {
  const [datagram, time] = [Buffer.alloc(MAX_DATAGRAM), Buffer.alloc(SIZES.time)];
  const receive = (): bigint | undefined => {
    try {
      fs.readSync(fd, datagram);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EAGAIN') return undefined;
      throw error;
    }
    call('ioctl', fd, SIOCGSTAMPNS, time);
    return decodeTime(time);
  };
  const times: bigint[] = [];
  for (let calmMs = 0; calmMs < CALM_MS; calmMs += POLL_MS) {
    await sleep(POLL_MS);
    for (let at = receive(); at !== undefined; at = receive()) {
      times.push(at);
      calmMs = 0;
    }
  }
  return times;
}

/**
 * Sends datagrams; gives when each has come, in ms after the sending began. Those that were lost
 * are not there.
 */
export async function deliver(datagrams: Datagrams): Promise<number[]> {
  const fd = openDatagrams(datagrams.to.netns);
  try {
    const address = encodeSocketAddress('0.0.0.0', PORT);
    call('bind', fd, address, address.length);
    // From the first question on the kernel notes it of every datagram; of none there is no answer
    // yet. It begins a little later (net_enable_timestamp), and until then answers with the time of
    // the question.
    CALLS.ioctl(fd, SIOCGSTAMPNS, Buffer.alloc(SIZES.time));
    await sleep(BEGIN_MS);
    const beganAt = readClock('CLOCK_REALTIME');
    sendAll(datagrams);
    return (await arrivalsAt(fd)).map((at) => Number(at - beganAt) / 1e6);
  } finally {
    fs.closeSync(fd);
  }
}
