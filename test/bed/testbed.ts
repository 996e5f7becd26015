// A node and a peer: two network namespaces joined by the node's uplink, a third for each pod, and
// a mount namespace in which the node's programs find /var/lib/cni, /run/podpace and /sys/fs/bpf
// empty and theirs alone. With these, plugins and helper run with their shipped settings and still
// touch nothing of the machine's own.
//
// What they find on /sys/fs/bpf is a folder of this machine's bpffs: podpaced would refuse one that
// ends with the node.

import fs from 'node:fs';
import path from 'node:path';
import { BPFFS, provideBpffs } from '../../scripts/lib/bpffs.ts';
import { BackgroundProcess } from './background.ts';
import { makeNamespaces, restoreNamespaceFolder } from './namespaces.ts';
import { joinByUplink } from './uplink.ts';
import type { UndoStack } from './undo.ts';

/** Folders that the mount namespace covers. */
const PRIVATE_FOLDERS = ['/var/lib/cni', '/run/podpace'] as const;

/** Namespaces of a test bed, by path. */
export interface TestBed<Pod extends string> {
  readonly node: string;
  readonly peer: string;
  /** One for each name that was asked for. */
  readonly pods: ReadonlyMap<Pod, string>;
  /**
   * A command and its arguments turned into those that run it on the node, with the node's mounts.
   */
  onNode(command: string, ...args: string[]): [command: string, args: string[]];
  /** Path by which this process reaches a file of the node's mount namespace. */
  nodeFile(path: string): string;
}

/**
 * A command turned into the one that runs it in a network namespace; /sys stays this machine's,
 * unlike with `ip netns exec`.
 */
export function inNamespace(netns: string, command: string, ...args: string[]): [string, string[]] {
  return ['nsenter', [`--net=${netns}`, command, ...args]];
}

/** Makes a folder to mount on, unless it is there; what was made is removed again. */
function provideFolder(folder: string, undo: UndoStack): void {
  if (fs.existsSync(folder)) return;
  undo.defer(`remove the folder ${folder}`, () => {
    if (fs.existsSync(folder)) fs.rmdirSync(folder);
  });
  fs.mkdirSync(folder, { recursive: true });
}

export interface BedOptions {
  /** Tells the namespaces of several test beds of one process apart. */
  readonly label?: string;
  /**
   * The node is a container, as kind's are: it has a process namespace of its own, and of /proc and
   * /sys sees only its own.
   */
  readonly isNested?: boolean;
  /** Of /sys it sees its own devices, as a real node does, and keeps this machine's bpffs. */
  readonly hasOwnSys?: boolean;
}

/**
 * Makes a folder on this machine's bpffs, gone with all pins in it afterwards. Returns its path.
 */
function addPinFolder(node: string, undo: UndoStack): string {
  const removeBpffs = provideBpffs();
  undo.defer(`unmount ${BPFFS}`, removeBpffs);
  const folder = path.join(BPFFS, path.basename(node));
  undo.defer(`remove ${folder}`, () => fs.rmSync(folder, { recursive: true, force: true }));
  fs.mkdirSync(folder);
  return folder;
}

/**
 * Starts a process that keeps the node's mount namespace, and a nested node's processes; all of it
 * is gone with it.
 */
async function holdMounts(
  node: string,
  { isNested = false, hasOwnSys = false }: BedOptions,
  undo: UndoStack,
  signal: AbortSignal,
): Promise<BackgroundProcess> {
  for (const folder of PRIVATE_FOLDERS) provideFolder(folder, undo);
  // A nested node ends with its processes and mounts, and its pods with it.
  const bpffs = isNested
    ? ['mount -t sysfs sysfs /sys', `mount -t bpf bpf ${BPFFS}`]
    : [`mount --bind ${addPinFolder(node, undo)} ${BPFFS}`];
  // The new /sys hides the folder of pins, which is kept elsewhere meanwhile.
  const [aside] = PRIVATE_FOLDERS;
  const sys = hasOwnSys
    ? [
        `mount --bind ${BPFFS} ${aside}`,
        'mount -t sysfs sysfs /sys',
        `mount --move ${aside} ${BPFFS}`,
      ]
    : [];
  const mounts = [
    ...bpffs,
    ...sys,
    ...PRIVATE_FOLDERS.map((folder) => `mount -t tmpfs tmpfs ${folder}`),
    'echo mounted',
    'exec sleep infinity',
  ];
  const own = isNested ? ['--pid', '--fork', '--kill-child', '--mount-proc'] : [];
  const unshare = ['--mount', '--propagation=slave', ...own, 'sh', '-c', mounts.join(' && ')];
  const holder = await BackgroundProcess.start(...inNamespace(node, 'unshare', ...unshare));
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
  options: BedOptions = {},
): Promise<TestBed<Pod>> {
  const { label = '', isNested = false } = options;
  const names = ['node', 'peer', ...podNames].map((name) => `pp-${process.pid}-${label}${name}`);
  restoreNamespaceFolder(undo);
  const [node = '', peer = '', ...podPaths] = makeNamespaces(undo, names);
  const pods = new Map(podNames.map((name, index) => [name, podPaths[index] ?? '']));
  signal.throwIfAborted();
  await joinByUplink(node, peer);
  signal.throwIfAborted();
  // Last, so that the copy of the mount table has the namespaces' files in it.
  const holder = await holdMounts(node, options, undo, signal);
  const namespaces = [`--net=${node}`, `--mount=/proc/${holder.pid}/ns/mnt`];
  // The holder itself is outside: its first child began the node's processes.
  if (isNested) namespaces.push(`--pid=/proc/${holder.pid}/ns/pid_for_children`);
  return {
    node,
    peer,
    pods,
    onNode: (command, ...args) => ['nsenter', [...namespaces, command, ...args]],
    nodeFile: (path) => `/proc/${holder.pid}/root${path}`,
  };
}
