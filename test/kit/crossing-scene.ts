// Nodes with one capped pod each, for what else touches its packets between the pod and the wire,
// and what comes to the wire.

import os from 'node:os';
import type { ExecutionContext } from 'ava';
import { inNetns } from '../../helper/kernel/netns.ts';
import { writeSysctl } from '../../helper/kernel/sysctl.ts';
import { capture } from '../../scripts/lib/process.ts';
import { inNamespace } from '../bed/testbed.ts';
import { CAP_MBIT, rateOn } from './exit-scene.ts';
import {
  addUplink,
  makeHelperDirectories,
  paramsOf,
  startOwnHelper,
  wirePod,
  type TestHelper,
} from './helper.ts';
import { makeNetns, type TestNetns } from './netns.ts';
import { openSender, sendAll, type Flow } from './udp-load.ts';

export const OFFERED_MBIT = 20;
/** The sender has filled its queue by then. */
const SETTLE_MS = 600;
/** Longer than rateOn counts. */
const LOAD_MS = 4000;
/**
 * A sender that pauses for as long as its queue lasts uses less than its cap, which is then no
 * matter of podpace's.
 */
const MAX_PAUSE_MS = 40;
const ATTEMPTS = 3;
const FOLLOW_MS = 3000;
const CAPS = {
  egress: { rateBitsPerSec: CAP_MBIT * 1e6 },
  ingress: { rateBitsPerSec: CAP_MBIT * 1e6 },
};

export const [NODE, PEER] = ['198.51.100.1', '198.51.100.2'];
export const [POD, BRIDGED_POD] = ['10.86.0.2', '198.51.100.9'];
/** Of the node, on the host interface. */
export const GATEWAY = '169.254.1.1';

/** Datagrams: nearly a full frame, and several of them, which the pod sends as fragments. */
export const FULL_BYTES = 1400;
export const LARGE_BYTES = 8000;

export interface Scene {
  readonly node: TestNetns;
  readonly pod: TestNetns;
  readonly peer: TestNetns;
  readonly helper: TestHelper;
}

export function inTurn({ ip }: TestNetns, commands: readonly string[]): void {
  for (const command of commands) ip(...command.split(' '));
}

/**
 * Has the peer know the node's hardware address for good: what takes all frames away takes requests
 * for it, too.
 */
export function knowsNode({ node, peer }: Scene): void {
  const [link] = node.ipJson('link', 'show', 'dev', 'uplink');
  const mac = String(link?.['address']);
  inTurn(peer, [`neigh replace ${NODE} lladdr ${mac} dev uplink nud permanent`]);
}

/** The same of the pod and the node's end of its pair. */
export function knowsGateway({ node, pod }: Scene): void {
  const [link] = node.ipJson('link', 'show', 'dev', 'pod0');
  const mac = String(link?.['address']);
  inTurn(pod, [`neigh replace ${GATEWAY} lladdr ${mac} dev eth0 nud permanent`]);
}

export function set({ netns }: TestNetns, settings: Readonly<Record<string, string>>): void {
  inNetns(netns, () => {
    for (const [name, value] of Object.entries(settings)) writeSysctl(name, value);
  });
}

let kernel = '';

/**
 * A line of the table: the crossing, on which kernel, what was offered, what came, and what became
 * of the cap.
 */
export function tell(
  t: ExecutionContext,
  what: string,
  mbit: number,
  verdict: string,
  offered = OFFERED_MBIT,
): void {
  kernel ||= os.release();
  t.log(`| ${what} | ${kernel} | ${offered} | ${mbit.toFixed(3)} | ${verdict} |`);
}

/**
 * A node whose pod is routed; the pod's datagrams may be fragmented on their way (RFC 791: no DF).
 */
export async function makeRouted(
  t: Pick<ExecutionContext, 'teardown'>,
  flags: readonly string[] = [],
): Promise<Scene> {
  const [node, pod, peer] = [makeNetns(t), makeNetns(t), makeNetns(t)];
  wirePod(node, pod, 'pod0');
  addUplink(node, peer, 'uplink', 4);
  set(node, { 'net/ipv4/ip_forward': '1', 'net/ipv6/conf/all/forwarding': '1' });
  set(pod, { 'net/ipv4/ip_no_pmtu_disc': '1' });
  inTurn(node, [
    `address add ${GATEWAY}/32 dev pod0`,
    '-6 address add 2001:db8:86::1/64 dev pod0 nodad',
    `route add ${POD}/32 dev pod0`,
    '-6 address add 2001:db8:1::1/64 dev uplink nodad',
  ]);
  inTurn(pod, [
    `address add ${POD}/32 dev eth0`,
    `route add ${GATEWAY} dev eth0`,
    `route add default via ${GATEWAY}`,
    '-6 address add 2001:db8:86::2/64 dev eth0 nodad',
    '-6 route add default via 2001:db8:86::1',
  ]);
  return cap(t, { node, pod, peer }, flags);
}

