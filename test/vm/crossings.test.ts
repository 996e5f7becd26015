// What else touches a pod's packets between the pod and the wire: the cap holds whatever that does
// to their signs, or status and list say that it does not, and why. Prints a table: crossing,
// kernel, Mbit/s offered and on the wire, verdict.
//
// One crossing of each kind, and all of them with PODPACE_CROSSINGS=all (`./scripts/test --tier vm
// --crossings all`).

import fs from 'node:fs';
import { release } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import test from 'ava';
import { inNetns } from '../../helper/kernel/netns.ts';
import { capture } from '../../scripts/lib/process.ts';
import { inNamespace } from '../../scripts/measure/testbed.ts';
import {
  BRIDGED_POD,
  countFrames,
  FULL_BYTES,
  GATEWAY,
  holds,
  inTurn,
  makeBridged,
  makeClsact,
  makeRouted,
  NODE,
  OFFERED_MBIT,
  PEER,
  ratesWhile,
  set,
  settle,
  tell,
  type Scene,
} from '../kit/crossing-scene.ts';
import { CROSSINGS, FRAMES } from '../kit/crossings.ts';
import type { TestNetns } from '../kit/netns.ts';
import { startOpenVswitch } from '../kit/open-vswitch.ts';
import { pingFrameBytes, sendPings } from '../kit/ping-load.ts';
import { TOLD_CROSSINGS } from '../kit/told-crossings.ts';
import { openSender, sendAll } from '../kit/udp-load.ts';

const ALL = process.env['PODPACE_CROSSINGS'] === 'all';
/**
 * These hang on no kernel, and an emulated processor is long at each: on the oldest only with all.
 */
const TAKES_THEM = ALL || !release().startsWith('6.1.');
const USUAL_FRAMES = 'IP under two VLAN tags';

/** All that comes, but for requests for addresses. */
const LEAST_OF_KIND = 0.99;

const TRACKING = `
table inet others {
  chain forwarded { type filter hook forward priority filter; ct state invalid counter; }
}`;

for (const [name, { commands, to, payloadBytes, frames, ...more }] of Object.entries(CROSSINGS)) {
  if (!ALL && more.isUsual !== true) continue;
  test.serial(name, async (t) => {
    t.timeout(300_000);
    const scene = await makeRouted(t);
    const { node, pod, peer } = scene;
    inTurn(
      peer,
      (more.inPeer ?? []).map((command) => command.replace('{node}', node.name)),
    );
    set(node, more.settings ?? {});
    inTurn(node, commands);
    inTurn(pod, more.inPod ?? []);
    await more.make?.(t, scene);
    if (more.tc !== undefined) makeClsact(node, 'pod0');
    for (const command of more.tc ?? []) node.tc(...command.split(' '));
    const rules = [more.isTracked ? TRACKING : '', more.nft ?? ''].join('\n');
    if (rules.trim() !== '') await capture(...inNamespace(node.netns.path, 'nft', rules));
    await settle(t, scene);
    const flow = { from: pod, to, payloadBytes, bitsPerSec: OFFERED_MBIT * 1e6 };
    const device = more.device ?? 'uplink';
    const partOfKind = await countFrames(peer, device, frames);
    const devices = [device, ...(more.copies === undefined ? [] : [more.copies])];
    for (const [place, mbit] of (await ratesWhile(t, peer, devices, flow)).entries()) {
      tell(t, place === 0 ? name : `${name}: copies`, mbit, 'held');
      holds(t, mbit, more.expectedMbit);
    }
    const part = await partOfKind();
    t.true(part > LEAST_OF_KIND, `${part} of what came is ${frames}`);
  });
}

const TOLD_OFFERED_MBIT = 20;
/** More than this is no cap. */
const UNCAPPED_MBIT = 15;

/**
 * Waits until status, and list of the pod, name something; gives after how many ms, undefined for
 * never.
 */
async function untilTold(
  { helper }: Scene,
  as: RegExp,
  deadlineMs: number,
): Promise<number | undefined> {
  const beginMs = performance.now();
  for (;;) {
    const [{ state, problems }, { attachments }] = await Promise.all([
      helper.ask('status', {}),
      helper.ask('list', {}),
    ] as const);
    const listed = attachments.flatMap(
      ({ problemsByDirection }) => problemsByDirection?.egress ?? [],
    );
    const tookMs = performance.now() - beginMs;
    if (state === 'degraded' && [problems, listed].every((texts) => as.test(texts.join('; '))))
      return tookMs;
    if (tookMs > deadlineMs) return undefined;
    await sleep(200);
  }
}

