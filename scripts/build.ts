// ./scripts/build: the BPF object by clang, then dist/podpace and dist/podpaced: one bundle each,
// packed with the native addons into a Node single executable. Does only what is out of date.

import { createHash } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { assetSourcePath, type AssetName } from '../helper/kernel/assets.ts';
import { buildBpf } from './lib/bpf-build.ts';
import { bundleEntry } from './lib/bundle.ts';
import { ensurePackages } from './lib/debian.ts';
import { packageSets } from './lib/needs.ts';
import { buildDirectory, projectRoot } from './lib/paths.ts';
import { step } from './lib/progress.ts';
import { packExecutable } from './lib/pack.ts';

interface Executable {
  readonly name: string;
  readonly entry: string;
  readonly assets: readonly AssetName[];
  readonly nodeFlags?: readonly string[];
}

/**
 * MiB. What V8 collects often is small: the buffers of the kernel's answers, which hang on it, are
 * freed with it. At V8's own choice of 16 a helper that is asked much holds some 50 MiB of them.
 */
const HELPER_SEMI_SPACE = 1;

const EXECUTABLES: readonly Executable[] = [
  { name: 'podpace', entry: 'cni/main.ts', assets: ['koffi.node', 'netlink.node'] },
  {
    name: 'podpaced',
    entry: 'helper/main.ts',
    assets: ['koffi.node', 'netlink.node', 'podpace.bpf.o'],
    nodeFlags: [`--max-semi-space-size=${HELPER_SEMI_SPACE}`],
  },
];

function digestOf(files: readonly string[]): string {
  const hash = createHash('sha256');
  for (const file of files) hash.update(fs.readFileSync(file)).update('\0');
  return hash.digest('hex');
}

async function buildExecutable(executable: Executable): Promise<void> {
  const named = (suffix: string): string =>
    path.join(buildDirectory, 'bundle', `${executable.name}.${suffix}`);
  const pieceFile = (piece: number): string => named(`${piece}.cjs`);
  const count = await bundleEntry(executable.entry, pieceFile);
  const pieces = Array.from({ length: count }, (_, piece) => pieceFile(piece));
  const assets = Object.fromEntries(
    executable.assets.map((name) => [name, path.join(projectRoot, assetSourcePath(name))]),
  );
  const output = path.join(projectRoot, 'dist', executable.name);
  const stamp = named('stamp');
  const how = ['build.ts', 'lib/pack.ts', 'lib/compile-whole.cjs', 'lib/packed-main.cjs'].map(
    (file) => path.join(import.meta.dirname, file),
  );
  const digest = digestOf([...pieces, ...Object.values(assets), process.execPath, ...how]);
  const isCurrent =
    fs.existsSync(output) && fs.existsSync(stamp) && fs.readFileSync(stamp, 'utf8') === digest;
  if (isCurrent) return;
  await step(`packing dist/${executable.name}`, () =>
    packExecutable({ pieces, assets, output, nodeFlags: executable.nodeFlags }),
  );
  fs.writeFileSync(stamp, digest);
}

await ensurePackages(packageSets.build);
buildBpf();
for (const executable of EXECUTABLES) await buildExecutable(executable);
