// Many test files as one, for AVA to run in one process: a process of its own for each file is a
// second at AVA's modules and the file's, on an emulated processor ten. AVA itself is bundled, too:
// to find and read its 250 modules is half of its start.

import fs from 'node:fs';
import path from 'node:path';
import { build as bundle, transform, type Plugin } from 'esbuild';
import { buildDirectory, projectRoot } from './paths.ts';

const BUNDLES = path.join(buildDirectory, 'one-worker');

const SHARED_TEST = path.join(projectRoot, 'scripts/lib/file-tests.ts');

/** How AVA names a file before its titles. */
function titleOf(file: string): string {
  return path
    .relative(path.join(projectRoot, 'test'), file)
    .replace(/\.test\.ts$/, '')
    .replaceAll('/', ' › ');
}

/** Each test file has a `test` of its own for AVA's, so that its hooks are about its own tests. */
const testPerFile: Plugin = {
  name: 'test-per-file',
  setup(build) {
    build.onResolve({ filter: /^ava$/ }, ({ importer }) =>
      importer === SHARED_TEST
        ? { path: './ava/main.js', external: true }
        : { path: titleOf(importer), namespace: 'tests-of' },
    );
    build.onLoad({ filter: /./, namespace: 'tests-of' }, ({ path: title }) => ({
      contents: `import { testsOf } from ${JSON.stringify(SHARED_TEST)};\nexport default testsOf(${JSON.stringify(title)});`,
      resolveDir: projectRoot,
    }));
  },
};

/** What a source says of its own place stays true. */
const ownPlaces: Plugin = {
  name: 'own-places',
  setup(build) {
    build.onLoad({ filter: /\.ts$/ }, async ({ path: file }) => {
      const source = fs.readFileSync(file, 'utf8');
      if (!source.includes('import.meta')) return undefined;
      const { code } = await transform(source, {
        ...{ loader: 'ts', sourcefile: file, sourcemap: 'inline' },
        define: {
          'import.meta.dirname': JSON.stringify(path.dirname(file)),
          'import.meta.filename': JSON.stringify(file),
          'import.meta.url': JSON.stringify(new URL(`file://${file}`).href),
        },
      });
      return { loader: 'js', contents: code };
    });
  },
};

const AVA = path.join(projectRoot, 'node_modules/ava');

async function bundleAva(directory: string): Promise<void> {
  await bundle({
    entryPoints: {
      cli: path.join(AVA, 'entrypoints/cli.js'),
      main: path.join(AVA, 'entrypoints/main.js'),
      // The command line starts it by its place.
      'worker/base': path.join(AVA, 'lib/worker/base.js'),
    },
    // Where runAva looks for it.
    outdir: path.join(directory, 'ava'),
    bundle: true,
    // What the three share they must have one of.
    splitting: true,
    platform: 'node',
    format: 'esm',
    // Some of its packages are CommonJS.
    banner: {
      js: `const require = process.getBuiltinModule('node:module').createRequire(import.meta.url);`,
    },
    // Of its watch mode.
    external: ['@vercel/nft'],
  });
}

/** AVA's configuration: of the project's own only what these files need, as they are not its. */
const PACKAGE = {
  type: 'module',
  ava: { files: ['*.test.js'], workerThreads: false, timeout: '120s' },
};

/** Bundles as AVA is to run them. */
export interface Bundles {
  /** Where they are, with AVA's configuration for them: AVA must run in it. */
  readonly directory: string;
  readonly files: readonly string[];
}

/** Bundles a module with what it imports of the project's tree, at whose root it stands. */
export async function bundleInto(outfile: string, contents: string): Promise<void> {
  await bundle({
    stdin: { contents, resolveDir: projectRoot },
    outfile,
    bundle: true,
    // AVA has Node read it: what fails is told with its place in the sources.
    sourcemap: 'linked',
    sourcesContent: false,
    platform: 'node',
    format: 'esm',
    packages: 'external',
    plugins: [testPerFile, ownPlaces],
  });
}

/**
 * Bundles test files, paths in the tree, each share of them into one file, in a directory that
 * lasts as long as what is done with them. Rejects with esbuild's error where a source is none.
 */
export async function withBundles<T>(
  name: string,
  shares: readonly (readonly string[])[],
  use: (bundles: Bundles) => Promise<T>,
): Promise<T> {
  fs.mkdirSync(BUNDLES, { recursive: true });
  const directory = fs.mkdtempSync(path.join(BUNDLES, `${name}-`));
  try {
    fs.writeFileSync(path.join(directory, 'package.json'), JSON.stringify(PACKAGE));
    await bundleAva(directory);
    const files = shares.map((_, index) => `${index + 1}.test.js`);
    for (const [index, file] of files.entries()) {
      const imports = shares[index]?.map((each) => `import ${JSON.stringify(`./${each}`)};`) ?? [];
      await bundleInto(path.join(directory, file), imports.join('\n'));
    }
    return await use({ directory, files });
  } finally {
    fs.rmSync(directory, { recursive: true });
  }
}