for (const [name, { make, as, withinMs, flags, to = PEER, ...more }] of Object.entries(
  TOLD_CROSSINGS,
)) {
  if (!ALL && more.isUsual !== true) continue;
  test.serial(`${name}: told`, async (t) => {
    t.timeout(300_000);
    const scene = await makeRouted(t, flags);
    // What takes all frames away takes ARP requests, too.
    const [link] = scene.node.ipJson('link', 'show', 'dev', 'pod0');
    inTurn(scene.pod, [
      `neigh add ${GATEWAY} lladdr ${String(link?.['address'])} dev eth0 nud permanent`,
    ]);
    await settle(t, scene);
    await make(t, scene);
    const load = { to, payloadBytes: FULL_BYTES, bitsPerSec: TOLD_OFFERED_MBIT * 1e6 };
    const socket = openSender(t, scene.pod.netns);
    const over = new AbortController();
    const sending = (async () => {
      while (!over.signal.aborted) await sendAll([{ ...load, socket }], 1000);
    })();
    const telling = untilTold(scene, as, withinMs);
    // Beside it next to nothing is sent by what measures.
    const little = { ...load, from: scene.pod, bitsPerSec: 1000 };
    const [mbit = NaN] = await ratesWhile(t, scene.peer, [more.device ?? 'uplink'], little);
    const tookMs = await telling;
    over.abort();
    await sending;
    const verdict = `told after ${((tookMs ?? NaN) / 1000).toFixed(1)} s`;
    tell(t, name, mbit, verdict, TOLD_OFFERED_MBIT);
    t.not(tookMs, undefined, JSON.stringify(await scene.helper.ask('status', {})));
    t.true(mbit > UNCAPPED_MBIT, `${mbit} Mbit/s: nothing to tell of`);
  });
}

const PING_BYTES = 1408;
const PING_MS = 6000;

/** ICMP messages that the node has taken. */
function messagesTaken({ netns }: TestNetns): number {
  const lines = inNetns(netns, () => fs.readFileSync('/proc/thread-self/net/snmp', 'utf8'))
    .split('\n')
    .filter((line) => line.startsWith('Icmp: '))
    .map((line) => line.split(' '));
  return Number(lines[1]?.[lines[0]?.indexOf('InMsgs') ?? -1]);
}

if (TAKES_THEM)
  test.serial('echo requests to the node itself', async (t) => {
    t.timeout(300_000);
    const scene = await makeRouted(t);
    await settle(t, scene);
    const load = {
      to: NODE,
      bitsPerSec: OFFERED_MBIT * 1e6,
      messageBytes: PING_BYTES,
      ms: PING_MS,
    };
    const sending = sendPings(t, scene.pod.netns, load);
    await sleep(1000);
    const [before, beforeMs] = [messagesTaken(scene.node), performance.now()];
    await sleep(4000);
    const taken = messagesTaken(scene.node) - before;
    const mbit = (taken * pingFrameBytes(PING_BYTES) * 8) / 1000 / (performance.now() - beforeMs);
    tell(t, 'echo requests to the node itself', mbit, 'policed');
    holds(t, mbit);
    await sending;
  });

interface End {
  readonly netns: TestNetns;
  readonly device: string;
  /** On the bridge, and in the frames. */
  readonly addresses: readonly [string, string];
}

function sendsFrames(commands: readonly string[], from: End, to: End): void {
  const [link] = to.netns.ipJson('link', 'show', 'dev', to.device);
  const values: Readonly<Record<string, string>> = {
    ...{
      device: from.device,
      own: from.addresses[1],
      via: to.addresses[0],
      other: to.addresses[1],
    },
    mac: String(link?.['address']),
  };
  const fill = (command: string) =>
    command.replaceAll(/\{(\w+)\}/g, (_, name: string) => values[name] ?? '');
  inTurn(from.netns, commands.map(fill));
}

