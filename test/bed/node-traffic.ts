// What a pod sends to the node itself, on each way that it can come to the node's sockets, with
// requests beside it.

import { spawn } from 'node:child_process';
import type dgram from 'node:dgram';
import { setTimeout as sleep } from 'node:timers/promises';
import type { NetNamespace } from '../../helper/kernel/netns.ts';
import type { NodeListener } from './node-listener.ts';
import { inNamespace } from './testbed.ts';
import { openUdp } from './udp.ts';
import type { UndoStack } from './undo.ts';

export const PORT = 5300;
const OFFERED_MBIT = 30;
const TICK_MS = 5;
const REQUEST_MS = 20;
const DATAGRAM_BYTES = 1400;
/** A Service's address, and one that a proxy of the node takes packets to. */
const SERVICE = { 4: '10.96.0.10', 6: '2001:db8:96::10' } as const;
const PROXIED = { 4: '203.0.113.9', 6: '2001:db8:113::9' } as const;
const MARK = 7;

type Family = 4 | 6;
type Addresses = Readonly<Record<Family, string>>;
export type Way = 'direct' | 'DNAT' | 'TPROXY';

/** Protocol, family and way of what a pod sends. */
export interface NodeTrafficRow {
  readonly protocol: 'TCP' | 'UDP';
  readonly family: Family;
  readonly way: Way;
}

export const NODE_TRAFFIC_ROWS: readonly NodeTrafficRow[] = (
  ['direct', 'DNAT', 'TPROXY'] as const
).flatMap((way) =>
  (['TCP', 'UDP'] as const).flatMap((protocol) =>
    ([4, 6] as const).map((family) => ({ protocol, family, way })),
  ),
);

/** What takes packets to a service to the node's addresses, and others to a proxy of the node's. */
export const nodeRules = (node: Addresses): string => `
table inet service {
  chain prerouting {
    type nat hook prerouting priority dstnat;
    ip daddr ${SERVICE[4]} dnat ip to ${node[4]}
    ip6 daddr ${SERVICE[6]} dnat ip6 to ${node[6]}
  }
}
table inet mesh {
  chain prerouting {
    type filter hook prerouting priority mangle;
    ip daddr ${PROXIED[4]} meta l4proto { tcp, udp } tproxy ip to :${PORT} meta mark set ${MARK} accept
    ip6 daddr ${PROXIED[6]} meta l4proto { tcp, udp } tproxy ip6 to :${PORT} meta mark set ${MARK} accept
  }
}`;

/** Commands of `ip` on the node: what is for the proxy is the node's own. */
export const NODE_ROUTES = [
  `rule add fwmark ${MARK} lookup 100`,
  'route add local default dev lo table 100',
  `-6 rule add fwmark ${MARK} lookup 100`,
  '-6 route add local default dev lo table 100',
] as const;

function addressOf({ family, way }: NodeTrafficRow, node: Addresses): string {
  return { direct: node, DNAT: SERVICE, TPROXY: PROXIED }[way][family];
}

/** Bytes of a frame for each of payload. TCP has a timestamp in each segment. */
function frameShare({ protocol, family }: NodeTrafficRow): number {
  const ip = family === 4 ? 20 : 40;
  return protocol === 'UDP'
    ? (14 + ip + 8 + DATAGRAM_BYTES) / DATAGRAM_BYTES
    : 1514 / (1500 - ip - 32);
}

/** The pod, and what takes its sockets away. */
export interface Sender {
  readonly netns: NetNamespace;
  readonly undo: UndoStack;
}

export interface NodeTrafficMeasured {
  /** Mbit/s of frames in each second from when the first byte came. */
  readonly mbit: readonly number[];
  readonly p99Ms: number;
  /** Requests without an answer, of all. */
  readonly lost: number;
  readonly sent: number;
}

const openSocket = ({ netns, undo }: Sender, to: string): dgram.Socket =>
  openUdp(undo, netns, to.includes(':') ? 6 : 4);

