// What tests leave that are ended in the middle: processes, and what teardowns would have taken
// away. Whatever a test makes on this machine has the id of the process that made it in its name.

import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { BPFFS } from './bpffs.ts';

/** For how long a process may go on after it was asked to end. */
const END_MS = 5000;
const LOOK_MS = 50;

const NAMESPACES = '/run/netns';

/** A process's parent, by proc_pid_stat(5); undefined when it has ended. */
function parentOf(pid: number): number | undefined {
  try {
    // The name, in parentheses, may hold anything.
    const [, fields = ''] = /\) (.*)$/s.exec(fs.readFileSync(`/proc/${pid}/stat`, 'utf8')) ?? [];
    const [state = '', parent] = fields.split(' ');
    return state === 'Z' ? undefined : Number(parent);
  } catch {
    return undefined;
  }
}

/** A process and all that it has started, and these, also those with a session of their own. */
function treeOf(root: number): number[] {
  const parents = fs
    .readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .map((pid) => [Number(pid), parentOf(Number(pid))] as const);
  const tree = [root];
  // An array is walked through to its end, also to what comes meanwhile.
  for (const member of tree)
    tree.push(...parents.filter(([, parent]) => parent === member).map(([pid]) => pid));
  return tree;
}

function signalAll(pids: readonly number[], signal: NodeJS.Signals): void {
  for (const pid of pids) {
    try {
      process.kill(pid, signal);
    } catch {
      // It has ended meanwhile.
    }
  }
}

/** Ends processes. */
async function endAll(pids: readonly number[]): Promise<void> {
  const isThere = (pid: number): boolean => parentOf(pid) !== undefined;
  signalAll(pids, 'SIGTERM');
  for (let waitedMs = 0; waitedMs < END_MS && pids.some(isThere); waitedMs += LOOK_MS)
    await sleep(LOOK_MS);
  for (let left = pids.filter(isThere); left.length > 0; left = pids.filter(isThere)) {
    signalAll(left, 'SIGKILL');
    await sleep(LOOK_MS);
  }
}

/** The entries of a directory that tests in these processes made. */
function madeIn(directory: string, pids: readonly number[]): string[] {
  const makers = new Set(pids.map(String));
  const entries = fs.existsSync(directory) ? fs.readdirSync(directory) : [];
  return entries
    .filter((name) => makers.has(/^pp-(\d+)(-|$)/.exec(name)?.[1] ?? ''))
    .map((name) => path.join(directory, name));
}

function mountsWithin(directory: string): string[] {
  return fs
    .readFileSync('/proc/self/mounts', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[1] ?? '')
    .filter((place) => place === directory || place.startsWith(`${directory}/`));
}

/**
 * Takes away what tests in these processes made; what cannot be is told by the command that fails.
 */
function takeAway(pids: readonly number[]): void {
  const inherited = { stdio: 'inherit' } as const;
  for (const namespace of madeIn(NAMESPACES, pids))
    spawnSync('ip', ['netns', 'delete', path.basename(namespace)], inherited);
  for (const directory of [BPFFS, os.tmpdir()].flatMap((each) => madeIn(each, pids))) {
    // What is mounted within another comes later.
    for (const place of mountsWithin(directory).toReversed())
      spawnSync('umount', [place], inherited);
    fs.rmSync(directory, { recursive: true, force: true });
  }
}

/** Ends a run of tests, by its first process, and takes away what it has made. */
export async function cutShort(run: number): Promise<void> {
  const pids = treeOf(run);
  await endAll(pids);
  takeAway(pids);
}
