// Many test files as one, for AVA to run in one process: on an emulated processor a process of its
// own for each file is ten seconds at AVA's modules and the file's.

import fs from 'node:fs';
import path from 'node:path';
import { build as bundle, type Plugin } from 'esbuild';
import { buildDirectory, projectRoot } from './paths.ts';

/** Where such files are, with AVA's configuration for them: AVA must run in it. */
export const oneWorkerDirectory: string = path.join(buildDirectory, 'one-worker');

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
        ? { path: 'ava', external: true }
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
    build.onLoad({ filter: /\.ts$/ }, ({ path: file }) => ({
      loader: 'ts',
      contents: fs
        .readFileSync(file, 'utf8')
        .replaceAll('import.meta.dirname', JSON.stringify(path.dirname(file)))
        .replaceAll('import.meta.filename', JSON.stringify(file))
        .replaceAll('import.meta.url', JSON.stringify(new URL(`file://${file}`).href)),
    }));
  },
};

/** AVA's configuration: of the project's own only what these files need, as they are not its. */
const PACKAGE = {
  type: 'module',
  ava: { files: ['*.test.js'], workerThreads: false, timeout: '120s' },
};

/**
 * Bundles test files, paths in the tree, into one of that name and gives its name for AVA, which is
 * to run in oneWorkerDirectory. Throws esbuild's error where a source is none.
 */
export async function bundleTests(name: string, files: readonly string[]): Promise<string> {
  const bundled = `${name}.test.js`;
  fs.mkdirSync(oneWorkerDirectory, { recursive: true });
  fs.writeFileSync(path.join(oneWorkerDirectory, 'package.json'), JSON.stringify(PACKAGE));
  await bundle({
    stdin: {
      contents: files.map((file) => `import ${JSON.stringify(`./${file}`)};`).join('\n'),
      resolveDir: projectRoot,
    },
    outfile: path.join(oneWorkerDirectory, bundled),
    bundle: true,
    platform: 'node',
    format: 'esm',
    packages: 'external',
    plugins: [testPerFile, ownPlaces],
  });
  return bundled;
}
