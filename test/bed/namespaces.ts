// Network namespaces for nodes, peers and pods: made for a while, gone after it.

import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import { inNetns, openNetns } from '../../helper/kernel/netns.ts';
import type { Teardown } from './undo.ts';

const FOLDER = '/run/netns';

const sh = (commands: readonly string[], operator: '&&' | ';'): void => {
  execFileSync('sh', ['-c', commands.join(` ${operator} `)], { stdio: 'pipe' });
};

function isMounted(folder: string): boolean {
  const mounts = fs.readFileSync('/proc/self/mountinfo', 'utf8').split('\n');
  return mounts.some((line) => line.split(' ')[4] === folder);
}

/**
 * Where `ip netns` has never been used before, it leaves a folder mounted on itself: that goes as
 * well.
 */
export function restoreNamespaceFolder(t: Teardown): void {
  if (isMounted(FOLDER)) return;
  const existed = fs.existsSync(FOLDER);
  t.teardown(() => {
    // Somebody else may have begun to use it meanwhile.
    if (!isMounted(FOLDER) || fs.readdirSync(FOLDER).length > 0) return;
    execFileSync('umount', [FOLDER]);
    if (!existed) fs.rmdirSync(FOLDER);
  });
}

let made = 0;

/** A name that no other namespace has. */
export function namespaceName(role = ''): string {
  made += 1;
  return `pp-${process.pid}-${made}${role === '' ? '' : `-${role}`}`;
}

/**
 * Makes namespaces by one command: where starting a process is slow, it adds up. Returns their
 * paths. Those that somebody else has deleted meanwhile are no matter.
 */
export function makeNamespaces(t: Teardown, names: readonly string[]): string[] {
  t.teardown(() => {
    const left = names.filter((name) => fs.existsSync(`${FOLDER}/${name}`));
    sh(
      left.map((name) => `ip netns delete ${name}`),
      ';',
    );
  });
  sh(
    names.map((name) => `ip netns add ${name}`),
    '&&',
  );
  return names.map((name) => `${FOLDER}/${name}`);
}

/** Calls `fn`, which must be synchronous, inside the namespace at a path. Throws KernelError. */
export function inNetnsAt<T>(path: string, fn: () => T): T {
  const netns = openNetns(path);
  try {
    return inNetns(netns, fn);
  } finally {
    netns.close();
  }
}
