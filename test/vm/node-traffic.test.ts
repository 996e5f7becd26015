// What a pod sends to the node itself, on kernels that hold packets: it keeps to the cap whichever way it comes to the node's
// sockets, and requests beside it do not wait. PODPACE_NODE_ROWS=all takes every combination.

import { spawn } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { inNetns } from '../../helper/kernel/netns.ts';
import { writeSysctl } from '../../helper/kernel/sysctl.ts';
import { capture } from '../../scripts/lib/process.ts';
import { inNamespace } from '../../scripts/measure/testbed.ts';
import { addPod, addUplink, makeHelperDirectories, paramsOf, startHelper } from '../kit/helper.ts';
import { makeNetns, type TestNetns } from '../kit/netns.ts';
import { listenOn, type NodeListener } from '../kit/node-listener.ts';
import { openSender } from '../kit/udp-load.ts';

const CAP_MBIT = 10;
const OFFERED_MBIT = 30;
const PORT = 5300;
const SECONDS = 4;
const TICK_MS = 5;
/** p99 of a request at 10 Mbit/s beside one bulk flow behind the bandwidth plugin's TBF is 114 ms: test/bench/results/README.md. */
const REQUEST_P99_MS = 114 / 8;
const REQUEST_MS = 20;
const DATAGRAM_BYTES = 1400;
const POD = { 4: '10.86.0.2', 6: '2001:db8:86::2' } as const;
const NODE = { 4: '10.86.0.1', 6: '2001:db8:86::1' } as const;
/** A Service's address, and one that a proxy of the node takes packets to. */
const SERVICE = { 4: '10.96.0.10', 6: '2001:db8:96::10' } as const;
const PROXIED = { 4: '203.0.113.9', 6: '2001:db8:113::9' } as const;
const MARK = 7;

const RULES = `
table inet service {
  chain prerouting {
    type nat hook prerouting priority dstnat;
    ip daddr ${SERVICE[4]} dnat ip to ${NODE[4]}
    ip6 daddr ${SERVICE[6]} dnat ip6 to ${NODE[6]}
  }
}
table inet mesh {
  chain prerouting {
    type filter hook prerouting priority mangle;
    ip daddr ${PROXIED[4]} meta l4proto { tcp, udp } tproxy ip to :${PORT} meta mark set ${MARK} accept
    ip6 daddr ${PROXIED[6]} meta l4proto { tcp, udp } tproxy ip6 to :${PORT} meta mark set ${MARK} accept
  }
}`;

type Family = 4 | 6;
type Protocol = 'TCP' | 'UDP';
const WAYS = { direct: NODE, DNAT: SERVICE, TPROXY: PROXIED } as const;
type Way = keyof typeof WAYS;

const ALL_ROWS = (Object.keys(WAYS) as Way[]).flatMap((way) =>
  (['TCP', 'UDP'] as const).flatMap((protocol) =>
    ([4, 6] as const).map((family): [Protocol, Family, Way] => [protocol, family, way]),
  ),
);
/** Each way, protocol and family. */
const FEW_ROWS: readonly (readonly [Protocol, Family, Way])[] = [
  ['TCP', 4, 'direct'],
  ['UDP', 6, 'DNAT'],
  ['TCP', 6, 'TPROXY'],
];
const ROWS = process.env['PODPACE_NODE_ROWS'] === 'all' ? ALL_ROWS : FEW_ROWS;

/** Bytes of a frame for each of payload. TCP has a timestamp in each segment. */
function frameShare(protocol: Protocol, family: Family): number {
  const ip = family === 4 ? 20 : 40;
  return protocol === 'UDP' ? (14 + ip + 8 + DATAGRAM_BYTES) / DATAGRAM_BYTES : 1514 / (1500 - ip - 32);
}

interface Scene {
  readonly node: TestNetns;
  readonly pod: TestNetns;
  readonly listener: NodeListener;
}

function inTurn({ ip }: TestNetns, commands: readonly string[]): void {
  for (const command of commands) ip(...command.split(' '));
}

async function makeScene(t: ExecutionContext): Promise<Scene> {
  const [node, pod, peer] = [makeNetns(t), makeNetns(t), makeNetns(t)];
  addPod(node, pod, 'pod0');
  addUplink(node, peer, 'uplink', 1);
  inNetns(node.netns, () => {
    writeSysctl('net/ipv4/ip_forward', '1');
    writeSysctl('net/ipv6/conf/all/forwarding', '1');
  });
  inTurn(node, [
    'link set lo up',
    `address add ${NODE[4]}/24 dev pod0`,
    `-6 address add ${NODE[6]}/64 dev pod0 nodad`,
    `rule add fwmark ${MARK} lookup 100`,
    'route add local default dev lo table 100',
    `-6 rule add fwmark ${MARK} lookup 100`,
    '-6 route add local default dev lo table 100',
  ]);
  inTurn(pod, [
    `address add ${POD[4]}/24 dev eth0`,
    `route add default via ${NODE[4]}`,
    `-6 address add ${POD[6]}/64 dev eth0 nodad`,
    `-6 route add default via ${NODE[6]}`,
  ]);
  await capture(...inNamespace(node.netns.path, 'nft', RULES));
  const helper = await startHelper(t, node, makeHelperDirectories(t));
  await helper.ask('attach', paramsOf('pod0', pod, { egress: { rateBitsPerSec: CAP_MBIT * 1e6 } }));
  const { state, problems, nodeTraffic, notices } = await helper.ask('status', {});
  t.is(state, 'ok', problems.join('; '));
  t.is(nodeTraffic, 'policed', notices.join('; '));
  return { node, pod, listener: listenOn(t, node.netns, PORT) };
}

