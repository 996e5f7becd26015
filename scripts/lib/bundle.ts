// An executable's code, made by esbuild of its sources: CommonJS, since a single executable can
// require nothing but Node's own modules. It comes in pieces, each loaded as a whole when something
// of it is first needed (packed-main.cjs): what the entry imports statically, then what that
// imports dynamically with all that this needs statically, and so on. Every file is in one piece.

import fs from 'node:fs';
import path from 'node:path';
import { build, type BuildOptions, type Metafile, type Plugin } from 'esbuild';
import { projectRoot } from './paths.ts';

/**
 * Modules of Node's by themselves. Else each file that imports one gets an object with copies of
 * all its properties, which takes a millisecond of a plugin that is done in a few.
 */
const builtinsAsTheyAre: Plugin = {
  name: 'builtins-as-they-are',
  setup(build) {
    build.onResolve({ filter: /^node:(fs|os|path|sea)$/ }, ({ path }) => ({
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
  // Short names would need esbuild's `keepNames`, which is a call for each function at each start.
  minifyWhitespace: true,
  minifySyntax: true,
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

/** The number of a file's piece, for those that are known. */
type PieceOf = Map<string, number>;

/** Has a piece require files of others, by number and path: `piece:0:cni/types.ts`. */
function fromOthers(own: number, pieceOf: PieceOf, later: (file: string) => void): Plugin {
  return {
    name: 'from-others',
    setup(build) {
      build.onResolve({ filter: /^\.\.?\// }, ({ path: wanted, resolveDir, kind }) => {
        const file = path.relative(projectRoot, path.resolve(resolveDir, wanted));
        // What a package imports lazily stays with it: it may need what the package has there.
        if (file.startsWith('node_modules/')) return undefined;
        const piece = pieceOf.get(file);
        if (piece === undefined && kind === 'dynamic-import') later(file);
        else if (piece === undefined || piece === own) return undefined;
        return { path: `piece:${piece ?? own + 1}:${file}`, external: true };
      });
    },
  };
}

/** Files with code in a piece. */
function filesOf({ inputs }: Metafile): string[] {
  return Object.keys(inputs).filter((file) => /^[^:]+\.[cm]?[jt]s$/.test(file));
}

/** The files that a piece requires of others. */
function requiredBy({ outputs }: Metafile): string[] {
  const imports = Object.values(outputs).flatMap((output) => output.imports);
  return imports.flatMap(({ path }) => /^piece:\d+:(.*)$/.exec(path)?.[1] ?? []);
}

/**
 * By name, esbuild's helpers that copy what a module exports, a getter for each, as often as it is
 * imported, and in their place what does with one object: this counts at every start.
 */
const HELPERS: ReadonlyMap<string, readonly [theirs: RegExp, ours: string]> = new Map([
  [
    '__toESM',
    [
      /(?<=\b__toESM=)\(mod,isNodeMode,target\)=>\(target=.*?,mod\)\)/,
      '(mod,isNodeMode)=>__create(mod,isNodeMode||!mod.__esModule?{default:{value:mod}}:{})',
    ],
  ],
  ['__toCommonJS', [/(?<=\b__toCommonJS=)mod=>__copyProps\(.*?,mod\)/, 'mod=>mod']],
]);

/** Throws Error where esbuild's helpers are others than those that are known here. */
function withOwnHelpers(bundle: string): string {
  let text = bundle;
  for (const [name, [theirs, ours]] of HELPERS) {
    if (!text.includes(`${name}=`)) continue;
    if (!theirs.test(text)) throw new Error(`Cannot replace ${name}: esbuild has it another way`);
    text = text.replace(theirs, () => ours);
  }
  return text;
}

/** Bundles what a generated module says, and returns esbuild's account of it. */
async function bundle(contents: string, plugin: Plugin, outfile?: string): Promise<Metafile> {
  const { metafile } = await build({
    ...OPTIONS,
    stdin: { contents, resolveDir: projectRoot },
    plugins: [builtinsAsTheyAre, plugin],
    ...(outfile === undefined ? { write: false } : { outfile }),
  });
  if (outfile !== undefined)
    fs.writeFileSync(outfile, withOwnHelpers(fs.readFileSync(outfile, 'utf8')));
  return metafile;
}

/** Which file is in which piece, and the files that pieces require of each other. */
async function layOut(entry: string): Promise<{ pieceOf: PieceOf; required: Set<string> }> {
  const pieceOf: PieceOf = new Map();
  const required = new Set<string>();
  let wanted = new Set([entry]);
  for (let piece = 0; wanted.size > 0; piece += 1) {
    const later = new Set<string>();
    const exports = [...wanted].map((file) => `export * as '${file}' from './${file}';`);
    const plugin = fromOthers(piece, pieceOf, (file) => later.add(file));
    const account = await bundle(exports.join('\n'), plugin);
    for (const file of filesOf(account)) {
      // Two copies of a module would have two states. Packages are not looked for in other pieces.
      if (pieceOf.has(file)) throw new Error(`Cannot bundle ${entry}: ${file} is in two pieces`);
      pieceOf.set(file, piece);
    }
    for (const each of requiredBy(account)) required.add(each);
    // In an order of their own: esbuild asks for several at a time, now this one first, now that.
    wanted = new Set([...later].filter((file) => !pieceOf.has(file)).toSorted());
  }
  return { pieceOf, required };
}

/**
 * Bundles an entry, a path in the source tree, into pieces whose files `fileOf` names, by number.
 * Returns how many there are.
 */
export async function bundleEntry(
  entry: string,
  fileOf: (piece: number) => string,
): Promise<number> {
  const { pieceOf, required } = await layOut(entry);
  const pieces = Math.max(...pieceOf.values()) + 1;
  for (let piece = 0; piece < pieces; piece += 1) {
    const given = [...required].filter((file) => pieceOf.get(file) === piece).toSorted();
    // The first is run; of the others a file is run when it is asked for.
    const contents =
      piece === 0
        ? [
            `import './${entry}';`,
            ...given.map((file) => `export * as '${file}' from './${file}';`),
          ]
        : given.map((file) => `exports['${file}'] = () => require('./${file}');`);
    const nothing = (): void => undefined;
    await bundle(contents.join('\n'), fromOthers(piece, pieceOf, nothing), fileOf(piece));
  }
  return pieces;
}
