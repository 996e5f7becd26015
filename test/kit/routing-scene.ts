// A node with a helper and pods whose packets go past its IP stack, and a peer beyond its uplink.

import { execFileSync, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import type { ExecutionContext } from 'ava';
import type { ListResult, StatusResult } from '../../helper/protocol/messages.ts';
import { inNetnsAt } from '../bed/namespaces.ts';
import type { BackgroundProcess } from '../bed/background.ts';
import { startHelper } from '../bed/helper.ts';
import { callPlugins, dualIpam, podpaceWith } from '../bed/plugins.ts';
import { temporaryDirectory } from '../bed/temporary-directory.ts';
import { inNamespace, makeTestBed, type TestBed } from '../bed/testbed.ts';
import type { UndoStack } from '../bed/undo.ts';
import { askNode } from './ask.ts';
import { forwardIpv6, giveIpv6 } from './exit-scene.ts';

/** Addresses of the pods, by the order in which they are added. */
export const POD_IPV4 = ['10.85.0.2', '10.85.0.3'] as const;
export const POD_IPV6 = ['2001:db8:85::2', '2001:db8:85::3'] as const;
export const PEER_IPV4 = '198.51.100.2';
export const PEER_IPV6 = '2001:db8:1::2';

const IPAM = dualIpam('10.85.0.0/24', '2001:db8:85::/64');

const POD_NAMES = ['one', 'two'] as const;
type PodName = (typeof POD_NAMES)[number];
export type RoutingBed = TestBed<PodName>;

export interface RoutingScene {
  readonly bed: RoutingBed;
  readonly helper: BackgroundProcess;
  /** Calls the plugin for a pod. Throws CommandError with its words. */
  readonly call: (verb: 'add' | 'del' | 'check', pod?: PodName) => Promise<string>;
}

/** A node with a helper that knows of no pod. */
export interface RoutingNode {
  readonly bed: RoutingBed;
  readonly helper: BackgroundProcess;
  /** For the lists of its networks. */
  readonly folder: string;
}

/** Pods to add to a node. */
export interface RoutedPods {
  /** Keys of the plugin. */
  readonly keys: object;
  /** Another plugin makes the interfaces. */
  readonly behind?: 'ptp';
  /** Capability arguments. */
  readonly caps?: object;
  /** Which are added: each call of the plugins is seconds on an emulated processor. */
  readonly pods?: readonly PodName[];
  /** Name of the network, whose pods get the same addresses as those of any other. */
  readonly network?: string;
}

export function run(netns: string, command: string, ...args: string[]): string {
  return execFileSync(...inNamespace(netns, command, ...args), { encoding: 'utf8' });
}

let scenes = 0;

/** All of it goes with `undo`. `prepare` is done before the helper is started. */
export async function makeRoutingNode(
  undo: UndoStack,
  prepare?: (bed: RoutingBed) => Promise<void>,
): Promise<RoutingNode> {
  scenes += 1;
  const { signal } = new AbortController();
  const folder = temporaryDirectory(undo);
  const bed = await makeTestBed(POD_NAMES, undo, signal, { label: `r${scenes}-` });
  giveIpv6(bed);
  forwardIpv6(bed.node);
  await prepare?.(bed);
  return { bed, helper: await startHelper(bed, undo, signal), folder };
}

/** Adds pods to a node; they are taken away with `undo`. */
export async function addRoutedPods(
  { bed, helper, folder }: RoutingNode,
  { keys, behind, caps = {}, pods = POD_NAMES, network: name = 'routed' }: RoutedPods,
  undo: UndoStack,
): Promise<RoutingScene> {
  const network =
    behind === undefined
      ? podpaceWith(folder, name, { ipam: IPAM, ...keys })
      : podpaceWith(folder, name, { ipam: undefined, ...keys }, [{ type: behind, ipam: IPAM }]);
  const present = new Set<PodName>();
  const call: RoutingScene['call'] = async (verb, pod = 'one') => {
    if (verb === 'add') present.add(pod);
    const netns = bed.pods.get(pod) ?? '';
    const capabilityArguments = JSON.stringify(caps);
    const said = await callPlugins(verb, { network, bed, netns, capabilityArguments });
    if (verb === 'del') present.delete(pod);
    return said;
  };
  undo.defer('take the pods away', async () => {
    for (const pod of present) await call('del', pod);
  });
  for (const pod of pods) await call('add', pod);
  const scene = { bed, helper, call };
  // Neighbours: the first packets are the stack's.
  for (const to of [PEER_IPV4, PEER_IPV6]) await ping(scene, to);
  return scene;
}

/** A node and pods; all of it goes with `undo`. `prepare` is done before they are added. */
export async function makeRoutingScene(
  pods: RoutedPods,
  undo: UndoStack,
  prepare?: (bed: RoutingBed) => Promise<void>,
): Promise<RoutingScene> {
  return await addRoutedPods(await makeRoutingNode(undo, prepare), pods, undo);
}

/**
 * Packets that the node's IP stack has forwarded, of both families: Ip: ForwDatagrams,
 * Ip6OutForwDatagrams.
 */
export function forwardedByStack({ bed }: Pick<RoutingScene, 'bed'>): number {
  return inNetnsAt(bed.node, () => {
    const [names = '', values = ''] = fs
      .readFileSync('/proc/thread-self/net/snmp', 'utf8')
      .split('\n')
      .filter((line) => line.startsWith('Ip:'));
    const ipv4 = Number(values.split(' ')[names.split(' ').indexOf('ForwDatagrams')]);
    const ipv6 = /^Ip6OutForwDatagrams\s+(\d+)$/m.exec(
      fs.readFileSync('/proc/thread-self/net/snmp6', 'utf8'),
    );
    return ipv4 + Number(ipv6?.[1] ?? 0);
  });
}

export const PINGS = 5;

/**
 * Pings from a pod (from the peer with `isFromPeer`); what busybox's ping prints. Its options come
 * last.
 */
export async function ping(
  { bed }: Pick<RoutingScene, 'bed'>,
  to: string,
  {
    options = [],
    isFromPeer = false,
  }: { readonly options?: readonly string[]; readonly isFromPeer?: boolean } = {},
): Promise<string> {
  const netns = isFromPeer ? bed.peer : (bed.pods.get('one') ?? '');
  const family = to.includes(':') ? '-6' : '-4';
  const pings = ['-c', String(PINGS), '-i', '0.05', '-W', '2', ...options];
  const { stdout, stderr } = spawnSync(
    ...inNamespace(netns, 'busybox', 'ping', family, ...pings, to),
    {
      encoding: 'utf8',
    },
  );
  return stdout + stderr;
}

/**
 * Takes something away until it is missed: a reconciliation, which comes every 10 s, may be faster
 * than who looks. Returns the problems of all attachments, and what CHECK says of the first pod.
 */
export async function missedAfter(
  scene: RoutingScene,
  takeAway: () => void,
): Promise<{ problems: string; check: string }> {
  for (let attempt = 1; ; attempt += 1) {
    takeAway();
    const problems = await problemsOf(scene);
    takeAway();
    const check = await scene.call('check').catch((error: unknown) => String(error));
    if ((problems !== '' && check.includes('missing')) || attempt === 5) return { problems, check };
  }
}

/** All that is wrong with the attachments. */
export async function problemsOf(scene: RoutingScene): Promise<string> {
  return (await list(scene)).attachments.flatMap(({ problems }) => problems).join('\n');
}

export const status = (scene: Pick<RoutingScene, 'bed'>): Promise<StatusResult> =>
  askNode(scene.bed, 'status', {});
export const list = (scene: Pick<RoutingScene, 'bed'>): Promise<ListResult> =>
  askNode(scene.bed, 'list', {});

/** Of ping, when nothing was lost. */
export const ALL_ANSWERED = new RegExp(`${PINGS} packets transmitted, ${PINGS} packets received`);

/**
 * How many packets the stack forwards while pings are answered: requests and answers are two each.
 */
export async function forwardedDuring(
  t: ExecutionContext,
  scene: RoutingScene,
  to: string,
  options: Parameters<typeof ping>[2] = {},
): Promise<number> {
  const before = forwardedByStack(scene);
  t.regex(await ping(scene, to, options), ALL_ANSWERED);
  return forwardedByStack(scene) - before;
}
