// Nodes for the bench of CNI calls: one for each system that adds pods, with a pod's namespaces and
// the calls that a runtime makes there, each with what it took.

import { spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { CNITOOL } from '../../scripts/lib/cnitool.ts';
import { projectRoot } from '../../scripts/lib/paths.ts';
import { capture } from '../../scripts/lib/process.ts';
import type { BuiltRevision } from '../../scripts/lib/revisions.ts';
import type { BackgroundProcess } from '../bed/background.ts';
import { PODPACED, startHelper } from '../bed/helper.ts';
import { bandwidthArguments, podpaceWith } from '../bed/plugins.ts';
import { makeTestBed } from '../bed/testbed.ts';
import type { TestBed } from '../bed/testbed.ts';
import type { UndoStack } from '../bed/undo.ts';
import { parseMeter } from './control-figures.ts';
import type { CallCost } from './control-figures.ts';
import { CALL_METER, copyOfPlugin, EMPTY_EXECUTABLE } from './control-tools.ts';
import type { ControlSystem } from './names.ts';

/** Where Debian's plugins are. */
const DEBIAN_PLUGINS = '/usr/lib/cni';
const HOST_LOCAL = path.join(DEBIAN_PLUGINS, 'host-local');

/** Systems that add pods. */
export type PodSystem = Exclude<ControlSystem, 'empty-executable'>;

/** A command with what it is given. */
interface Call {
  readonly command: readonly [string, ...string[]];
  readonly env: Readonly<Record<string, string>>;
  readonly stdin?: string;
}

const CAP_ARGS = bandwidthArguments({ egressMbit: 100, ingressMbit: 100 });

/** A network list as a file, as far as the calls need it. */
interface NetworkList {
  readonly cniVersion: string;
  readonly name: string;
  readonly plugins: readonly Readonly<Record<string, unknown>>[];
}

/** Runs a call on the node. Throws Error with the call's words when it fails. */
async function meter(bed: TestBed<string>, { command, env, stdin = '' }: Call): Promise<CallCost> {
  // A runtime gives a pipe, as a shell does; Node would give a socket.
  const metered = bed.onNode(CALL_METER, ...command).flat();
  const child = spawn('sh', ['-c', 'cat | "$@"', 'sh', ...metered], {
    env: { PATH: process.env['PATH'] ?? '', ...env },
    stdio: ['pipe', 'pipe', 'pipe', 'pipe'],
  });
  const [said, told] = [[], []] as [Buffer[], Buffer[]];
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk: Buffer) => said.push(chunk));
  child.stdio[3]?.on('data', (chunk: Buffer) => told.push(chunk));
  // Who needs no stdin may be gone before it is written.
  child.stdin.on('error', () => undefined);
  child.stdin.end(stdin);
  const status = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  if (status !== 0)
    throw new Error(
      `Cannot measure ${command.join(' ')}: it says ${Buffer.concat(said).toString()}`,
    );
  return parseMeter(Buffer.concat(told).toString());
}

const REST_MS = 20;
const MAX_RESTS = 50;
const NS_PER_MS = 1_000_000;

