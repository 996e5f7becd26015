// An executable's code, made by esbuild of its sources: CommonJS, since a single executable can
// require nothing but Node's own modules. There are two pieces, each loaded as a whole: `first`
// with what the entry imports statically, and `rest`, loaded when something of it is first imported
// dynamically. The pieces share what is in the first: packed-main.cjs hands it to the rest.

import path from 'node:path';
import { build, type BuildOptions, type Metafile, type Plugin } from 'esbuild';
import { projectRoot } from './paths.ts';

/** What a piece requires of the other, by the file's path in the source tree. */
const FIRST = 'first:';
const REST = 'rest:';

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

const OPTIONS = {
  absWorkingDir: projectRoot,
  bundle: true,
  minify: true,
  keepNames: true,
  platform: 'node',
  format: 'cjs',
  target: 'node24',
  // The executable's loader has no import(): what is lazy within a piece is a function of it.
  supported: { 'dynamic-import': false },
  alias: { 'node-gyp-build': path.join(projectRoot, 'helper/kernel/netlink-addon.cts') },
  // Only the source tree has directories; inside the executable assets come from the blob.
  define: { 'import.meta.dirname': '"/"' },
  metafile: true,
  legalComments: 'none',
  logLevel: 'warning',
} as const satisfies BuildOptions;

/** Takes a source file from the other piece, under its path in the source tree, where `of` says so. */
function fromOtherPiece(prefix: string, of: (file: string, kind: string) => boolean): Plugin {
  return {
    name: `from-${prefix}`,
    setup(build) {
      build.onResolve({ filter: /^\.\.?\// }, ({ path: wanted, resolveDir, kind }) => {
        const file = path.relative(projectRoot, path.resolve(resolveDir, wanted));
        return of(file, kind) ? { path: prefix + file, external: true } : undefined;
      });
    },
  };
}

/** Files with code in a piece. */
function filesOf({ inputs }: Metafile): Set<string> {
  return new Set(Object.keys(inputs).filter((file) => /^[^:]+\.[cm]?[jt]s$/.test(file)));
}

/** Bundles what a generated module says, and returns esbuild's account of it. */
async function bundle(
  contents: string,
  plugin: Plugin,
  outfile: string | undefined,
): Promise<Metafile> {
  const { metafile } = await build({
    ...OPTIONS,
    stdin: { contents, resolveDir: projectRoot },
    plugins: [builtinsAsTheyAre, plugin],
    ...(outfile === undefined ? { write: false } : { outfile }),
  });
  return metafile;
}

/** Paths of the two pieces. */
export interface Pieces {
  readonly first: string;
  readonly rest: string;
}

/** Bundles an entry, a path in the source tree, into the files of its two pieces. */
export async function bundleEntry(entry: string, { first, rest }: Pieces): Promise<void> {
  const start = `import './${entry}';`;
  const asked = new Set<string>();
  const isDynamic = (file: string, kind: string): boolean => {
    if (kind === 'dynamic-import') asked.add(file);
    return kind === 'dynamic-import';
  };
  const shared = filesOf(await bundle(start, fromOtherPiece(REST, isDynamic), undefined));
  const isLazy = (file: string, kind: string): boolean =>
    kind === 'dynamic-import' && !shared.has(file);
  const shares = [...shared].map((file) => `export * as '${file}' from './${file}';`);
  await bundle([start, ...shares].join('\n'), fromOtherPiece(REST, isLazy), first);
  const lazy = [...asked].filter((file) => !shared.has(file));
  const gives = lazy.map((file) => `'${file}': () => require('./${file}'),`);
  const isShared = (file: string): boolean => shared.has(file);
  const whole = `module.exports = {${gives.join('\n')}};`;
  const others = filesOf(await bundle(whole, fromOtherPiece(FIRST, isShared), rest));
  // Two copies of a module have two states. Packages are not looked for in the other piece.
  const twice = [...others].filter(isShared);
  if (twice.length > 0) throw new Error(`Cannot bundle ${entry} in two: both have ${twice.join()}`);
}
