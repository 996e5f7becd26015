// Files that travel inside the executables: the two native addons and the compiled BPF object.
//
// Inside a packaged executable they are assets of the single-executable blob. A native addon has to
// be a file before dlopen can take it, so it is unpacked once into a directory that only root can
// write. When run from the source tree (tests, scripts) the same files are taken from node_modules
// and build/.

import fs from 'node:fs';
import path from 'node:path';
import sea from 'node:sea';
import { remedies } from '../protocol/remedies.ts';
import { RUN_DIRECTORY } from '../protocol/state-files.ts';
import { AddonError } from '../wire/errors.ts';

/** The names of the assets; scripts/build.ts packs exactly these. */
export type AssetName = AddonName | 'podpace.bpf.o';

type AddonName = 'koffi.node' | 'netlink.node';

/**
 * Where addons are unpacked, best first. /run is mounted noexec on some distributions (Debian's
 * initramfs does it), and then only the second can be mapped as code.
 */
export const ADDON_DIRECTORIES = [
  `${RUN_DIRECTORY}/addons`,
  '/var/lib/cni/podpace/addons',
] as const;

/** Path of an asset in the source tree, relative to its root, for this machine's architecture. */
export function assetSourcePath(name: AssetName, arch: string = process.arch): string {
  switch (name) {
    case 'koffi.node':
      return `node_modules/@koromix/koffi-linux-${arch}/linux_${arch}/koffi.node`;
    case 'netlink.node':
      return `node_modules/netlink/prebuilds/linux-${arch}/node.napi.node`;
    case 'podpace.bpf.o':
      return 'build/bpf/podpace.bpf.o';
  }
}

function sourceRoot(): string {
  return path.resolve(import.meta.dirname, '../..');
}

/**
 * Content of an asset. Throws when it is missing (in the source tree: run ./scripts/build first).
 */
export function readAsset(name: AssetName): Buffer {
  if (sea.isSea()) return Buffer.from(sea.getRawAsset(name));
  return fs.readFileSync(path.join(sourceRoot(), assetSourcePath(name)));
}

/** An addon's asset that says which it is: see `AddonMark`. */
export const MARK_SUFFIX = '.mark';

/**
 * A number made of an addon's content by build.ts. The unpacked file has it as the time of its last
 * change, in seconds: to compare a megabyte at each call takes longer than to load it.
 */
type AddonMark = number;

function markOf(name: AddonName): AddonMark {
  return Number(Buffer.from(sea.getRawAsset(name + MARK_SUFFIX)).toString('latin1'));
}

/**
 * True when a file is the one that unpackInto has written, and nobody but root could have made or
 * can change it.
 */
function isTrusted(file: string, { byteLength }: ArrayBuffer, mark: AddonMark): boolean {
  const stat = fs.lstatSync(file, { throwIfNoEntry: false });
  if (stat === undefined || !stat.isFile() || stat.uid !== process.getuid?.()) return false;
  return (stat.mode & 0o022) === 0 && stat.size === byteLength && stat.mtimeMs === mark * 1000;
}

/** Deletes a file if that can be done: what cannot be written either says why. */
function discard(file: string): void {
  try {
    fs.unlinkSync(file);
  } catch {
    // Gone already, or on a file system that takes no change.
  }
}

/**
 * Removes what processes that are gone have left of addons: they were killed while they wrote them.
 */
function removeLeftovers(directory: string): void {
  const entries = fs.existsSync(directory) ? fs.readdirSync(directory) : [];
  for (const entry of entries) {
    const pid = /\.node\.(\d+)$/.exec(entry)?.[1];
    if (pid === undefined || (Number(pid) !== process.pid && fs.existsSync(`/proc/${pid}`)))
      continue;
    discard(path.join(directory, entry));
  }
}

/**
 * Writes a file that appears whole and marked under its name, by a rename, also after a loss of
 * power; on failure nothing stays.
 */
function writeWhole(file: string, content: Buffer, mark: AddonMark): void {
  const staged = `${file}.${process.pid}`;
  try {
    fs.writeFileSync(staged, content, { mode: 0o500, flag: 'wx', flush: true });
    fs.utimesSync(staged, mark, mark);
    fs.renameSync(staged, file);
  } catch (error) {
    discard(staged);
    throw error;
  }
}

/** Directories that this process has made for addons. */
const made = new Set<string>();

/** Puts an addon into a directory, unless it is there; returns its path. */
function unpackInto(directory: string, name: AddonName): string {
  const file = path.join(directory, name);
  const [asset, mark] = [sea.getRawAsset(name), markOf(name)];
  removeLeftovers(directory);
  if (isTrusted(file, asset, mark)) return file;
  const content = Buffer.from(asset);
  if (!fs.existsSync(directory)) made.add(directory);
  fs.mkdirSync(directory, { recursive: true, mode: 0o700 });
  try {
    writeWhole(file, content, mark);
  } catch (error) {
    // A process of another PID namespace may have taken this one for gone, and the file for its
    // leftover.
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    writeWhole(file, content, mark);
  }
  return file;
}

function remedy(): string {
  const uid = process.getuid?.();
  return uid === 0
    ? remedies.addonPlaces(ADDON_DIRECTORIES)
    : `${remedies.root}: it runs as user ${uid}`;
}

/**
 * Loads a native addon and returns what it exports. Throws AddonError, which names each directory
 * with the reason.
 */
export function loadAddon(name: AddonName): unknown {
  const module = { exports: {} };
  if (!sea.isSea()) {
    process.dlopen(module, path.join(sourceRoot(), assetSourcePath(name)));
    return module.exports;
  }
  const failures: string[] = [];
  for (const directory of ADDON_DIRECTORIES) {
    try {
      process.dlopen(module, unpackInto(directory, name));
      return module.exports;
    } catch (error) {
      failures.push(`${directory}: ${(error as Error).message}`);
    }
  }
  throw new AddonError(`Cannot load ${name}: ${failures.join('; ')}`, remedy());
}

/**
 * Removes addons, which a process that has them loaded keeps, and the folder around them when
 * nothing else is in it.
 */
function removeAddons(directory: string): void {
  fs.rmSync(directory, { recursive: true, force: true });
  const parent = path.dirname(directory);
  if (fs.existsSync(parent) && fs.readdirSync(parent).length === 0) fs.rmdirSync(parent);
}

/** Removes what loadAddon has unpacked, in any process. */
export function removeUnpackedAddons(): void {
  for (const directory of ADDON_DIRECTORIES) removeAddons(directory);
}

/**
 * Removes what loadAddon has unpacked in this process, where nothing else of podpace is beside it:
 * whoever takes the last thing away must not be the one that leaves something.
 */
export function removeOwnAddons(): void {
  for (const directory of made) {
    const entries = fs.readdirSync(path.dirname(directory));
    if (entries.length === 1 && entries[0] === path.basename(directory)) removeAddons(directory);
  }
}
