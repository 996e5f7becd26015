// A cluster as those see it who start it.

import { spawn, type ChildProcess, type StdioOptions } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { ensurePackages } from '../debian.ts';
import { packageSets } from '../needs.ts';
import { projectRoot } from '../paths.ts';
import { run } from '../process.ts';
import { groupsNow, removeGroups } from './control-groups.ts';
import { buildIdleImage } from './idle-image.ts';
import { clusterPrograms, ensureKubernetes } from './kubernetes.ts';

/** Has all that a cluster is made of: Kubernetes, which is built once, and images. */
export async function prepareCluster(): Promise<void> {
  await ensurePackages(packageSets.cluster);
  await ensureKubernetes();
  await run(path.join(projectRoot, 'scripts/image'), []);
  await buildIdleImage();
}

/** For whoever runs a command in a cluster. */
export function clusterEnvironment(directory: string): NodeJS.ProcessEnv {
  const PATH = [...clusterPrograms, process.env['PATH']].join(':');
  return { ...process.env, PATH, KUBECONFIG: path.join(directory, 'admin.kubeconfig') };
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

/** Starts a cluster, and a command in it when the node is registered. Ends with the command. */
export function startCluster(command: readonly string[], stdio: StdioOptions): StartedCluster {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), `pp-cluster-${process.pid}-`));
  const groups = groupsNow();
  const inside = path.join(import.meta.dirname, 'inside.ts');
  const node = path.join(projectRoot, 'scripts/node');
  const child = spawn('unshare', [...NAMESPACES, node, inside, directory, ...command], {
    env: clusterEnvironment(directory),
    stdio,
  });
  const status = new Promise<number>((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code) => resolve(code ?? 1));
  });
  const clean = async (): Promise<number> => {
    try {
      return await status;
    } finally {
      await removeGroups(groups);
      fs.rmSync(directory, { recursive: true });
    }
  };
  const ended = clean();
  return { directory, child, ended, kill: () => void child.kill('SIGKILL') };
}