/** A node whose pod is on one bridge with the uplink, and so in one network with the peer. */
export async function makeBridged(t: Pick<ExecutionContext, 'teardown'>): Promise<Scene> {
  const [node, pod, peer] = [makeNetns(t), makeNetns(t), makeNetns(t)];
  wirePod(node, pod, 'pod0');
  addUplink(node, peer, 'uplink', 4);
  inTurn(node, [
    'link add br0 type bridge',
    'link set uplink master br0',
    'link set pod0 master br0',
    'link set br0 up',
  ]);
  inTurn(pod, [`address add ${BRIDGED_POD}/24 dev eth0`, 'route add 239.0.0.0/8 dev eth0']);
  return cap(t, { node, pod, peer });
}

async function cap(
  t: Pick<ExecutionContext, 'teardown'>,
  ends: Omit<Scene, 'helper'>,
  flags: readonly string[] = [],
): Promise<Scene> {
  const helper = await startOwnHelper(t, ends.node, makeHelperDirectories(t), flags);
  await helper.ask('attach', paramsOf('pod0', ends.pod, CAPS));
  return { ...ends, helper };
}

/** When what was measured is measured again. */
interface Repetition {
  /** As much on each device is taken as it is, however its sender paused. */
  readonly leastMbit?: number;
  /**
   * Less is measured again also when the sender did not pause: of a kernel's thread that had to
   * wait for the processor, as WireGuard's do, nobody is told, and where the node polices no queue
   * bridges that.
   */
  readonly hasThreads?: boolean;
}

/** Mbit/s of frames on each device of a namespace while the pod, or who is named, sends. */
export async function ratesWhile(
  t: ExecutionContext,
  on: TestNetns,
  devices: readonly string[],
  flow: Omit<Flow, 'socket'> & { readonly from: TestNetns },
  { leastMbit = Infinity, hasThreads = false }: Repetition = {},
): Promise<number[]> {
  const socket = openSender(t, flow.from.netns, flow.to.includes(':') ? 6 : 4);
  const bed = { peer: on.netns.path };
  for (let attempt = 1; ; attempt += 1) {
    const sent = sendAll([{ ...flow, socket }], LOAD_MS);
    await new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
    const rates = await Promise.all(devices.map((device) => rateOn({ bed }, [device])));
    const pauseMs = await sent;
    const isEnough = rates.every((mbit) => mbit >= leastMbit);
    const isWhole = isEnough || (pauseMs < MAX_PAUSE_MS && !hasThreads);
    if (isWhole || attempt === ATTEMPTS) return rates;
    const seen = rates.map((mbit) => mbit.toFixed(3)).join(' and ');
    t.log(`measured again: ${seen} Mbit/s, the sender paused for ${pauseMs.toFixed(0)} ms`);
  }
}

/**
 * Counts what comes to a device, and what of it nft takes for frames of a kind; gives which part
 * these were, of bytes: 0 to 1. Requests for addresses are next to nothing of it.
 */
export async function countFrames(
  { netns }: TestNetns,
  device: string,
  frames: string,
): Promise<() => Promise<number>> {
  const rules = [
    `type filter hook ingress device "${device}" priority 0;`,
    'counter',
    `${frames} counter`,
  ];
  await capture(
    ...inNamespace(
      netns.path,
      'nft',
      `table netdev seen {\n chain arriving {\n${rules.join('\n')}\n}\n}`,
    ),
  );
  return async () => {
    const listed = await capture(
      ...inNamespace(netns.path, 'nft', 'list', 'table', 'netdev', 'seen'),
    );
    const [all = 0, ofKind = 0] = [...listed.matchAll(/ bytes (\d+)/g)].map(([, bytes]) =>
      Number(bytes),
    );
    return ofKind / all;
  };
}

/** A flood uses at least this part of its cap. */
export const USED_PART = 0.99;

/** Within one percent, of both sides: a flood uses all of its cap. */
export function holds(t: ExecutionContext, mbit: number, expected = CAP_MBIT): void {
  t.true(mbit <= 1.01 * expected && mbit >= USED_PART * expected, `${mbit} Mbit/s on the wire`);
}

/** Waits until the helper has followed what was changed, and finds nothing wrong. */
export async function settle(t: ExecutionContext, { helper }: Scene): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, FOLLOW_MS));
  const { state, problems } = await helper.ask('status', {});
  t.is(state, 'ok', problems.join('; '));
}

/** Where podpace stands at tcx nobody has made it yet. */
export function makeClsact({ tc }: TestNetns, device: string): void {
  if (!tc('qdisc', 'show', 'dev', device).includes('clsact'))
    tc('qdisc', 'add', 'dev', device, 'clsact');
}
