// What a pod sends to the node itself, with real sockets: policed by its cap, unless that is left
// free or the node's addresses are exempt. The machine's own kernel need not hold packets for it;
// figures are loose, those of a VM are exact.

import { setTimeout as sleep } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { capture } from '../../../scripts/lib/process.ts';
import { inNamespace } from '../../bed/testbed.ts';
import {
  addUplink,
  leaveRecord,
  makeHelperDirectories,
  paramsOf,
  startOwnHelper,
  wirePod,
} from '../../kit/helper.ts';
import { makeNetns, type TestNetns } from '../../kit/netns.ts';
import { listenOn } from '../../bed/node-listener.ts';
import { openSender } from '../../kit/udp-load.ts';

const [CAP_MBIT, OFFERED_MBIT] = [10, 40];
const PORT = 5300;
const MEASURE_MS = 1000;
const DATAGRAM_BYTES = 1400;
const POD = { 4: '10.86.0.2', 6: '2001:db8:86::2' } as const;
const NODE = { 4: '10.86.0.1', 6: '2001:db8:86::1' } as const;
const SERVICE = '10.96.0.10';
const PROXIED = '203.0.113.9';
const MARK = 7;

const RULES = `
table ip service {
  chain prerouting {
    type nat hook prerouting priority dstnat;
    ip daddr ${SERVICE} dnat to ${NODE[4]}
  }
}
table ip mesh {
  chain prerouting {
    type filter hook prerouting priority mangle;
    ip daddr ${PROXIED} meta l4proto udp tproxy to :${PORT} meta mark set ${MARK} accept
  }
}`;

function inTurn({ ip }: TestNetns, commands: readonly string[]): void {
  for (const command of commands) ip(...command.split(' '));
}

async function makeEnds(t: ExecutionContext): Promise<{ node: TestNetns; pod: TestNetns }> {
  const [node, pod, peer] = [makeNetns(t), makeNetns(t), makeNetns(t)];
  wirePod(node, pod, 'pod0');
  addUplink(node, peer, 'uplink', 1);
  inTurn(node, [
    'link set lo up',
    `address add ${NODE[4]}/24 dev pod0`,
    `-6 address add ${NODE[6]}/64 dev pod0 nodad`,
    `rule add fwmark ${MARK} lookup 100`,
    'route add local default dev lo table 100',
  ]);
  inTurn(pod, [
    `address add ${POD[4]}/24 dev eth0`,
    `route add default via ${NODE[4]}`,
    `-6 address add ${POD[6]}/64 dev eth0 nodad`,
  ]);
  await capture(...inNamespace(node.netns.path, 'nft', RULES));
  return { node, pod };
}

/** Mbit/s of payload that come to a listener of the node while the pod sends to an address. */
async function rateTo(
  t: ExecutionContext,
  pod: TestNetns,
  to: string,
  udpBytes: () => number,
): Promise<number> {
  const socket = openSender(t, pod.netns, to.includes(':') ? 6 : 4);
  const [before, beginMs] = [udpBytes(), performance.now()];
  for (
    let [sent, elapsedMs] = [0, 0];
    elapsedMs < MEASURE_MS;
    elapsedMs = performance.now() - beginMs
  ) {
    const due = Math.ceil((elapsedMs * OFFERED_MBIT * 1e3) / 8 / DATAGRAM_BYTES);
    socket.send({ to, port: PORT, payloadBytes: DATAGRAM_BYTES, count: due - sent });
    sent = due;
    await sleep(1);
  }
  return ((udpBytes() - before) * 8) / 1000 / (performance.now() - beginMs);
}

interface Case {
  readonly flags: readonly string[];
  readonly nodeTraffic: 'policed' | 'free';
  readonly capped: readonly string[];
  readonly uncapped: readonly string[];
}

const CASES: Readonly<Record<string, Case>> = {
  'belongs to its cap, whichever way it comes there': {
    ...{ flags: [], nodeTraffic: 'policed' },
    capped: [NODE[4], NODE[6], SERVICE, PROXIED],
    uncapped: [],
  },
  'is free where that is asked for': {
    ...{ flags: ['--node-traffic', 'free'], nodeTraffic: 'free' },
    capped: [],
    uncapped: [NODE[4], NODE[6]],
  },
  'is free where the node’s addresses are exempt, of the family that is': {
    ...{ flags: ['--exempt', `${NODE[6]}/128`], nodeTraffic: 'policed' },
    capped: [NODE[4]],
    uncapped: [NODE[6]],
  },
};

for (const [name, { flags, nodeTraffic, capped, uncapped }] of Object.entries(CASES)) {
  test.serial(`what a pod sends to the node itself ${name}`, async (t) => {
    const [{ node, pod }, directories] = [await makeEnds(t), makeHelperDirectories(t)];
    leaveRecord(
      node,
      directories,
      paramsOf('pod0', pod, { egress: { rateBitsPerSec: CAP_MBIT * 1e6 } }),
    );
    const helper = await startOwnHelper(t, node, directories, flags);
    t.is((await helper.ask('status', {})).nodeTraffic, nodeTraffic, helper.log());
    const { udpBytes } = listenOn(t, node.netns, PORT);
    for (const to of capped) {
      const mbit = await rateTo(t, pod, to, udpBytes);
      t.true(mbit > 0.7 * CAP_MBIT && mbit < 1.1 * CAP_MBIT, `${to}: ${mbit} Mbit/s`);
    }
    for (const to of uncapped) {
      const mbit = await rateTo(t, pod, to, udpBytes);
      t.true(mbit > 2 * CAP_MBIT, `${to}: ${mbit} Mbit/s`);
    }
  });
}
