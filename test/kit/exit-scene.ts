// A node with a helper and one capped pod on a kernel that can hold packets, and what leaves the
// node while the pod sends.

import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ExecutionContext } from 'ava';
import { writeSysctl } from '../../helper/kernel/sysctl.ts';
import { DEFAULT_BURST_NS, DEFAULTS } from '../../helper/shaping/rates.ts';
import type { ExitStatus, StatusResult } from '../../helper/protocol/messages.ts';
import { capture } from '../../scripts/lib/process.ts';
import { growthRate, type Point } from '../bed/statistics.ts';
import type { BackgroundProcess } from '../bed/background.ts';
import { startHelper } from '../bed/helper.ts';
import { startServer } from '../bed/iperf.ts';
import { inNetnsAt } from '../bed/namespaces.ts';
import { addPod, bandwidthArguments, dualIpam, podpaceWith, type PodCaps } from '../bed/plugins.ts';
import { temporaryDirectory } from '../bed/temporary-directory.ts';
import { inNamespace, makeTestBed, type TestBed } from '../bed/testbed.ts';
import { UndoStack } from '../bed/undo.ts';
import { askNode } from './ask.ts';

export const CAP_MBIT = 10;
/** A second port at which the pod can be asked to send. */
export const SECOND_PORT = 5202;
/** How long an exit may take to be found. */
export const FOLLOW_MS = 2000;
const SETTLE_MS = 1000;
/** For how long, and how far apart, it is counted what has come. */
const MEASURE_SECONDS = 3;
const SAMPLE_MS = 50;
const MAX_READING_MS = 5;
const MAX_READINGS = 4;
/** What can be due at once: the horizon of a cap, and its burst. */
const QUEUE_MS = (DEFAULTS.horizonNs + DEFAULT_BURST_NS) / 1e6;
/** Less of the cap than this part is not used by a pod that sends all it can. */
const USED_PART = 0.9;

const IPAM = dualIpam('10.86.0.0/24', '2001:db8:86::/64');

export interface SceneNode {
  readonly bed: TestBed<'pod'>;
  readonly helper: BackgroundProcess;
}

export interface Scene extends SceneNode {
  readonly podAddress: string;
  readonly podAddress6: string;
}

/** What it takes to count what has come to the peer. */
interface PeerScene {
  readonly bed: Pick<TestBed<string>, 'peer'>;
}

/** What it takes to have the pod send. */
type SendingScene = PeerScene & Pick<Scene, 'podAddress' | 'podAddress6'>;

export type Ip = (command: string) => string;

export function ipIn(netns: string): Ip {
  return (line) =>
    execFileSync(...inNamespace(netns, 'ip', ...line.split(' ')), { encoding: 'utf8' });
}

/** Tells the namespaces of scenes apart. */
let scenes = 0;

export interface SceneOptions {
  /** Of `podpaced run`. */
  readonly flags?: readonly string[];
  /** The node is a container: see makeTestBed. */
  readonly isNested?: boolean;
  /** More keys of the plugin. */
  readonly keys?: object;
  /** Caps of the pod; CAP_MBIT on what it sends when absent. */
  readonly caps?: PodCaps;
}

/** A node with a helper and one capped pod of both families. */
export async function makeScene(undo: UndoStack, options: SceneOptions = {}): Promise<Scene> {
  return await addScenePod(await makeSceneNode(undo, options), options, undo);
}

/** The same without the pod. */
export async function makeSceneNode(
  undo: UndoStack,
  { flags = [], isNested = false }: Pick<SceneOptions, 'flags' | 'isNested'> = {},
): Promise<SceneNode> {
  const signal = new AbortController().signal;
  scenes += 1;
  const bed = await makeTestBed(['pod'], undo, signal, { label: `${scenes}-`, isNested });
  const pod = bed.pods.get('pod') ?? '';
  const helper = await startHelper(bed, undo, signal, flags);
  await startServer(pod, undo, signal);
  await startServer(pod, undo, signal, SECOND_PORT);
  // Frames are counted by the device: none may stand for several.
  for (const ip of [ipIn(bed.node), ipIn(bed.peer)]) ip('link set uplink gso_max_segs 1');
  return { bed, helper };
}

