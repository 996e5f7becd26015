// Control groups are the machine's, so those that a cluster has made outlive its namespaces.

import fs from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const ROOT = '/sys/fs/cgroup';
const TRIES = 50;
const PAUSE_MS = 100;

/** Groups that containerd and kubelet make at the root of a hierarchy. */
const OF_CLUSTERS = /^(k8s\.io|kubepods)$/;

function rootGroups(): string[] {
  const isUnified = fs.existsSync(path.join(ROOT, 'cgroup.controllers'));
  const roots = isUnified ? [ROOT] : fs.readdirSync(ROOT).map((name) => path.join(ROOT, name));
  return roots
    .filter((root) => fs.statSync(root).isDirectory())
    .flatMap((root) => fs.readdirSync(root).map((name) => path.join(root, name)))
    .filter((group) => OF_CLUSTERS.test(path.basename(group)));
}

/** What is there before a cluster. */
export function groupsNow(): ReadonlySet<string> {
  return new Set(rootGroups());
}

function removeTree(group: string): void {
  for (const entry of fs.readdirSync(group, { withFileTypes: true }))
    if (entry.isDirectory()) removeTree(path.join(group, entry.name));
  fs.rmdirSync(group);
}

/** Removes the groups that have come since. The last processes in them may be ending. */
export async function removeGroups(before: ReadonlySet<string>): Promise<void> {
  for (const group of rootGroups().filter((one) => !before.has(one))) {
    for (let tries = 1; ; tries += 1) {
      try {
        removeTree(group);
        break;
      } catch (error) {
        if (tries === TRIES) throw error;
        await sleep(PAUSE_MS);
      }
    }
  }
}
