// What `podpaced uninstall` does besides what is in the kernel: takes away what `podpaced install`
// has put on the node. The lists first, so that no pod is added any more; the executable only when
// nobody will call it again; the receipt last.

import fs from 'node:fs';
import path from 'node:path';
import { namesPodpace } from '../network-list/edit.ts';
import { isConfName, planRemoval } from '../network-list/plan.ts';
import {
  applyChange,
  ChangedMeanwhile,
  dropFile,
  readConfDir,
  STAGED,
  withLocks,
  type NodeDirectory,
} from './files.ts';
import { sha256 } from './install.ts';
import { removeLibraries } from './libraries.ts';
import { resolveIn } from './node-root.ts';
import { PLUGIN } from './plugin-file.ts';
import { readReceipt, removeReceipt, type Receipt } from './receipt.ts';

/** What libcni keeps of each attachment until its DEL, with the list that it was added by. */
const CACHE = '/var/lib/cni/results';

export interface Removed {
  /** Files that were changed or removed. */
  readonly changed: readonly string[];
  /** What stays, and why. */
  readonly notes: readonly string[];
}

/** Attachments that the plugin was part of, by libcni's cache. */
function attachmentsByPlugin(root: string): number {
  const directory = resolveIn(root, CACHE);
  const names = fs.existsSync(directory) ? fs.readdirSync(directory) : [];
  return names.filter((name) => {
    try {
      const text = fs.readFileSync(path.join(directory, name), 'utf8');
      const { config } = JSON.parse(text) as { readonly config?: unknown };
      return (
        typeof config === 'string' && namesPodpace(Buffer.from(config, 'base64').toString('latin1'))
      );
    } catch {
      // Gone meanwhile, or another's.
      return false;
    }
  }).length;
}

/** Takes podpace out of the lists of a directory; returns what stays. */
function leaveLists(place: NodeDirectory, { ownLists }: Receipt, changed: string[]): string[] {
  const here = resolveIn(place.root, place.directory);
  if (!fs.existsSync(here)) return [];
  fs.rmSync(path.join(here, STAGED), { force: true });
  const isOwnList = (name: string, text: string): boolean =>
    ownLists.some(
      (one) =>
        one.confDir === place.directory && one.name === name && one.sha256.includes(sha256(text)),
    );
  const { changes, notes } = planRemoval(readConfDir(place).files, isOwnList);
  for (const change of changes) {
    applyChange(place, change);
    changed.push(path.join(here, change.name));
  }
  return notes.map((note) => path.join(here, note));
}

/** Whether a runtime may still find podpace in a list. */
function isNamedIn(place: NodeDirectory): boolean {
  if (!fs.existsSync(resolveIn(place.root, place.directory))) return false;
  const { files } = readConfDir(place);
  return [...files].some(([name, text]) => isConfName(name) && namesPodpace(text));
}

/** Why an executable stays. */
function reasonToKeep(root: string, { confDirs, runtime }: Receipt): string | undefined {
  const named = confDirs.find((directory) => isNamedIn({ root, directory }));
  if (named !== undefined)
    return `a list in ${resolveIn(root, named)} still names it; take it out there, and run podpaced uninstall again`;
  // containerd calls what is in the list now, CRI-O what was in it at ADD.
  const attachments = runtime === 'containerd' ? 0 : attachmentsByPlugin(root);
  if (attachments === 0) return undefined;
  return (
    `${attachments} attachments were made with it, and the runtime calls it when they end; run podpaced uninstall ` +
    'again when their pods are gone'
  );
}

function leaveBinDir(place: NodeDirectory, keep: string | undefined, changed: string[]): string[] {
  const here = resolveIn(place.root, place.directory);
  if (!fs.existsSync(here)) return [];
  dropFile(path.join(here, STAGED), '--root');
  const file = path.join(here, PLUGIN);
  if (fs.lstatSync(file, { throwIfNoEntry: false }) === undefined) return [];
  if (keep !== undefined) return [`${file} stays: ${keep}`];
  dropFile(file, '--root');
  changed.push(file);
  return [];
}

/**
 * Undoes every install of this node; undefined where there was none. Done again it goes on where it
 * was stopped. Throws Error with the remedy.
 */
export async function removeInstalled(root: string): Promise<Removed | undefined> {
  const receipt = readReceipt(root);
  if (receipt === undefined) return undefined;
  const { confDirs, plugins } = receipt;
  const directories = [...confDirs, ...plugins.map(({ binDir }) => binDir)]
    .map((directory) => resolveIn(root, directory))
    .filter((directory) => fs.existsSync(directory));
  return await withLocks(directories, () => {
    const changed: string[] = [];
    const notes = confDirs.flatMap((directory) => tryLists({ root, directory }, receipt, changed));
    const keep = reasonToKeep(root, receipt);
    const ours = plugins.filter(({ isOurs }) => isOurs);
    notes.push(
      ...ours.flatMap(({ binDir }) => leaveBinDir({ root, directory: binDir }, keep, changed)),
    );
    if (keep === undefined || ours.length === 0) {
      if (receipt.hasLibraries === true) changed.push(...removeLibraries(root));
      removeReceipt(root);
    }
    return { changed, notes };
  });
}

const MAX_TRIES = 5;

/** Somebody may write a list while it is read. */
function tryLists(place: NodeDirectory, receipt: Receipt, changed: string[]): string[] {
  for (let tries = 1; ; tries += 1) {
    try {
      return leaveLists(place, receipt, changed);
    } catch (error) {
      if (!(error instanceof ChangedMeanwhile) || tries === MAX_TRIES) throw error;
    }
  }
}
