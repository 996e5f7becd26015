// The systems under comparison: how each is started on the node, and how a pod is added by it.

import fs from 'node:fs';
import path from 'node:path';
import { projectRoot } from '../lib/paths.ts';
import { capture } from '../lib/process.ts';
import { BackgroundProcess } from './background.ts';
import { capMbit } from './limits.ts';
import type { Scenario, System } from './limits.ts';
import type { TestBed } from './testbed.ts';
import type { UndoStack } from './undo.ts';

/** What containerd passes as burst when nobody sets one: 2^32 - 1 bits. */
const CONTAINERD_BURST_BITS = 4_294_967_295;

const HELPER_SOCKET = '/run/podpace/helper.sock';

/** Both use the conflist as the file has it: the node's own mounts make every path in it private. */
const CONFLISTS: Readonly<Record<System, string>> = {
  podpace: path.join(projectRoot, 'conf/10-podpace.conflist'),
  tbf: path.join(projectRoot, 'scripts/measure/tbf.conflist'),
};

const PLUGIN_PATH = [path.join(projectRoot, 'dist'), '/usr/lib/cni', '/opt/cni/bin'].join(':');

/** The capability arguments of a pod, letter for letter as containerd spells them; empty for a pod without a cap. */
export function capabilityArguments(scenario: Scenario): string {
  const cap = capMbit(scenario);
  if (cap === undefined) return '{}';
  const bandwidth = {
    IngressRate: 0,
    IngressBurst: 0,
    EgressRate: cap * 1_000_000,
    EgressBurst: CONTAINERD_BURST_BITS,
  };
  return JSON.stringify({ bandwidth });
}

function field(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[name] : undefined;
}

/** The pod's first IPv4 address in the result of ADD. Throws Error with the result when there is none. */
export function addressOf(result: string): string {
  const ips = field(JSON.parse(result), 'ips');
  for (const ip of Array.isArray(ips) ? ips : []) {
    const address = field(ip, 'address');
    if (typeof address === 'string' && address.includes('.')) return address.split('/')[0] ?? address;
  }
  throw new Error(`Cannot find the pod's IPv4 address in the result of ADD: ${result}`);
}

/** Starts what the system needs on the node: podpace its helper, the other nothing. */
export async function startSystem(
  system: System,
  bed: TestBed<Scenario>,
  undo: UndoStack,
  signal: AbortSignal,
): Promise<void> {
  if (system === 'tbf') return;
  const [command, args] = bed.onNode(path.join(projectRoot, 'dist/podpaced'), 'run');
  const helper = await BackgroundProcess.start(command, args);
  undo.defer('end podpaced', () => helper.stop());
  await helper.ready(() => fs.existsSync(bed.nodeFile(HELPER_SOCKET)), signal);
}

/** A pod to add: its namespace, and the scenario that tells its cap. */
export interface Pod {
  readonly netns: string;
  readonly scenario: Scenario;
}

/** Where pods are added, and by what. */
export interface PodPlace {
  readonly system: System;
  readonly bed: TestBed<Scenario>;
  /** Path of the cnitool executable. */
  readonly cnitool: string;
}

/** Runs cnitool on the node with what a runtime would pass for the pod; returns what it prints. */
async function callPlugins(verb: 'add' | 'del', place: PodPlace, pod: Pod): Promise<string> {
  const conflist = CONFLISTS[place.system];
  const network = String(field(JSON.parse(fs.readFileSync(conflist, 'utf8')), 'name'));
  const env = {
    CNI_PATH: PLUGIN_PATH,
    NETCONFPATH: path.dirname(conflist),
    CAP_ARGS: capabilityArguments(pod.scenario),
    CNI_IFNAME: 'eth0',
  };
  return await capture(...place.bed.onNode(place.cnitool, verb, network, pod.netns), { env });
}

/** Adds a pod with the cap of its scenario and returns its IPv4 address. Throws CommandError with cnitool's words. */
export async function addPod(place: PodPlace, pod: Pod): Promise<string> {
  return addressOf(await callPlugins('add', place, pod));
}

/** Takes a pod away; also one whose adding failed. Throws CommandError with cnitool's words. */
export async function removePod(place: PodPlace, pod: Pod): Promise<void> {
  await callPlugins('del', place, pod);
}
