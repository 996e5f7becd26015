// Networks, and calls of their plugins for the pods of a test bed.

import fs from 'node:fs';
import path from 'node:path';
import { CNITOOL } from '../../scripts/lib/cnitool.ts';
import { projectRoot } from '../../scripts/lib/paths.ts';
import { capture } from '../../scripts/lib/process.ts';
import type { TestBed } from './testbed.ts';
import type { UndoStack } from './undo.ts';

/** What containerd passes as burst when nobody sets one: 2^32 - 1 bits. */
const CONTAINERD_BURST_BITS = 4_294_967_295;

/**
 * Network lists by what adds the pods; `ptp` is the plain plugin that TBF's list has as well. They
 * are used as the files have them: the node's own mounts make every path in them private.
 */
const CONFLISTS = {
  podpace: path.join(projectRoot, 'conf/10-podpace.conflist'),
  tbf: path.join(projectRoot, 'test/bed/tbf.conflist'),
  ptp: path.join(projectRoot, 'test/bed/ptp.conflist'),
  'podpace-bridge': path.join(projectRoot, 'conf/20-bridge-podpace.conflist'),
  'tbf-bridge': path.join(projectRoot, 'test/bed/tbf-bridge.conflist'),
} as const;

export type Network = keyof typeof CONFLISTS;

/** A network list as a file, when it is none of those. */
export interface OwnNetwork {
  readonly conflist: string;
}

/**
 * Writes podpace's network list with further keys for the plugin into a folder of its own, as a
 * network of another name and subnet; returns it. Plugins that come `before` it in the list make
 * the interface, when keys.ipam is undefined.
 */
export function podpaceWith(
  folder: string,
  name: string,
  keys: object,
  before: readonly object[] = [],
): OwnNetwork {
  const list = JSON.parse(fs.readFileSync(CONFLISTS.podpace, 'utf8')) as { plugins: object[] };
  fs.mkdirSync(path.join(folder, name), { recursive: true });
  const conflist = path.join(folder, name, '10-podpace.conflist');
  const plugins = [...before, ...list.plugins.map((plugin) => ({ ...plugin, ...keys }))];
  fs.writeFileSync(conflist, JSON.stringify({ ...list, name, plugins }));
  return { conflist };
}

/** Addresses of host-local for pods of both families, and routes to everywhere. */
export const dualIpam = (ipv4: string, ipv6: string): object => ({
  type: 'host-local',
  ranges: [[{ subnet: ipv4 }], [{ subnet: ipv6 }]],
  routes: [{ dst: '0.0.0.0/0' }, { dst: '::/0' }],
});

const PLUGIN_PATH = [path.join(projectRoot, 'dist'), '/usr/lib/cni', '/opt/cni/bin'].join(':');

/** Caps of a pod; a direction without one is absent. */
export interface PodCaps {
  readonly egressMbit?: number | undefined;
  readonly ingressMbit?: number | undefined;
  /** Of both; what containerd passes when absent. */
  readonly burstBits?: number;
}

/**
 * The capability arguments of a pod, letter for letter as containerd spells them; empty for a pod
 * without a cap.
 */
export function bandwidthArguments({ egressMbit, ingressMbit, burstBits }: PodCaps): string {
  if (egressMbit === undefined && ingressMbit === undefined) return '{}';
  const burst = burstBits ?? CONTAINERD_BURST_BITS;
  const bandwidth = {
    IngressRate: (ingressMbit ?? 0) * 1_000_000,
    IngressBurst: ingressMbit === undefined ? 0 : burst,
    EgressRate: (egressMbit ?? 0) * 1_000_000,
    EgressBurst: egressMbit === undefined ? 0 : burst,
  };
  return JSON.stringify({ bandwidth });
}

function field(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null
    ? (value as Record<string, unknown>)[name]
    : undefined;
}

/**
 * The pod's first IPv4 address in the result of ADD. Throws Error with the result when there is
 * none.
 */
export function addressOf(result: string): string {
  const ips = field(JSON.parse(result), 'ips');
  for (const ip of Array.isArray(ips) ? ips : []) {
    const address = field(ip, 'address');
    if (typeof address === 'string' && address.includes('.'))
      return address.split('/')[0] ?? address;
  }
  throw new Error(`Cannot find the pod's IPv4 address in the result of ADD: ${result}`);
}

/**
 * Name of the node's end of the pod's pair in the result of ADD. Throws Error with the result when
 * there is none.
 */
export function hostInterfaceOf(result: string): string {
  const interfaces = field(JSON.parse(result), 'interfaces');
  for (const each of Array.isArray(interfaces) ? interfaces : []) {
    const name = field(each, 'name');
    if (typeof name === 'string' && (field(each, 'sandbox') ?? '') === '') return name;
  }
  throw new Error(`Cannot find the host interface in the result of ADD: ${result}`);
}

/** What a runtime knows of a pod. */
export interface PodCall {
  readonly network: Network | OwnNetwork;
  readonly bed: TestBed<string>;
  /** The pod's namespace. */
  readonly netns: string;
  /** CAP_ARGS: what bandwidthArguments returns; none when absent. */
  readonly capabilityArguments?: string;
}

/**
 * Runs cnitool, which has to be there (ensureCnitool), on the node with what a runtime would pass
 * for the pod; returns what it prints. Throws CommandError.
 */
export async function callPlugins(
  verb: 'add' | 'del' | 'check',
  { network, bed, netns, capabilityArguments = '{}' }: PodCall,
): Promise<string> {
  const conflist = typeof network === 'string' ? CONFLISTS[network] : network.conflist;
  const name = String(field(JSON.parse(fs.readFileSync(conflist, 'utf8')), 'name'));
  const env = {
    CNI_PATH: PLUGIN_PATH,
    NETCONFPATH: path.dirname(conflist),
    CAP_ARGS: capabilityArguments,
    CNI_IFNAME: 'eth0',
  };
  return await capture(...bed.onNode(CNITOOL, verb, name, netns), { env });
}

/**
 * Has the plugins of its network add a pod, and returns the result of ADD; `undo` takes it away,
 * also when adding it has failed. Throws CommandError with cnitool's words.
 */
export async function addPod(pod: PodCall, undo: UndoStack): Promise<string> {
  undo.defer('take a pod away', async () => void (await callPlugins('del', pod)));
  return await callPlugins('add', pod);
}