/** Processor time of a process and its threads, in milliseconds. */
export function cpuMsOf(pid: number): number {
  const threads = fs.readdirSync(`/proc/${pid}/task`);
  const spentNs = threads.map((thread) =>
    Number(fs.readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ')[0]),
  );
  return spentNs.reduce((sum, each) => sum + each, 0) / NS_PER_MS;
}

/** The same, when the process has done what it had to do. */
export async function cpuMsAtRest(pid: number): Promise<number> {
  let last = cpuMsOf(pid);
  for (let rest = 0; rest < MAX_RESTS; rest += 1) {
    await delay(REST_MS);
    const now = cpuMsOf(pid);
    if (now === last) break;
    last = now;
  }
  return last;
}

/** Names of a node's pods: one by itself, and those that come at once. */
const POD = 'pod';
const AT_ONCE = Array.from({ length: 10 }, (_, index) => `pod-${index}`);
const TENTH = 'pod-9';

/** What makes a node. */
interface NodeOptions {
  readonly baseline?: BuiltRevision | undefined;
  /** The node's kernel has fq: without it caps are refused. */
  readonly hasFq: boolean;
  /** For network lists. */
  readonly folder: string;
  readonly signal: AbortSignal;
}

function conflistOf(system: PodSystem, { folder, hasFq }: NodeOptions): string {
  if (system === 'go-chain') return path.join(projectRoot, 'test/bed/tbf.conflist');
  if (hasFq) return path.join(projectRoot, 'conf/10-podpace.conflist');
  return podpaceWith(folder, 'control', { onUnenforceable: 'allow' }).conflist;
}

/** A node on which one system adds pods. */
export class ControlNode {
  readonly #bed: TestBed<string>;
  readonly #helper: BackgroundProcess | undefined;
  /** The executable of podpace's plugin; undefined for another system. */
  readonly #plugin: string | undefined;
  readonly #conflist: string;
  readonly #list: NetworkList;

  private constructor(
    bed: TestBed<string>,
    helper: BackgroundProcess | undefined,
    plugin: string | undefined,
    conflist: string,
  ) {
    this.#bed = bed;
    this.#helper = helper;
    this.#plugin = plugin;
    this.#conflist = conflist;
    this.#list = JSON.parse(fs.readFileSync(conflist, 'utf8')) as NetworkList;
  }

  /** Makes a node with the namespaces of its pods; what it makes is on `undo`. */
  static async make(
    system: PodSystem,
    options: NodeOptions,
    undo: UndoStack,
  ): Promise<ControlNode> {
    const { baseline, signal } = options;
    const bed = await makeTestBed([POD, ...AT_ONCE], undo, signal, {
      label: `${system}-`,
      // The plugin looks there for what is left of a pod.
      hasOwnSys: true,
    });
    const built = {
      podpace: path.join(projectRoot, 'dist/podpace'),
      podpaced: PODPACED,
      ...(system === 'baseline' && baseline),
    };
    const isPodpace = system !== 'go-chain';
    const helper = isPodpace ? await startHelper(bed, undo, signal, [], built.podpaced) : undefined;
    helper?.pause();
    const conflist = conflistOf(system, options);
    const plugin = isPodpace ? copyOfPlugin(built.podpace, system) : undefined;
    return new ControlNode(bed, helper, plugin, conflist);
  }

  /** Does `work` while the node's helper runs, which stands still else. */
  async awake(work: () => Promise<void>): Promise<void> {
    this.#helper?.resume();
    await work();
    this.#helper?.pause();
  }

  /** What `work` took, and the helper meanwhile, for each of `calls`. */
  async #besideHelper(work: () => Promise<CallCost[]>): Promise<CallCost[]> {
    const pid = this.#helper?.pid;
    if (pid === undefined) return await work();
    const before = await cpuMsAtRest(pid);
    const costs = await work();
    const helperCpuMs = ((await cpuMsAtRest(pid)) - before) / costs.length;
    return costs.map((cost) => ({ ...cost, helperCpuMs }));
  }

  #network(verb: 'add' | 'check' | 'del', pod: string): Promise<CallCost> {
    const folders = [path.dirname(this.#plugin ?? HOST_LOCAL), DEBIAN_PLUGINS];
    const netns = this.#bed.pods.get(pod) ?? '';
    return meter(this.#bed, {
      command: [CNITOOL, verb, this.#list.name, netns],
      env: {
        CNI_PATH: folders.join(':'),
        NETCONFPATH: path.dirname(this.#conflist),
        CAP_ARGS,
        CNI_IFNAME: 'eth0',
      },
    });
  }

  /** A call of the network's plugins for the pod, as a runtime makes it. */
  async network(verb: 'add' | 'check' | 'del'): Promise<CallCost> {
    return await this.#alone(verb, POD);
  }

  async #alone(verb: 'add' | 'check' | 'del', pod: string): Promise<CallCost> {
    const [cost] = await this.#besideHelper(async () => [await this.#network(verb, pod)]);
    if (cost === undefined) throw new Error(`Cannot measure ${verb}: nothing was called`);
    return cost;
  }

  /** Adds ten pods at once. */
  async addAtOnce(): Promise<CallCost[]> {
    return await this.#besideHelper(() =>
      Promise.all(AT_ONCE.map((pod) => this.#network('add', pod))),
    );
  }

  /** The same as `network` for the last of them, beside the others. */
  async tenth(verb: 'add' | 'del'): Promise<CallCost> {
    return await this.#alone(verb, TENTH);
  }

  /** Takes all ten away again, one by one. */
  async deleteAll(): Promise<void> {
    for (const pod of AT_ONCE) await this.#network('del', pod);
  }

  /** A call of an executable as a plugin, for an attachment that was never there. */
  #direct(executable: string, command: PluginCommand, isChained: boolean): Promise<CallCost> {
    const { cniVersion, name, plugins } = this.#list;
    const { ipam, ...chained } = plugins[0] ?? {};
    const config = {
      ...{ ...chained, name },
      // The first that has STATUS.
      cniVersion: command === 'STATUS' ? '1.1.0' : cniVersion,
      ...(!isChained && { ipam }),
    };
    return meter(this.#bed, {
      command: [executable],
      env: {
        CNI_COMMAND: command,
        CNI_CONTAINERID: 'never-added',
        CNI_NETNS: this.#bed.pods.get(POD) ?? '',
        CNI_IFNAME: 'eth0',
        CNI_PATH: DEBIAN_PLUGINS,
      },
      stdin: JSON.stringify(config),
    });
  }

  /** A call of podpace's plugin by itself. */
  async plugin(command: PluginCommand, isChained: boolean): Promise<CallCost> {
    return await this.#direct(this.#plugin ?? '', command, isChained);
  }

  /** The same call of an executable that does nothing. */
  async nothing(command: PluginCommand): Promise<CallCost> {
    return await this.#direct(EMPTY_EXECUTABLE, command, true);
  }

  /** The same call of the IPAM plugin by itself. */
  async ipam(command: PluginCommand): Promise<CallCost> {
    return await this.#direct(HOST_LOCAL, command, false);
  }

  /**
   * Takes the executable of podpace's plugin out of the page cache: of pages that happen to be
   * there the kernel maps some that nobody has asked for, and they count as resident.
   */
  async forgetPlugin(): Promise<void> {
    await forgetPages(this.#plugin ?? '');
  }
}

export type PluginCommand = 'DEL' | 'VERSION' | 'STATUS';

/** posix_fadvise(POSIX_FADV_DONTNEED), as coreutils' dd makes it for a whole file. */
async function forgetPages(file: string): Promise<void> {
  await capture('dd', [`if=${file}`, 'iflag=nocache', 'count=0', 'status=none']);
}
