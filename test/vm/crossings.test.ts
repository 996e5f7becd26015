// What else touches a pod's packets between the pod and the wire: the cap holds whatever that does
// to their signs, or status and list say that it does not, and why. Prints a table: crossing,
// kernel, Mbit/s offered and on the wire, verdict.
//
// One crossing of each kind, and all of them with PODPACE_CROSSINGS=all (`./scripts/test --tier vm
// --crossings all`).

import fs from 'node:fs';
import { release } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { inNetns } from '../../helper/kernel/netns.ts';
import type { Direction } from '../../helper/protocol/messages.ts';
import { capture } from '../../scripts/lib/process.ts';
import { inNamespace } from '../bed/testbed.ts';
import {
  BRIDGED_POD,
  countFrames,
  FULL_BYTES,
  holds,
  inTurn,
  knowsGateway,
  makeBridged,
  makeClsact,
  makeRouted,
  NODE,
  OFFERED_MBIT,
  PEER,
  ratesWhile,
  settle,
  tell,
  USED_PART,
  type Scene,
} from '../kit/crossing-scene.ts';
import { CROSSINGS, FRAMES, type Crossing } from '../kit/crossings.ts';
import { CAP_MBIT } from '../kit/exit-scene.ts';
import type { TestNetns } from '../kit/netns.ts';
import { startOpenVswitch } from '../kit/open-vswitch.ts';
import { MORE_CROSSINGS } from '../kit/more-crossings.ts';
import { pingFrameBytes, sendPings } from '../kit/ping-load.ts';
import { setMeanwhile, SharedScene, takeBack, takeRulesAway } from '../kit/shared-scene.ts';
import { BY_BOOKS_MS, TOLD_CROSSINGS, type ToldCrossing } from '../kit/told-crossings.ts';
import { openSender, sendAll } from '../kit/udp-load.ts';

const ALL = process.env['PODPACE_CROSSINGS'] === 'all';
/**
 * These hang on no kernel, and an emulated processor is long at each: on the oldest only with all.
 */
const TAKES_THEM = ALL || !release().startsWith('6.1.');
const USUAL_FRAMES = 'IP under two VLAN tags';

/** A pod that sends all it can uses so much of its cap. */
const USED = { leastMbit: USED_PART * CAP_MBIT };
/** Of what is below the cap, Mbit/s. */
const SENT_WITHIN_MBIT = 0.05;

/** All that comes, but for requests for addresses. */
const LEAST_OF_KIND = 0.99;

/** More than the helper takes to tell what only the books show. */
const BOOKS_MS = 15_000;

const TRACKING = `
table inet others {
  chain forwarded { type filter hook forward priority filter; ct state invalid counter; }
}`;

const routed = new SharedScene(makeRouted);
const bridged = new SharedScene(makeBridged);

// What a test that failed has left, nobody knows.
test.afterEach.always(async (t) => {
  if (!t.passed) for (const scene of [routed, bridged]) await scene.end();
});
test.after.always(async () => {
  for (const scene of [routed, bridged]) await scene.end();
});

/** Has all that a crossing makes taken away after its test. */
function takeBackAfter(t: ExecutionContext, { node, pod, peer }: Scene, crossing: Crossing): void {
  t.teardown(() => {
    takeBack(node, crossing.commands ?? []);
    takeBack(pod, crossing.inPod ?? []);
    takeBack(peer, crossing.inPeer ?? []);
    if (crossing.tc !== undefined) node.tc('filter', 'del', 'dev', 'pod0', 'ingress', 'pref', '10');
    for (const netns of [node, pod, peer]) takeRulesAway(netns);
  });
}

/** What is held the helper calls ok, also when the books have been looked at for long enough. */
async function staysCalm(t: ExecutionContext, { helper }: Scene): Promise<void> {
  await sleep(BOOKS_MS);
  const { state, problems } = await helper.ask('status', {});
  t.is(state, 'ok', problems.join('; '));
}