/** Adds the pod to a node, and takes it away with `undo`. */
export async function addScenePod(
  { bed, helper }: SceneNode,
  { keys = {}, caps = { egressMbit: CAP_MBIT } }: Pick<SceneOptions, 'keys' | 'caps'>,
  undo: UndoStack,
): Promise<Scene> {
  const network = podpaceWith(temporaryDirectory(undo), 'exits', { ipam: IPAM, ...keys });
  const netns = bed.pods.get('pod') ?? '';
  const capabilityArguments = bandwidthArguments(caps);
  const added = await addPod({ network, bed, netns, capabilityArguments }, undo);
  const { ips } = JSON.parse(added) as { ips: { address: string }[] };
  const addresses = ips.map(({ address }) => address.split('/')[0] ?? '');
  forwardIpv6(bed.node);
  return {
    ...{ bed, helper },
    podAddress: addresses.find((address) => address.includes('.')) ?? '',
    podAddress6: addresses.find((address) => address.includes(':')) ?? '',
  };
}

/** Has a node forward IPv6. */
export function forwardIpv6(node: string): void {
  inNetnsAt(node, () => writeSysctl('net/ipv6/conf/all/forwarding', '1'));
}

/** Gives the link between node and peer IPv6, and returns the peer's address. */
export function giveIpv6(bed: Pick<TestBed<string>, 'node' | 'peer'>): string {
  const [node, peer] = ['2001:db8:1::1', '2001:db8:1::2'];
  ipIn(bed.node)(`-6 address add ${node}/64 dev uplink nodad`);
  ipIn(bed.peer)(`-6 address add ${peer}/64 dev uplink nodad`);
  ipIn(bed.peer)(`-6 route add default via ${node}`);
  return peer;
}

export function status({ bed }: Scene): Promise<StatusResult> {
  return askNode(bed, 'status', {});
}

/** A scene of a test's own. */
export async function makeOwnScene(
  t: ExecutionContext,
  options: SceneOptions = {},
): Promise<Scene> {
  t.timeout(300_000);
  return await makeScene(UndoStack.of(t), options);
}

/** The exit with a name once it holds caps. */
export async function exitNamed(
  t: ExecutionContext,
  scene: Scene,
  name: string,
): Promise<ExitStatus | undefined> {
  const endMs = performance.now() + FOLLOW_MS;
  for (;;) {
    const { exits, state, problems } = await status(scene);
    const exit = exits.find((each) => each.name === name);
    if (exit?.departureProgram === true && state === 'ok') return exit;
    if (performance.now() > endMs) {
      t.fail(`${name} is not capping: ${JSON.stringify(exit)}, ${problems.join('; ')}`);
      return undefined;
    }
    await sleep(50);
  }
}

/**
 * What devices have received, read in the namespace that the caller is in, and when: in the middle
 * of the reading.
 */
function receivedBits(devices: readonly string[]): Point {
  for (let attempt = 1; ; attempt += 1) {
    const beginMs = performance.now();
    const table = fs.readFileSync('/proc/thread-self/net/dev', 'utf8');
    const endMs = performance.now();
    // Whoever is kept from the processor meanwhile knows of no moment that the count is of.
    if (endMs - beginMs > MAX_READING_MS && attempt < MAX_READINGS) continue;
    const lines = table.split('\n').map((line) => line.trim().split(/[:\s]+/));
    const bytes = devices.map((device) => Number(lines.find(([name]) => name === device)?.[1]));
    return [(beginMs + endMs) / 2, bytes.reduce((sum, each) => sum + each * 8, 0)];
  }
}

/** What the pod is to send: to an address of the peer, for a time. */
interface Sending {
  readonly to: string;
  readonly seconds: number;
  readonly port?: number;
  /** At most so much; all it can when absent. */
  readonly mbit?: number;
}

const SENDING_FLOWS = 4;