/** Has the pod send as much as it can by TCP until `done`. */
async function sendByTcp(pod: TestNetns, to: string, done: Promise<unknown>): Promise<void> {
  const script = `
    const socket = require('net').connect(${PORT}, '${to}');
    const more = () => { while (socket.write(Buffer.alloc(65536))); };
    socket.on('connect', more).on('drain', more).on('error', () => process.exit(1));`;
  const child = spawn(...inNamespace(pod.netns.path, process.execPath, '-e', script), { stdio: 'ignore' });
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

async function sendByUdp(
  t: ExecutionContext,
  pod: TestNetns,
  to: string,
  done: Promise<unknown>,
): Promise<void> {
  const socket = openSender(t, pod.netns, to.includes(':') ? 6 : 4);
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
  t: ExecutionContext,
  pod: TestNetns,
  to: string,
  done: Promise<unknown>,
): Promise<{ readonly p99Ms: number; readonly lost: number; readonly sent: number }> {
  const socket = openSender(t, pod.netns, to.includes(':') ? 6 : 4);
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
  return { p99Ms: times[Math.floor(times.length * 0.99)] ?? Infinity, lost: sent - times.length, sent };
}

/** Mbit/s in each second from when the first byte comes. */
async function rates(bytes: () => number, share: number): Promise<number[]> {
  const before = bytes();
  while (bytes() - before < DATAGRAM_BYTES) await sleep(1);
  const mbit: number[] = [];
  for (let [last, lastMs] = [before, performance.now()]; mbit.length < SECONDS;) {
    await sleep(lastMs + 1000 - performance.now());
    const [now, nowMs] = [bytes(), performance.now()];
    mbit.push(((now - last) * 8 * share) / 1000 / (nowMs - lastMs));
    [last, lastMs] = [now, nowMs];
  }
  return mbit;
}

interface Measured {
  readonly mean: number;
  readonly most: number;
  readonly p99Ms: number;
  readonly lost: number;
}

async function measure(
  t: ExecutionContext,
  { pod, listener }: Scene,
  [protocol, family, way]: readonly [Protocol, Family, Way],
): Promise<Measured> {
  const to = WAYS[way][family];
  const bytes = protocol === 'TCP' ? listener.tcpBytes : listener.udpBytes;
  const measuring = rates(bytes, frameShare(protocol, family));
  const sending = protocol === 'TCP' ? sendByTcp(pod, to, measuring) : sendByUdp(t, pod, to, measuring);
  // Requests belong to the cap and are counted where UDP is.
  const requesting = request(t, pod, NODE[family], measuring);
  const [mbit, , { p99Ms, lost, sent }] = await Promise.all([measuring, sending, requesting]);
  listener.reset();
  // In the first second the sender is not yet at what it offers.
  const settled = mbit.slice(1);
  const mean = settled.reduce((sum, each) => sum + each, 0) / settled.length;
  const most = Math.max(...mbit);
  const seconds = mbit.map((each) => each.toFixed(2)).join(' ');
  t.log(
    `${protocol} IPv${family} ${way}: ${mean.toFixed(3)} Mbit/s of ${CAP_MBIT} (${seconds}); ` +
      `requests p99 ${p99Ms.toFixed(2)} ms, ${lost} of ${sent} lost`,
  );
  return { mean, most, p99Ms, lost };
}

test.serial('what a pod sends to the node itself keeps to its cap, and requests do not wait', async (t) => {
  t.timeout(300_000);
  const scene = await makeScene(t);
  for (const row of ROWS) {
    const { mean, most, p99Ms, lost } = await measure(t, scene, row);
    const what = row.join(' ');
    t.true(mean >= (row[0] === 'TCP' ? 0.85 : 0.99) * CAP_MBIT, `${what}: ${mean} Mbit/s`);
    t.true(mean <= 1.01 * CAP_MBIT, `${what}: ${mean} Mbit/s`);
    t.true(most <= 1.01 * CAP_MBIT, `${what}: ${most} Mbit/s in a second`);
    t.true(p99Ms <= REQUEST_P99_MS, `${what}: ${p99Ms} ms`);
    t.is(lost, 0, `${what}: requests lost`);
  }
});
