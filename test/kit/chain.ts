// A small libcni: runs a network's plugins as processes, in the order and with the inputs the
// specification says.

import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import { build } from 'esbuild';
import type { JsonObject } from '../../cni/types.ts';
import { makeNode, type TestNode } from './cni-node.ts';
import { temporaryDirectory } from '../bed/temporary-directory.ts';
import type { Teardown } from '../bed/undo.ts';
import { cniVariables, type Answer } from './plugin.ts';
import { endOf } from './run-program.ts';

/** The project's folder. */
const ROOT = path.join(import.meta.dirname, '../..');

/** Where Debian's containernetworking-plugins are. */
const PLUGIN_DIRECTORY = '/usr/lib/cni';

export interface NetworkList {
  readonly cniVersion: string;
  readonly name: string;
  readonly plugins: readonly JsonObject[];
}

export interface ProcessNode extends TestNode {
  /** Socket that processes of the node see as /run/podpace/helper.sock. */
  readonly socketPath: string;
  /** host-local's files that processes of the node see as /var/lib/cni/networks. */
  readonly dataDir: string;
  /** CNI_PATH with podpace and Debian's plugins. */
  readonly cniPath: string;
  /** Directory that stands for the node's own ones. */
  readonly root: string;
  /** Of a process that has the node's mounts. */
  readonly holderPid: number;
}

export interface Attachment {
  readonly netns: string;
  readonly containerId?: string;
  readonly ifname?: string;
  readonly capabilityArgs?: JsonObject;
}

