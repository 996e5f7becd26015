// A cluster as those see it who start it.

import { spawn, type ChildProcess, type StdioOptions } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { ensurePackages } from '../debian.ts';
import { ensureKernel, type KernelSeries } from '../kernels.ts';
import { packageSets } from '../needs.ts';
import { bundleInto } from '../one-worker.ts';
import { buildDirectory, projectRoot } from '../paths.ts';
import { run } from '../process.ts';
import { groupsNow, removeGroups } from './control-groups.ts';
import { buildIdleImage } from './idle-image.ts';
import { ensureKubernetes } from './kubernetes.ts';
import type { Role } from './settings.ts';

/** Has all that a cluster is made of: Kubernetes, which is built once, and images. */
export async function prepareCluster(): Promise<void> {
  await ensurePackages(packageSets.cluster);
  await ensureKubernetes();
  await run(path.join(projectRoot, 'scripts/image'), []);
  await buildIdleImage();
}

/** A cluster that is being started. */
export interface StartedCluster {
  /** Has its logs, for those who are in its mount namespace. */
  readonly directory: string;
  /** `unshare`, whose first child is the first process of the cluster. */
  readonly child: ChildProcess;
  /** Status of the command; the cluster is gone then. */
  readonly ended: Promise<number>;
  readonly kill: () => void;
}

const NAMESPACES = ['--net', '--mount', '--pid', '--fork', '--kill-child', '--mount-proc'];
const NODE = path.join(projectRoot, 'scripts/node');
const INSIDE = path.join(import.meta.dirname, 'inside.ts');

/** The first process in the namespaces of a cluster; undefined before it is there. */
export function firstProcess({ child }: Pick<StartedCluster, 'child'>): number | undefined {
  const file = `/proc/${child.pid}/task/${child.pid}/children`;
  const children = fs.existsSync(file) ? fs.readFileSync(file, 'utf8').trim() : '';
  return children === '' ? undefined : Number(children);
}

/** Starts a role in namespaces; `clean` takes away what outlives them. */
function startIn(
  role: Role,
  directory: string,
  command: readonly string[],
  stdio: StdioOptions,
  clean: () => Promise<void> | void,
): Pick<StartedCluster, 'child' | 'ended'> {
  const child = spawn('unshare', [...NAMESPACES, NODE, INSIDE, role, directory, ...command], {
    stdio,
  });
  const status = new Promise<number>((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code) => resolve(code ?? 1));
  });
  const ended = async (): Promise<number> => {
    try {
      return await status;
    } finally {
      await clean();
    }
  };
  return { child, ended: ended() };
}

/** Starts a cluster, and a command in it when the node is registered. Ends with the command. */
export function startCluster(command: readonly string[], stdio: StdioOptions): StartedCluster {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), `pp-cluster-${process.pid}-`));
  const groups = groupsNow();
  const started = startIn('all', directory, command, stdio, async () => {
    await removeGroups(groups);
    fs.rmSync(directory, { recursive: true });
  });
  return { ...started, directory, kill: () => void started.child.kill('SIGKILL') };
}

/** The VM that is a cluster's node. */
export interface NodeVm {
  readonly kernel: KernelSeries;
  /** Ends the command after so long. */
  readonly timeoutSec?: number;
}

/** What the VM is like: its clock counts instructions, and waits as this machine does. */
const VM_FLAGS = ['--cpus', '1', '--memory', '4096', '--count-instructions', '--network'];
/** For a VM to end in order. */
const GRACE_MS = 10_000;

/**
 * Starts a control plane in namespaces, beside it a VM that is the node, and a command in that when
 * the node is registered. Ends with the command. Throws where the kernel cannot be had.
 */
export async function startClusterOfVm(
  command: readonly string[],
  { kernel, timeoutSec }: NodeVm,
  stdio: StdioOptions,
): Promise<StartedCluster> {
  await ensurePackages(packageSets.vm);
  await ensureKernel(kernel);
  const place = path.join(buildDirectory, 'cluster');
  fs.mkdirSync(place, { recursive: true });
  // In the tree, which the VM sees: /tmp it has of its own.
  const whole = fs.mkdtempSync(path.join(place, 'run-'));
  const [directory, inside] = [path.join(whole, 'files'), path.join(whole, 'inside.mjs')];
  fs.mkdirSync(directory);
  // To strip the types of all that it imports is a minute of an emulated processor.
  await bundleInto(inside, `import './scripts/lib/cluster/inside.ts';`);
  const limit = timeoutSec === undefined ? [] : ['--timeout', String(timeoutSec)];
  const flags = ['--kernel', kernel, ...VM_FLAGS, ...limit];
  const inVm = [process.execPath, inside, 'node', directory, ...command];
  const vm = [path.join(projectRoot, 'scripts/vm'), ...flags, '--', ...inVm];
  const started = startIn('control', directory, vm, stdio, () =>
    fs.rmSync(whole, { recursive: true }),
  );
  const kill = (): void => {
    const first = firstProcess(started);
    if (first !== undefined) process.kill(first, 'SIGTERM');
    const timer = setTimeout(() => started.child.kill('SIGKILL'), GRACE_MS);
    void started.ended.finally(() => clearTimeout(timer));
  };
  return { ...started, directory, kill };
}