/** Has the pod send as much as it can by TCP until `done`. */
async function sendByTcp({ netns }: Sender, to: string, done: Promise<unknown>): Promise<void> {
  const script = `
    const socket = require('net').connect(${PORT}, '${to}');
    const more = () => { while (socket.write(Buffer.alloc(65536))); };
    socket.on('connect', more).on('drain', more).on('error', () => process.exit(1));`;
  const child = spawn(...inNamespace(netns.path, process.execPath, '-e', script), {
    stdio: 'ignore',
  });
  await done;
  const ended = new Promise((resolve) => void child.once('exit', resolve));
  child.kill('SIGKILL');
  await ended;
}

/** Is aborted when something is done. */
function overWith(done: Promise<unknown>): AbortSignal {
  const over = new AbortController();
  void done.then(() => over.abort());
  return over.signal;
}

async function sendByUdp(sender: Sender, to: string, done: Promise<unknown>): Promise<void> {
  const socket = openSocket(sender, to);
  const payload = Buffer.alloc(DATAGRAM_BYTES);
  const over = overWith(done);
  const beginMs = performance.now();
  for (let sent = 0; !over.aborted; await sleep(TICK_MS)) {
    const due = ((performance.now() - beginMs) * OFFERED_MBIT * 1e3) / 8 / DATAGRAM_BYTES;
    for (; sent < due; sent += 1) socket.send(payload, PORT, to);
  }
}

/** Milliseconds of each request by UDP that is answered until `done`; how many were not. */
async function request(
  sender: Sender,
  to: string,
  done: Promise<unknown>,
): Promise<Pick<NodeTrafficMeasured, 'p99Ms' | 'lost' | 'sent'>> {
  const socket = openSocket(sender, to);
  const times: number[] = [];
  let sent = 0;
  const over = overWith(done);
  socket.on('message', (message) => times.push(performance.now() - message.readDoubleLE()));
  for (; !over.aborted; await sleep(REQUEST_MS)) {
    const payload = Buffer.alloc(64);
    payload.writeDoubleLE(performance.now());
    socket.send(payload, PORT, to);
    sent += 1;
  }
  await sleep(100);
  times.sort((a, b) => a - b);
  return {
    p99Ms: times[Math.floor(times.length * 0.99)] ?? Infinity,
    lost: sent - times.length,
    sent,
  };
}

/**
 * Mbit/s in each second, of which the first begins shortly before the first byte comes. A look at
 * what has come may be late by what the process does meanwhile, and count what came before the
 * look: the second begins at the look before the last that found nothing.
 */
async function rates(bytes: () => number, share: number, seconds: number): Promise<number[]> {
  const before = bytes();
  let [beginMs, quietMs] = [performance.now(), performance.now()];
  while (bytes() - before < DATAGRAM_BYTES) {
    [beginMs, quietMs] = [quietMs, performance.now()];
    await sleep(1);
  }
  const mbit: number[] = [];
  for (let [last, lastMs] = [before, beginMs]; mbit.length < seconds;) {
    await sleep(lastMs + 1000 - performance.now());
    const [now, nowMs] = [bytes(), performance.now()];
    mbit.push(((now - last) * 8 * share) / 1000 / (nowMs - lastMs));
    [last, lastMs] = [now, nowMs];
  }
  return mbit;
}

/**
 * Measures one row for so many seconds. `node` are addresses of the node, where `listener` listens
 * at PORT.
 */
export async function measureNodeTraffic(
  sender: Sender,
  node: Addresses,
  listener: NodeListener,
  row: NodeTrafficRow,
  seconds: number,
): Promise<NodeTrafficMeasured> {
  const to = addressOf(row, node);
  const bytes = row.protocol === 'TCP' ? listener.tcpBytes : listener.udpBytes;
  const measuring = rates(bytes, frameShare(row), seconds);
  const sending =
    row.protocol === 'TCP' ? sendByTcp(sender, to, measuring) : sendByUdp(sender, to, measuring);
  // Requests belong to the cap and are counted where UDP is.
  const requesting = request(sender, node[row.family], measuring);
  const [mbit, , requests] = await Promise.all([measuring, sending, requesting]);
  listener.reset();
  return { mbit, ...requests };
}
