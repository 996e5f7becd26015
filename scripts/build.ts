// ./scripts/build [--arch x64|arm64]: the BPF object by clang, then plugin and helper: a bundle
// each, packed with the native addons into one Node single executable, dist/podpace. dist/podpaced
// is a second name of it: what it does hangs on the name that it is called by. Those for another
// architecture than this machine's are in a folder of its name. Does only what is out of date.

import { createHash } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { Command, Option } from 'commander';
import { assetSourcePath, MARK_SUFFIX, type AssetName } from '../helper/kernel/assets.ts';
import { buildBpf } from './lib/bpf-build.ts';
import { bundleEntry } from './lib/bundle.ts';
import { ensurePackages } from './lib/debian.ts';
import { packageSets } from './lib/needs.ts';
import { buildDirectory, projectRoot } from './lib/paths.ts';
import { step } from './lib/progress.ts';
import { packExecutable } from './lib/pack.ts';
import {
  architectures,
  ensureTarget,
  ownArchitecture,
  type Architecture,
  type Target,
} from './lib/target.ts';

/**
 * MiB. What V8 collects often is small: the buffers of the kernel's answers, which hang on it, are
 * freed with it. At V8's own choice of 16 a helper that is asked much holds some 50 MiB of them.
 */
const SEMI_SPACE = 1;

const PLUGIN = 'podpace';
const HELPER = 'podpaced';
const ENTRIES = { [PLUGIN]: 'cni/main.ts', [HELPER]: 'helper/main.ts' };
const ASSETS: readonly AssetName[] = ['koffi.node', 'netlink.node', 'podpace.bpf.o'];
const NODE_FLAGS = [`--max-semi-space-size=${SEMI_SPACE}`];

/** What packs and starts the executable. */
const PACKING = ['pack.ts', 'runpath.ts', 'compile-whole.cjs', 'packed-main.cjs'].map(
  (file) => `lib/${file}`,
);

function digestOf(files: readonly string[]): string {
  const hash = createHash('sha256');
  for (const file of files) hash.update(fs.readFileSync(file)).update('\0');
  return hash.digest('hex');
}

function isOneFile(a: string, b: string): boolean {
  const [one, other] = [a, b].map((file) => fs.statSync(file, { throwIfNoEntry: false })?.ino);
  return one !== undefined && one === other;
}

/** The file of an asset: npm's for the target, or one that is the same for all. */
function assetFile(name: AssetName, { root, architecture }: Target): string {
  const file = assetSourcePath(name, architecture);
  return path.join(file.startsWith('node_modules/') ? root : projectRoot, file);
}

/** Bundles a program into a directory; returns the files of its pieces. */
async function bundleProgram(directory: string, name: string, entry: string): Promise<string[]> {
  const pieceFile = (piece: number): string => path.join(directory, `${name}.${piece}.cjs`);
  const count = await bundleEntry(entry, pieceFile);
  return Array.from({ length: count }, (_, piece) => pieceFile(piece));
}

/** The assets by the paths of their files, with a mark for each addon. */
function assetFiles(target: Target, bundles: string): Record<string, string> {
  const files: Record<string, string> = {};
  for (const name of ASSETS) {
    const file = assetFile(name, target);
    files[name] = file;
    if (!name.endsWith('.node')) continue;
    // Some file systems know no time after 2038.
    const mark = createHash('sha256').update(fs.readFileSync(file)).digest().readUInt32BE() >>> 1;
    const markFile = path.join(bundles, name + MARK_SUFFIX);
    fs.writeFileSync(markFile, `${mark}`);
    files[name + MARK_SUFFIX] = markFile;
  }
  return files;
}

async function buildExecutable(target: Target): Promise<void> {
  const { architecture } = target;
  const folder = architecture === process.arch ? '' : architecture;
  const bundles = path.join(buildDirectory, 'bundle', folder);
  const programs = new Map<string, string[]>();
  for (const [name, entry] of Object.entries(ENTRIES))
    programs.set(name, await bundleProgram(bundles, name, entry));
  const assets = assetFiles(target, bundles);
  const output = path.join(projectRoot, 'dist', folder, PLUGIN);
  const otherName = path.join(projectRoot, 'dist', folder, HELPER);
  const stamp = path.join(bundles, 'stamp');
  const how = ['build.ts', ...PACKING].map((file) => path.join(import.meta.dirname, file));
  const pieces = [...programs.values()].flat();
  const digest = digestOf([...pieces, ...Object.values(assets), target.node, ...how]);
  const isCurrent =
    isOneFile(output, otherName) &&
    fs.existsSync(stamp) &&
    fs.readFileSync(stamp, 'utf8') === digest;
  if (isCurrent) return;
  await step(`packing ${path.relative(projectRoot, output)}`, () =>
    packExecutable({ target, programs, assets, output, nodeFlags: NODE_FLAGS }),
  );
  fs.rmSync(otherName, { force: true });
  fs.linkSync(output, otherName);
  fs.writeFileSync(stamp, digest);
}

const program = new Command('build')
  .description('Builds dist/podpace and dist/podpaced, as far as they are out of date.')
  .addOption(
    new Option('--arch <architecture>', "this machine's by default").choices(architectures),
  )
  .allowExcessArguments(false)
  .parse();
const { arch = ownArchitecture() } = program.opts<{ readonly arch?: Architecture }>();

await ensurePackages(packageSets.build);
buildBpf();
await buildExecutable(await ensureTarget(arch));