/** Has the pod send; settles when it has. */
export function send(
  { bed, podAddress, podAddress6 }: SendingScene,
  { to, seconds, port = 5201, mbit = 0 }: Sending,
): Promise<unknown> {
  const target = to.includes(':') ? podAddress6 : podAddress;
  const ends = ['--client', target, '--port', String(port), '--bind', to];
  const load = ['--reverse', '--parallel', String(SENDING_FLOWS), '--time', String(seconds)];
  const limit = ['--bitrate', `${mbit / SENDING_FLOWS}M`];
  const sent = capture(
    ...inNamespace(bed.peer, 'iperf3', ...ends, ...load, ...limit, '--connect-timeout', '5000'),
  );
  // Whoever waits for it hears of a failure; until then it must not end the process.
  sent.catch(() => undefined);
  return sent;
}

/**
 * Mbit/s of frames that come to devices of the peer from now on. When the processor has had no time
 * for packets that were due, they come late, and whoever counts at that moment finds too few and
 * then too many: as many as can be queued at once, which the horizon limits. So it is the growth in
 * the long run that counts, or all that came but one such queue if that is more.
 */
export async function rateOn(
  { bed }: PeerScene,
  devices: readonly string[],
  seconds = MEASURE_SECONDS,
): Promise<number> {
  const samples = (seconds * 1000) / SAMPLE_MS;
  const points: Point[] = [];
  for (let sample = 0; sample <= samples; sample += 1) {
    points.push(inNetnsAt(bed.peer, () => receivedBits(devices)));
    if (sample < samples) await sleep(SAMPLE_MS);
  }
  const [[beginMs, before], [endMs, after]] = [points[0] ?? [0, 0], points.at(-1) ?? [0, 0]];
  const queueBits = CAP_MBIT * 1e3 * QUEUE_MS;
  return Math.max(growthRate(points), (after - before - queueBits) / (endMs - beginMs)) / 1e3;
}

/** Mbit/s of frames that come to devices of the peer from now on, second by second. */
export async function secondsOn(
  { bed }: PeerScene,
  devices: readonly string[],
  seconds: number,
): Promise<number[]> {
  const points = [inNetnsAt(bed.peer, () => receivedBits(devices))];
  const [[beginMs] = [0]] = points;
  while (points.length <= seconds) {
    await sleep(beginMs + points.length * 1000 - performance.now());
    points.push(inNetnsAt(bed.peer, () => receivedBits(devices)));
  }
  return points.slice(1).map(([ms, bits], at) => {
    const [formerMs, formerBits] = points[at] ?? [0, 0];
    return (bits - formerBits) / (ms - formerMs) / 1e3;
  });
}

/**
 * Has the pod send to an address of the peer; Mbit/s of frames that come to devices of the peer,
 * counted for so many seconds.
 */
export async function measure(
  scene: SendingScene,
  to: string,
  devices: readonly string[] = ['uplink'],
  { seconds = MEASURE_SECONDS, ...how }: Partial<Omit<Sending, 'to'>> = {},
): Promise<number> {
  const sent = send(scene, { to, seconds: SETTLE_MS / 1000 + seconds + 1, ...how });
  await sleep(SETTLE_MS);
  const mbit = await rateOn(scene, devices, seconds);
  await sent;
  return mbit;
}

/**
 * Has the pod send while something changes; Mbit/s from the moment on at which the change must have
 * been followed. The pod sends on after a change that has thrown, and is waited for. Flows that
 * were cut off come back after a timeout of TCP's, which is as long as they were; so that the cap
 * is used again there are new ones beside them.
 */
export async function measureAfter(scene: Scene, to: string, change: () => void): Promise<number> {
  const laterSeconds = FOLLOW_MS / 1000 + MEASURE_SECONDS + 1;
  const sent = [send(scene, { to, seconds: SETTLE_MS / 1000 + 2 + laterSeconds })];
  try {
    await sleep(SETTLE_MS + 1000);
    change();
    sent.push(send(scene, { to, seconds: laterSeconds, port: SECOND_PORT }));
    await sleep(FOLLOW_MS);
    return await rateOn(scene, ['uplink']);
  } finally {
    await Promise.all(sent);
  }
}

/** The cap holds, and is used. */
export function holds(t: ExecutionContext, mbit: number): void {
  t.log(`${mbit.toFixed(3)} Mbit/s of ${CAP_MBIT}`);
  t.true(mbit <= 1.01 * CAP_MBIT, `${mbit} Mbit/s on the wire`);
  t.true(mbit >= USED_PART * CAP_MBIT, `${mbit} Mbit/s on the wire`);
}