for (const [name, commands] of Object.entries(FRAMES).filter(
  ([each]) => ALL || each === USUAL_FRAMES,
)) {
  test.serial(`${name}, out of the pod and into it`, async (t) => {
    t.timeout(300_000);
    const scene = await makeBridged(t);
    const pod: End = { netns: scene.pod, device: 'eth0', addresses: [BRIDGED_POD, '203.0.113.1'] };
    const peer: End = { netns: scene.peer, device: 'uplink', addresses: [PEER, '203.0.113.2'] };
    await settle(t, scene);
    for (const [from, to] of [
      [pod, peer],
      [peer, pod],
    ] as const) {
      sendsFrames(commands, from, to);
      const flow = { payloadBytes: FULL_BYTES, bitsPerSec: OFFERED_MBIT * 1e6 };
      const way = { ...flow, from: from.netns, to: to.addresses[1] };
      const [mbit = NaN] = await ratesWhile(t, to.netns, [to.device], way);
      tell(t, `${name}, ${to === pod ? 'into' : 'out of'} the pod`, mbit, 'held');
      holds(t, mbit);
    }
  });
}

if (TAKES_THEM)
  test.serial('a route to an Open vSwitch bridge, whose port the uplink is', async (t) => {
    t.timeout(300_000);
    const scene = await makeRouted(t);
    const { node, pod, peer } = scene;
    const vsctl = startOpenVswitch(t, node);
    vsctl('add-br', 'br0');
    inTurn(node, [`address del ${NODE}/24 dev uplink`]);
    vsctl('add-port', 'br0', 'uplink');
    inTurn(node, [
      'link set br0 up',
      `address add ${NODE}/24 dev br0`,
      `route add default via ${PEER}`,
    ]);
    await settle(t, scene);
    const { exits } = await scene.helper.ask('status', {});
    t.deepEqual(exits.find(({ name }) => name === 'br0')?.below, ['uplink']);
    const flow = { from: pod, to: PEER, payloadBytes: FULL_BYTES, bitsPerSec: OFFERED_MBIT * 1e6 };
    const [mbit = NaN] = await ratesWhile(t, peer, ['uplink'], flow);
    tell(t, 'a route to an Open vSwitch bridge', mbit, 'held');
    holds(t, mbit);
  });

/** Four more ports of the bridge, which lead to the peer. */
function addPorts({ node, peer }: Scene): string[] {
  const ports = ['port1', 'port2', 'port3', 'port4'];
  for (const port of ports) {
    inTurn(node, [
      `link add ${port} type veth peer name ${port} netns ${peer.name}`,
      `link set ${port} master br0`,
      `link set ${port} up`,
    ]);
    inTurn(peer, [`link set ${port} up`]);
  }
  return ports;
}

if (TAKES_THEM)
  test.serial('unicast that a bridge floods to five ports is charged once', async (t) => {
    t.timeout(300_000);
    const scene = await makeBridged(t);
    const all = ['uplink', ...addPorts(scene)];
    // Nobody has the address, so no port is known for it.
    inTurn(scene.pod, ['neigh add 198.51.100.77 lladdr 02:00:00:00:00:77 dev eth0']);
    await settle(t, scene);
    const flow = { from: scene.pod, to: '198.51.100.77', payloadBytes: FULL_BYTES };
    const rates = await ratesWhile(t, scene.peer, all, { ...flow, bitsPerSec: OFFERED_MBIT * 1e6 });
    for (const [place, mbit] of rates.entries()) {
      tell(t, `flooded unicast, at ${all[place]}`, mbit, 'held');
      holds(t, mbit);
    }
  });

test.serial('multicast that a bridge copies to five ports is charged once', async (t) => {
  t.timeout(600_000);
  const scene = await makeBridged(t);
  const { pod, peer, helper } = scene;
  const ports = addPorts(scene);
  const key = { containerId: 'c-pod0', ifname: 'eth0' };
  await helper.ask('set', { ...key, direction: 'egress', changes: { rateBitsPerSec: 4e6 } });
  await settle(t, scene);
  const flow = { from: pod, to: '239.1.2.3' };
  const all = ['uplink', ...ports];
  const below = await ratesWhile(t, peer, all, { ...flow, bitsPerSec: 3e6 });
  for (const [place, mbit] of below.entries()) {
    tell(t, `multicast, at ${all[place]}`, mbit, 'as sent', 3);
    t.true(Math.abs(mbit - 3) <= 0.05, `${all[place]}: ${mbit} Mbit/s`);
  }
  for (const mbit of await ratesWhile(t, peer, all, { ...flow, bitsPerSec: 12e6 }))
    holds(t, mbit, 4);
});
