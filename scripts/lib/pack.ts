// Bundles and their assets become one executable, by pkg's single-executable mode.

import fs from 'node:fs';
import path from 'node:path';
import sea from '@yao-pkg/pkg/lib-es5/sea.js';
import { run } from './process.ts';
import { RUNPATH_ASSET, runpathAsset, setRunpath } from './runpath.ts';
import type { Target } from './target.ts';

/** What goes into an executable, by absolute paths. */
export interface Packing {
  /** The machine that it is for. */
  readonly target: Target;
  /**
   * By the name that each is called by (packed-main.cjs) its bundle: the CommonJS file that runs,
   * and those that it may load (bundle.ts).
   */
  readonly programs: ReadonlyMap<string, readonly string[]>;
  readonly assets: Readonly<Record<string, string>>;
  /** Flags of Node's that they always run with, besides those that every executable has. */
  readonly nodeFlags: readonly string[];
  readonly output: string;
}

/**
 * An executable that runs as root in every CNI call must not obey variables of whoever started it:
 * neither NODE_OPTIONS and arguments meant for Node, nor OpenSSL's configuration file (which can
 * name code to load), nor the file to which Node would redirect warnings.
 */
function closedToTheEnvironment(nodeFlags: readonly string[]): object {
  const execArgv = ['--openssl-config=/dev/null', '--no-warnings', ...nodeFlags];
  return { execArgvExtension: 'none', execArgv };
}

/**
 * Variables that Node reads before the first line of a program, and for which it has no switch: the
 * first ends the process as soon as NODE_OPTIONS is not obeyed, the second and the third have it
 * write files and make directories, the others print or read.
 */
const UNSWITCHABLE = [
  'NODE_REPL_EXTERNAL_MODULE',
  'NODE_V8_COVERAGE',
  'NODE_COMPILE_CACHE',
  'NODE_DEBUG_NATIVE',
  'NODE_ICU_DATA',
];

/**
 * Makes an executable ask for variables without a name in their place, which no environment has.
 */
function blankVariables(content: Buffer): void {
  for (const name of UNSWITCHABLE) {
    const literal = Buffer.from(`\0${name}\0`);
    let at = content.indexOf(literal);
    if (at < 0) throw new Error(`Cannot have ${name} ignored: this Node holds no such name`);
    for (; at >= 0; at = content.indexOf(literal, at)) content.fill(0, at, at + literal.length);
  }
}

/**
 * A piece of the bundle as an asset, and what the target's V8 makes of it when it compiles all of
 * it, by the flags that it runs with. The same piece gives the same bytes: by its seed V8 orders
 * its tables.
 */
async function compileWhole(
  name: string,
  file: string,
  { target, nodeFlags }: Packing,
): Promise<Record<string, string>> {
  const assets = { [`${name}.cjs`]: `${file}.script`, [`${name}.code`]: `${file}.code` };
  const script = path.join(import.meta.dirname, 'compile-whole.cjs');
  const [command, ...args] = target.startNode;
  const flags = [...nodeFlags, '--random-seed=1'];
  await run(command, [...args, ...flags, script, file, ...Object.values(assets)]);
  return assets;
}

/** A copy of the target's Node, without what only debuggers read. */
async function strippedNode({ target, output }: Packing): Promise<string> {
  const file = `${output}.node`;
  await run(target.strip, ['--strip-all', '-o', file, target.node]);
  return file;
}

/** Has `os.tmpdir()` be a folder for as long as `work` takes. */
async function withTemporaryFolder(folder: string, work: () => Promise<void>): Promise<void> {
  const { TMPDIR: usual } = process.env;
  process.env['TMPDIR'] = folder;
  try {
    await work();
  } finally {
    if (usual === undefined) delete process.env['TMPDIR'];
    else process.env['TMPDIR'] = usual;
  }
}

/**
 * Packs bundles into a copy of the target's Node, which the lockfile pins. pkg's command line would
 * download a Node; its function takes the path of one, and passes assets on. The executable appears
 * under its name only when it is whole. The same files give the same bytes, wherever they are.
 */
export async function packExecutable(packing: Packing): Promise<void> {
  const { target, programs, assets, nodeFlags, output } = packing;
  const staged = `${output}.new`;
  fs.mkdirSync(path.dirname(output), { recursive: true });
  const compiled: Record<string, string> = {};
  for (const [program, pieces] of programs)
    for (const [piece, file] of pieces.entries())
      Object.assign(compiled, await compileWhole(`${program}-${piece}`, file, packing));
  const node = await strippedNode(packing);
  const scratch = fs.mkdtempSync(`${output}.`);
  const runpathFile = path.join(scratch, RUNPATH_ASSET);
  fs.writeFileSync(runpathFile, runpathAsset);
  const main = path.join(scratch, 'main.cjs');
  fs.copyFileSync(path.join(import.meta.dirname, 'packed-main.cjs'), main);
  const seaConfig = {
    main: '../main.cjs',
    disableExperimentalSEAWarning: true,
    useSnapshot: false,
    useCodeCache: false,
    assets: { ...assets, ...compiled, [RUNPATH_ASSET]: runpathFile },
    ...closedToTheEnvironment(nodeFlags),
  };
  // The blob says where its script was, and pkg works in a folder of its own among the temporary
  // ones: seen from there, that is the same in whatever directory the sources are.
  await withTemporaryFolder(scratch, () =>
    sea.default(main, {
      targets: [
        { nodeRange: 'node24', platform: 'linux', arch: target.architecture, output: staged },
      ],
      nodePath: node,
      // A Node of another architecture cannot be asked for its version, which is this one's.
      useLocalNode: true,
      seaConfig,
    }),
  );
  fs.rmSync(node);
  fs.rmSync(scratch, { recursive: true });
  const content = fs.readFileSync(staged);
  blankVariables(content);
  setRunpath(content);
  fs.writeFileSync(staged, content);
  fs.chmodSync(staged, 0o755);
  fs.renameSync(staged, output);
}
