// Which directories of this node the runtime takes network configurations and plugins from.

import fs from 'node:fs';
import path from 'node:path';
import {
  containerdPlaces,
  crioPlaces,
  importsOf,
  RUNTIMES,
  type Places,
  type Runtime,
} from '../network-list/runtimes.ts';
import { hasErrno } from '../wire/errors.ts';
import { isThere, resolveIn } from './node-root.ts';

/** What the operator has said. Paths are the node's. */
export interface PlaceFlags {
  /** Where the node's root is mounted. */
  readonly root: string;
  readonly confDir?: string;
  readonly binDir?: string;
}

export interface FoundPlaces {
  /** Paths of the node, without its root. */
  readonly confDir: string;
  /** In the order in which the runtime looks for a plugin. */
  readonly binDirs: readonly string[];
  /** Empty where both directories were given. */
  readonly runtime: string;
  readonly defaultNetwork?: string;
  readonly why: readonly string[];
}

const FLAGS = 'give --conf-dir and --bin-dir';

async function readToml(file: string): Promise<unknown> {
  let text: string;
  try {
    text = fs.readFileSync(file, 'utf8');
  } catch (error) {
    if (hasErrno(error, 'ENOENT')) return undefined;
    throw new Error(`Cannot read the runtime's ${file}: ${(error as Error).message}; ${FLAGS}`, {
      cause: error,
    });
  }
  // Only here: it costs time to load.
  const { parse } = await import('smol-toml');
  try {
    return parse(text);
  } catch (error) {
    const [reason] = (error as Error).message.split('\n');
    throw new Error(`Cannot understand the runtime's ${file}: ${reason}; ${FLAGS}`, {
      cause: error,
    });
  }
}

/** A file of containerd's and all that it imports, in the order in which they count. */
async function containerdFiles(root: string, config: string): Promise<unknown[]> {
  const seen = new Set<string>();
  const files: unknown[] = [];
  const pending = [config];
  for (let file = pending.shift(); file !== undefined; file = pending.shift()) {
    const here = resolveIn(root, file);
    if (seen.has(here)) continue;
    seen.add(here);
    const content = await readToml(here);
    files.push(content);
    for (const pattern of importsOf(content)) {
      const [folder, base] = [path.dirname(pattern), path.basename(pattern)];
      const directory = path.resolve(path.dirname(file), folder);
      pending.push(...namesIn(root, directory, base).map((name) => path.join(directory, name)));
    }
  }
  return files;
}

function namesIn(root: string, directory: string, pattern: string): string[] {
  const here = resolveIn(root, directory);
  if (!fs.existsSync(here)) return [];
  return fs
    .readdirSync(here)
    .filter((name) => path.matchesGlob(name, pattern))
    .toSorted();
}

async function crioFiles(root: string, config: string): Promise<unknown[]> {
  const dropIns = namesIn(root, `${config}.d`, '*').map((name) => `${config}.d/${name}`);
  return await Promise.all([config, ...dropIns].map((file) => readToml(resolveIn(root, file))));
}

async function placesOf(root: string, { kind, config }: Runtime): Promise<Places> {
  return kind === 'containerd'
    ? containerdPlaces(await containerdFiles(root, config))
    : crioPlaces(await crioFiles(root, config));
}

/** The runtime of this node: one that runs, else the first of the table that is there. */
function findRuntime(root: string): { readonly runtime?: Runtime; readonly why: string[] } {
  const there = RUNTIMES.filter(({ signs }) => signs.some((sign) => isThere(root, sign)));
  const running = there.filter(({ socket }) => isThere(root, socket));
  const [runtime] = [...running, ...there];
  if (runtime === undefined) return { why: [] };
  const others = there.filter(({ config }) => config !== runtime.config).map(({ name }) => name);
  const because = running.length > 0 ? `${runtime.socket} is there` : 'none runs';
  const why =
    others.length === 0
      ? []
      : [
          `${runtime.name}, not ${others.join(' or ')}: ${because}, and it comes first in the table`,
        ];
  return { runtime, why };
}

/** Throws Error with the flags to use where nothing is found. */
export async function findPlaces({ root, confDir, binDir }: PlaceFlags): Promise<FoundPlaces> {
  if (confDir !== undefined && binDir !== undefined)
    return { confDir, binDirs: [binDir], runtime: '', why: [] };
  const { runtime, why } = findRuntime(root);
  if (runtime === undefined)
    throw new Error(
      `Cannot tell where the runtime looks for plugins: no containerd and no CRI-O is known at ${root}; ${FLAGS}` +
        (root === '/' ? '' : ', and see whether --root is the root of the node'),
    );
  const said = await placesOf(root, runtime);
  const from = (isSaid: boolean): string =>
    isSaid ? `${runtime.name}'s ${runtime.config} says so` : `where ${runtime.name} has them`;
  const places = {
    confDir: confDir ?? said.confDir ?? runtime.confDir,
    binDirs: binDir === undefined ? (said.binDirs ?? runtime.binDirs) : [binDir],
  };
  const reasons = [
    ...(confDir === undefined
      ? [`network lists: ${places.confDir} (${from(said.confDir !== undefined)})`]
      : []),
    ...(binDir === undefined
      ? [`plugins: ${places.binDirs.join(', ')} (${from(said.binDirs !== undefined)})`]
      : []),
  ];
  return {
    ...places,
    runtime: runtime.kind,
    ...(said.defaultNetwork !== undefined && { defaultNetwork: said.defaultNetwork }),
    why: [...why, ...reasons],
  };
}
