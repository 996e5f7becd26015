// ./scripts/build: the BPF object by clang, then dist/podpace and dist/podpaced: one bundle each,
// packed with the native addons into a Node single executable. Does only what is out of date.

import { createHash } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { build as bundle, type Plugin } from 'esbuild';
import { assetSourcePath, type AssetName } from '../helper/kernel/assets.ts';
import { buildBpf } from './lib/bpf-build.ts';
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

/**
 * Modules of Node's by themselves. Else each file that imports one gets an object with copies of
 * all its properties, which takes a millisecond of a plugin that is done in a few.
 */
const builtinsAsTheyAre: Plugin = {
  name: 'builtins-as-they-are',
  setup(build) {
    build.onResolve({ filter: /^node:(fs|path|sea)$/ }, ({ path }) => ({
      path,
      namespace: 'builtin',
    }));
    build.onLoad({ filter: /.*/, namespace: 'builtin' }, ({ path }) => ({
      contents: `export default process.getBuiltinModule(${JSON.stringify(path)});`,
    }));
  },
};

/**
 * One CommonJS file with everything in it, since a single executable can require nothing but Node's
 * own modules.
 */
async function bundleEntry({ name, entry }: Executable): Promise<string> {
  const outfile = path.join(buildDirectory, 'bundle', `${name}.cjs`);
  await bundle({
    entryPoints: [path.join(projectRoot, entry)],
    outfile,
    bundle: true,
    minify: true,
    keepNames: true,
    platform: 'node',
    format: 'cjs',
    target: 'node24',
    // Lazy parts stay lazy, as functions inside the bundle: the executable's loader has no
    // import().
    supported: { 'dynamic-import': false },
    alias: { 'node-gyp-build': path.join(projectRoot, 'helper/kernel/netlink-addon.cts') },
    plugins: [builtinsAsTheyAre],
    // Only the source tree has directories; inside the executable assets come from the blob.
    define: { 'import.meta.dirname': '"/"' },
    legalComments: 'none',
    logLevel: 'warning',
  });
  return outfile;
}

function digestOf(files: readonly string[]): string {
  const hash = createHash('sha256');
  for (const file of files) hash.update(fs.readFileSync(file)).update('\0');
  return hash.digest('hex');
}

async function buildExecutable(executable: Executable): Promise<void> {
  const main = await bundleEntry(executable);
  const assets = Object.fromEntries(
    executable.assets.map((name) => [name, path.join(projectRoot, assetSourcePath(name))]),
  );
  const output = path.join(projectRoot, 'dist', executable.name);
  const stamp = path.join(buildDirectory, 'bundle', `${executable.name}.stamp`);
  const how = ['build.ts', 'lib/pack.ts', 'lib/compile-whole.cjs', 'lib/packed-main.cjs'].map(
    (file) => path.join(import.meta.dirname, file),
  );
  const digest = digestOf([main, ...Object.values(assets), process.execPath, ...how]);
  const isCurrent =
    fs.existsSync(output) && fs.existsSync(stamp) && fs.readFileSync(stamp, 'utf8') === digest;
  if (isCurrent) return;
  await step(`packing dist/${executable.name}`, () =>
    packExecutable({ main, assets, output, nodeFlags: executable.nodeFlags }),
  );
  fs.writeFileSync(stamp, digest);
}

await ensurePackages(packageSets.build);
buildBpf();
for (const executable of EXECUTABLES) await buildExecutable(executable);
