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
export type AssetName = 'koffi.node' | 'netlink.node' | 'podpace.bpf.o';

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

/**
 * True when a file is what it must be, byte for byte, and nobody but root could have made or can
 * change it.
 */
function isTrusted(file: string, content: Buffer): boolean {
  const stat = fs.lstatSync(file, { throwIfNoEntry: false });
  if (stat === undefined || !stat.isFile() || stat.uid !== process.getuid?.()) return false;
  return (
    (stat.mode & 0o022) === 0 &&
    stat.size === content.length &&
    fs.readFileSync(file).equals(content)
  );
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
 * Removes what processes that are gone have left of an addon: they were killed while they wrote it.
 */
function removeLeftovers(directory: string, name: AssetName): void {
  const entries = fs.existsSync(directory) ? fs.readdirSync(directory) : [];
  for (const entry of entries) {
    const pid = entry.startsWith(`${name}.`) ? entry.slice(name.length + 1) : '';
    if (!/^\d+$/.test(pid) || (Number(pid) !== process.pid && fs.existsSync(`/proc/${pid}`)))
      continue;
    discard(path.join(directory, entry));
  }
}

/** Writes a file that appears whole under its name, by a rename; on failure nothing stays. */
function writeWhole(file: string, content: Buffer): void {
  const staged = `${file}.${process.pid}`;
  try {
    fs.writeFileSync(staged, content, { mode: 0o500, flag: 'wx' });
    fs.renameSync(staged, file);
  } catch (error) {
    discard(staged);
    throw error;
  }
}

/** Directories that this process has made for addons. */
const made = new Set<string>();

/** Puts an addon into a directory, unless it is there; returns its path. */
function unpackInto(directory: string, name: AssetName, content: Buffer): string {
  const file = path.join(directory, name);
  removeLeftovers(directory, name);
  if (isTrusted(file, content)) return file;
  if (!fs.existsSync(directory)) made.add(directory);
  fs.mkdirSync(directory, { recursive: true, mode: 0o700 });
  try {
    writeWhole(file, content);
  } catch (error) {
    // A process of another PID namespace may have taken this one for gone, and the file for its
    // leftover.
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    writeWhole(file, content);
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
export function loadAddon(name: 'koffi.node' | 'netlink.node'): unknown {
  const module = { exports: {} };
  if (!sea.isSea()) {
    process.dlopen(module, path.join(sourceRoot(), assetSourcePath(name)));
    return module.exports;
  }
  const content = readAsset(name);
  const failures: string[] = [];
  for (const directory of ADDON_DIRECTORIES) {
    try {
      process.dlopen(module, unpackInto(directory, name, content));
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