for (const [name, crossing] of Object.entries({ ...CROSSINGS, ...MORE_CROSSINGS })) {
  const { commands = [], to = PEER, payloadBytes = FULL_BYTES, frames, ...more } = crossing;
  if (!ALL && more.isUsual !== true) continue;
  test.serial(name, async (t) => {
    t.timeout(300_000);
    const scene = await routed.use();
    takeBackAfter(t, scene, crossing);
    const { node, pod, peer } = scene;
    inTurn(
      peer,
      (more.inPeer ?? []).map((command) => command.replace('{node}', node.name)),
    );
    setMeanwhile(t, node, more.settings ?? {});
    inTurn(node, commands);
    inTurn(pod, more.inPod ?? []);
    await more.make?.(t, scene);
    if (more.tc !== undefined) makeClsact(node, 'pod0');
    for (const command of more.tc ?? []) node.tc(...command.split(' '));
    const rules = [more.isTracked ? TRACKING : '', more.nft ?? ''].join('\n');
    if (rules.trim() !== '') await capture(...inNamespace(node.netns.path, 'nft', rules));
    await settle(t, scene);
    const [from, on, usual] = more.isInward ? [peer, pod, 'eth0'] : [pod, peer, 'uplink'];
    const flow = { from, to, payloadBytes, bitsPerSec: OFFERED_MBIT * 1e6 };
    const device = more.device ?? usual;
    const partOfKind = await countFrames(on, device, frames);
    const devices = [device, ...(more.copies === undefined ? [] : [more.copies])];
    const leastMbit = USED_PART * (more.expectedMbit ?? CAP_MBIT);
    const rates = await ratesWhile(t, on, devices, flow, { leastMbit, hasThreads: true });
    for (const [place, mbit] of rates.entries()) {
      tell(t, place === 0 ? name : `${name}: copies`, mbit, 'held');
      holds(t, mbit, more.expectedMbit);
    }
    const part = await partOfKind();
    t.true(part > LEAST_OF_KIND, `${part} of what came is ${frames}`);
    await staysCalm(t, scene);
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
  {
    as,
    withinMs,
    direction,
  }: Required<Pick<ToldCrossing, 'as' | 'withinMs'>> & {
    direction: Direction;
  },
): Promise<number | undefined> {
  const beginMs = performance.now();
  for (;;) {
    const [{ state, problems }, { attachments }] = await Promise.all([
      helper.ask('status', {}),
      helper.ask('list', {}),
    ] as const);
    const listed = attachments.flatMap(
      ({ problemsByDirection }) => problemsByDirection?.[direction] ?? [],
    );
    const tookMs = performance.now() - beginMs;
    if (state === 'degraded' && [problems, listed].every((texts) => as.test(texts.join('; '))))
      return tookMs;
    if (tookMs > withinMs) return undefined;
    await sleep(200);
  }
}

for (const [name, crossing] of Object.entries(TOLD_CROSSINGS)) {
  const { make, as, withinMs = BY_BOOKS_MS, flags, isInward, to = PEER, ...more } = crossing;
  if (!ALL && more.isUsual !== true) continue;
  test.serial(`${name}: told`, async (t) => {
    t.timeout(300_000);
    const scene = await (flags === undefined ? routed.use() : makeRouted(t, flags));
    knowsGateway(scene);
    await settle(t, scene);
    await make(t, scene);
    const { pod, peer } = scene;
    const [from, on, usual] = isInward ? [peer, pod, 'eth0'] : [pod, peer, 'uplink'];
    const load = { to, payloadBytes: FULL_BYTES, bitsPerSec: TOLD_OFFERED_MBIT * 1e6 };
    const socket = openSender(t, from.netns);
    const over = new AbortController();
    const sending = (async () => {
      while (!over.signal.aborted) await sendAll([{ ...load, socket }], 1000);
    })();
    const telling = untilTold(scene, { as, withinMs, direction: isInward ? 'ingress' : 'egress' });
    // Beside it next to nothing is sent by what measures.
    const little = { ...load, from, bitsPerSec: 1000 };
    const [mbit = NaN] = await ratesWhile(t, on, [more.device ?? usual], little);
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
    const scene = await routed.use();
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

/** Has what an end sends to the other leave as other frames, for as long as the test runs. */
function sendsFrames(t: ExecutionContext, commands: readonly string[], from: End, to: End): void {
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
  const filled = commands.map(fill);
  t.teardown(() => takeBack(from.netns, filled));
  inTurn(from.netns, filled);
}

for (const [name, commands] of Object.entries(FRAMES).filter(
  ([each]) => ALL || each === USUAL_FRAMES,
)) {
  test.serial(`${name}, out of the pod and into it`, async (t) => {
    t.timeout(300_000);
    const scene = await bridged.use();
    const pod: End = { netns: scene.pod, device: 'eth0', addresses: [BRIDGED_POD, '203.0.113.1'] };
    const peer: End = { netns: scene.peer, device: 'uplink', addresses: [PEER, '203.0.113.2'] };
    await settle(t, scene);
    for (const [from, to] of [
      [pod, peer],
      [peer, pod],
    ] as const) {
      sendsFrames(t, commands, from, to);
      const flow = { payloadBytes: FULL_BYTES, bitsPerSec: OFFERED_MBIT * 1e6 };
      const way = { ...flow, from: from.netns, to: to.addresses[1] };
      const [mbit = NaN] = await ratesWhile(t, to.netns, [to.device], way, USED);
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
    const [mbit = NaN] = await ratesWhile(t, peer, ['uplink'], flow, USED);
    tell(t, 'a route to an Open vSwitch bridge', mbit, 'held');
    holds(t, mbit);
  });

/** Four more ports of the bridge, which lead to the peer. */
function addPorts(t: ExecutionContext, { node, peer }: Scene): string[] {
  const ports = ['port1', 'port2', 'port3', 'port4'];
  t.teardown(() => {
    for (const port of ports) node.ip('link', 'del', port);
  });
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
    const scene = await bridged.use();
    const all = ['uplink', ...addPorts(t, scene)];
    // Nobody has the address, so no port is known for it.
    const neighbour = ['neigh add 198.51.100.77 lladdr 02:00:00:00:00:77 dev eth0'];
    inTurn(scene.pod, neighbour);
    t.teardown(() => takeBack(scene.pod, neighbour));
    await settle(t, scene);
    const load = { payloadBytes: FULL_BYTES, bitsPerSec: OFFERED_MBIT * 1e6 };
    const flow = { ...load, from: scene.pod, to: '198.51.100.77' };
    const rates = await ratesWhile(t, scene.peer, all, flow, USED);
    for (const [place, mbit] of rates.entries()) {
      tell(t, `flooded unicast, at ${all[place]}`, mbit, 'held');
      holds(t, mbit);
    }
  });

test.serial('multicast that a bridge copies to five ports is charged once', async (t) => {
  t.timeout(600_000);
  const scene = await bridged.use();
  const { pod, peer, helper } = scene;
  const ports = addPorts(t, scene);
  const way = { containerId: 'c-pod0', ifname: 'eth0', direction: 'egress' } as const;
  await helper.ask('set', { ...way, changes: { rateBitsPerSec: 4e6 } });
  t.teardown(async () => {
    await helper.ask('set', { ...way, changes: { rateBitsPerSec: CAP_MBIT * 1e6 } });
  });
  await settle(t, scene);
  const flow = { from: pod, to: '239.1.2.3' };
  const all = ['uplink', ...ports];
  const asSent = { leastMbit: 3 - SENT_WITHIN_MBIT };
  const below = await ratesWhile(t, peer, all, { ...flow, bitsPerSec: 3e6 }, asSent);
  for (const [place, mbit] of below.entries()) {
    tell(t, `multicast, at ${all[place]}`, mbit, 'as sent', 3);
    t.true(Math.abs(mbit - 3) <= SENT_WITHIN_MBIT, `${all[place]}: ${mbit} Mbit/s`);
  }
  const above = { ...flow, bitsPerSec: 12e6 };
  for (const mbit of await ratesWhile(t, peer, all, above, { leastMbit: USED_PART * 4 }))
    holds(t, mbit, 4);
});