/** How one plugin's process ended. */
export interface Run {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Thrown when a plugin of a chain fails. */
export class ChainError extends Error {
  readonly answer: Answer;
  constructor(type: string, run: Run) {
    super(`${type}: ${run.stdout}${run.stderr}`);
    this.answer = run.stdout === '' ? {} : (JSON.parse(run.stdout) as Answer);
  }
}

/** Reads one of the shipped lists as it stands. */
export function readConflist(name: string): NetworkList {
  const file = path.join(ROOT, 'conf', name);
  return JSON.parse(fs.readFileSync(file, 'utf8')) as NetworkList;
}

/**
 * The plugin in one file, as it is shipped but for Node around it: starts ten times faster than its
 * source.
 */
async function writePodpace(directory: string): Promise<void> {
  const outfile = path.join(directory, 'podpace.cjs');
  await build({
    entryPoints: [path.join(ROOT, 'cni/main.ts')],
    outfile,
    bundle: true,
    platform: 'node',
    format: 'cjs',
    supported: { 'dynamic-import': false },
    // Native addons are looked for relative to helper/kernel/.
    define: { 'import.meta.dirname': JSON.stringify(path.join(ROOT, 'helper/kernel')) },
    alias: { 'node-gyp-build': path.join(ROOT, 'helper/kernel/netlink-addon.cts') },
    logLevel: 'warning',
  });
  const script = `#!/bin/sh\nexec '${process.execPath}' '${outfile}'\n`;
  fs.writeFileSync(path.join(directory, 'podpace'), script, { mode: 0o755 });
}

/** A node whose /run/podpace and /var/lib belong to the test. */
export async function makeProcessNode(t: Teardown): Promise<ProcessNode> {
  const root = temporaryDirectory(t);
  for (const directory of ['bin', 'run/netns', 'run/podpace', 'lib/cni/networks']) {
    fs.mkdirSync(path.join(root, directory), { recursive: true });
  }
  await writePodpace(path.join(root, 'bin'));
  const node = makeNode(t);
  return {
    ...node,
    root,
    holderPid: await holdMounts(t, node.netns, root),
    socketPath: path.join(root, 'run/podpace/helper.sock'),
    dataDir: path.join(root, 'lib/cni/networks'),
    cniPath: `${path.join(root, 'bin')}:${PLUGIN_DIRECTORY}`,
  };
}

/**
 * Where stdin is a socket, as Node's are, bash would take itself for a remote shell's and read
 * ~/.bashrc.
 */
const BASH = ['bash', '--norc', '-c'];

const SET_UP = [
  'mount --rbind /run/netns "$0/run/netns"',
  'mount --rbind "$0/run" /run',
  'mount --bind "$0/lib" /var/lib',
  // What a plugin writes anywhere else, a hardened node would refuse.
  'mount -o remount,bind,ro /',
  'echo ready',
  // Until its stdin ends.
  'exec cat',
].join(' && ');

/**
 * Makes the mounts of a node, which last as long as the test: a process that only waits holds them.
 * Namespaces that are made or deleted later are so there, too. Returns the process's id.
 */
async function holdMounts(t: Teardown, netns: string, root: string): Promise<number> {
  const enter = [`--net=${netns}`, 'unshare', '--mount', '--propagation', 'slave'];
  const holder = spawn('nsenter', [...enter, ...BASH, SET_UP, root]);
  const ended = endOf(holder);
  t.teardown(async () => {
    holder.stdin.end();
    await ended;
  });
  const ready = once(holder.stdout, 'data').then(() => undefined);
  const failed = await Promise.race([ready, ended]);
  if (failed !== undefined) throw new Error(`Cannot make the mounts of a node: ${failed.stderr}`);
  return holder.pid!;
}

/**
 * Runs a program on the node, with nothing in its environment but `env` and no file system to write
 * to but its own. `onStart` gets the process, which becomes the program.
 */
export function runOnNode(
  node: ProcessNode,
  argv: readonly string[],
  env: Readonly<Record<string, string>>,
  stdin: string,
  onStart: (child: ChildProcess) => void = () => undefined,
): Promise<Run> {
  const variables = Object.entries(env).map(([name, value]) => `${name}=${value}`);
  // A runtime gives a pipe, where Node gives a socket.
  const enter = [`--target=${node.holderPid}`, '--net', '--mount', ...BASH];
  const becoming = [...enter, 'exec "$@" < <(cat)', 'bash', 'env', '-i', ...variables, ...argv];
  const child = spawn('nsenter', becoming);
  onStart(child);
  child.stdin.on('error', () => undefined);
  child.stdin.end(stdin);
  return endOf(child).then(({ code: status, ...output }) => ({ status, ...output }));
}

/** A plugin of a list, and what comes before it. */
interface Turn {
  readonly list: NetworkList;
  readonly plugin: JsonObject;
  readonly prevResult: Answer | undefined;
}

function pluginConfig({ list, plugin, prevResult }: Turn, attachment: Attachment): JsonObject {
  const { cniVersion, name } = list;
  const capabilities = (plugin['capabilities'] ?? {}) as Record<string, boolean>;
  const args = Object.entries(attachment.capabilityArgs ?? {}).filter(([key]) => capabilities[key]);
  return {
    ...plugin,
    name,
    cniVersion,
    ...(args.length === 0 ? {} : { runtimeConfig: Object.fromEntries(args) }),
    ...(prevResult === undefined ? {} : { prevResult }),
  };
}

async function runPlugin(
  node: ProcessNode,
  command: string,
  attachment: Attachment,
  turn: Turn,
): Promise<Answer> {
  const type = String(turn.plugin['type']);
  const file = node.cniPath
    .split(':')
    .map((directory) => path.join(directory, type))
    .find((candidate) => fs.existsSync(candidate));
  if (file === undefined) throw new Error(`No plugin ${type} in ${node.cniPath}`);
  const env = {
    PATH: '/usr/sbin:/usr/bin:/sbin:/bin',
    ...cniVariables(command, attachment.netns),
    CNI_PATH: node.cniPath,
    ...(attachment.containerId !== undefined && { CNI_CONTAINERID: attachment.containerId }),
    ...(attachment.ifname !== undefined && { CNI_IFNAME: attachment.ifname }),
  };
  const run = await runOnNode(node, [file], env, JSON.stringify(pluginConfig(turn, attachment)));
  if (run.status !== 0) throw new ChainError(type, run);
  return run.stdout === '' ? {} : (JSON.parse(run.stdout) as Answer);
}

/** ADD of every plugin in order; returns the last one's result. */
export async function addNetwork(
  node: ProcessNode,
  list: NetworkList,
  attachment: Attachment,
): Promise<Answer> {
  let result: Answer | undefined;
  for (const plugin of list.plugins)
    result = await runPlugin(node, 'ADD', attachment, { list, plugin, prevResult: result });
  return result ?? {};
}

/** DEL of every plugin, last first. */
export async function delNetwork(
  node: ProcessNode,
  list: NetworkList,
  attachment: Attachment,
  result?: Answer,
): Promise<void> {
  for (const plugin of list.plugins.toReversed())
    await runPlugin(node, 'DEL', attachment, { list, plugin, prevResult: result });
}

/** CHECK of every plugin in order. */
export async function checkNetwork(
  node: ProcessNode,
  list: NetworkList,
  attachment: Attachment,
  result: Answer,
): Promise<void> {
  for (const plugin of list.plugins)
    await runPlugin(node, 'CHECK', attachment, { list, plugin, prevResult: result });
}

/**
 * GC of podpace alone, as of a list of a version that has GC. Of attachments without a name it is
 * what runtimes call the pod's first interface.
 */
export async function collectPodpace(
  node: ProcessNode,
  { name, plugins }: NetworkList,
  valid: readonly Attachment[],
): Promise<void> {
  const attachments = valid.map(({ containerId, ifname = 'eth0' }) => ({
    ...{ containerID: containerId, ifname },
  }));
  const plugin = {
    ...plugins.find(({ type }) => type === 'podpace'),
    ...{ type: 'podpace', 'cni.dev/valid-attachments': attachments },
  };
  const list = { cniVersion: '1.1.0', name, plugins: [plugin] };
  await runPlugin(node, 'GC', { netns: '' }, { list, plugin, prevResult: undefined });
}
