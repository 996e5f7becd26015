// A node and a peer: two network namespaces joined by the node's uplink, a third for each pod, and a mount namespace
// in which the node's programs find /var/lib/cni, /run/podpace and /sys/fs/bpf empty and theirs alone. With these,
// plugins and helper run with their shipped settings and still touch nothing of the machine's own.

import fs from 'node:fs';
import { capture } from '../lib/process.ts';
import { BackgroundProcess } from './background.ts';
import type { UndoStack } from './undo.ts';

/** The uplink's name on both sides. */
export const UPLINK = 'uplink';

/** As on a small cloud machine; more than one makes podpace use `mq`. */
const UPLINK_QUEUES = 4;

const NODE_ADDRESS = '198.51.100.1'; // TEST-NET-2 of RFC 5737
const PEER_ADDRESS = '198.51.100.2';

/** Folders that the mount namespace covers. */
const PRIVATE_FOLDERS = ['/var/lib/cni', '/run/podpace'];

/** Namespaces of a test bed, by path. */
export interface TestBed<Pod extends string> {
  readonly node: string;
  readonly peer: string;
  /** One for each name that was asked for. */
  readonly pods: ReadonlyMap<Pod, string>;
  /** A command and its arguments turned into those that run it on the node, with the node's mounts. */
  onNode(command: string, ...args: string[]): [command: string, args: string[]];
  /** Path by which this process reaches a file of the node's mount namespace. */
  nodeFile(path: string): string;
}

/** A command turned into the one that runs it in a network namespace; /sys stays this machine's, unlike with `ip netns exec`. */
export function inNamespace(netns: string, command: string, ...args: string[]): [string, string[]] {
  return ['nsenter', [`--net=${netns}`, command, ...args]];
}

async function addNamespace(name: string, undo: UndoStack): Promise<string> {
  undo.defer(`delete the network namespace "${name}"`, async () => {
    if (fs.existsSync(`/run/netns/${name}`)) await capture('ip', ['netns', 'delete', name]);
  });
  await capture('ip', ['netns', 'add', name]);
  return `/run/netns/${name}`;
}

async function joinByUplink(node: string, peer: string): Promise<void> {
  const queues = ['numtxqueues', String(UPLINK_QUEUES), 'numrxqueues', String(UPLINK_QUEUES)];
  const onNode = (...args: string[]) => capture(...inNamespace(node, 'ip', ...args));
  const onPeer = (...args: string[]) => capture(...inNamespace(peer, 'ip', ...args));
  await onNode(
    'link',
    'add',
    UPLINK,
    ...queues,
    'type',
    'veth',
    'peer',
    'name',
    UPLINK,
    ...queues,
    'netns',
    peer,
  );
  for (const [ip, address] of [
    [onNode, NODE_ADDRESS],
    [onPeer, PEER_ADDRESS],
  ] as const) {
    await ip('address', 'add', `${address}/24`, 'dev', UPLINK);
    await ip('link', 'set', 'lo', 'up');
    await ip('link', 'set', UPLINK, 'up');
  }
  await onNode('route', 'add', 'default', 'via', PEER_ADDRESS);
  await onPeer('route', 'add', 'default', 'via', NODE_ADDRESS);
  await capture(...inNamespace(node, 'sh', '-c', 'echo 1 > /proc/sys/net/ipv4/ip_forward'));
}

/** Makes a folder to mount on, unless it is there; what was made is removed again. */
function provideFolder(folder: string, undo: UndoStack): void {
  if (fs.existsSync(folder)) return;
  undo.defer(`remove the folder ${folder}`, () => {
    if (fs.existsSync(folder)) fs.rmdirSync(folder);
  });
  fs.mkdirSync(folder, { recursive: true });
}

/** Starts a process that keeps the node's mount namespace; its mounts are gone with it. */
async function holdMounts(undo: UndoStack, signal: AbortSignal): Promise<BackgroundProcess> {
  for (const folder of PRIVATE_FOLDERS) provideFolder(folder, undo);
  const mounts = [
    ...PRIVATE_FOLDERS.map((folder) => `mount -t tmpfs tmpfs ${folder}`),
    'mount -t bpf bpf /sys/fs/bpf',
    'echo mounted',
    'exec sleep infinity',
  ];
  const holder = await BackgroundProcess.start('unshare', [
    '--mount',
    '--propagation=slave',
    'sh',
    '-c',
    mounts.join(' && '),
  ]);
  undo.defer("end the holder of the node's mounts", () => holder.stop());
  await holder.ready((output) => output.includes('mounted'), signal);
  return holder;
}

/**
 * Makes a node, a peer and namespaces for pods; what it makes is on `undo` before it is there.
 * Needs root, iproute2 and util-linux; throws CommandError with their words.
 */
export async function makeTestBed<Pod extends string>(
  podNames: readonly Pod[],
  undo: UndoStack,
  signal: AbortSignal,
): Promise<TestBed<Pod>> {
  const prefix = `pp-${process.pid}`;
  const node = await addNamespace(`${prefix}-node`, undo);
  const peer = await addNamespace(`${prefix}-peer`, undo);
  const pods = new Map<Pod, string>();
  for (const name of podNames) {
    signal.throwIfAborted();
    pods.set(name, await addNamespace(`${prefix}-${name}`, undo));
  }
  await joinByUplink(node, peer);
  signal.throwIfAborted();
  // Last, so that the copy of the mount table has the namespaces' files in it.
  const holder = await holdMounts(undo, signal);
  return {
    node,
    peer,
    pods,
    onNode: (command, ...args) => [
      'nsenter',
      [`--net=${node}`, `--mount=/proc/${holder.pid}/ns/mnt`, command, ...args],
    ],
    nodeFile: (path) => `/proc/${holder.pid}/root${path}`,
  };
}
