// A machine that executables are made for: this one, or one of another architecture, whose Node and
// addons npm has, and whose Node an emulator starts here.

import fs from 'node:fs';
import path from 'node:path';
import { ensureDebianFiles } from './debian-files.ts';
import { ensurePackages } from './debian.ts';
import { buildDirectory, projectRoot } from './paths.ts';
import { capture } from './process.ts';
import { step } from './progress.ts';

export const architectures = ['x64', 'arm64'] as const;
/** As Node names them. */
export type Architecture = (typeof architectures)[number];

/** Debian's names of them. */
export const debianArchitectures: Readonly<Record<Architecture, string>> = {
  x64: 'amd64',
  arm64: 'arm64',
};

/** What QEMU calls them. */
const emulated: Readonly<Record<Architecture, string>> = { x64: 'x86_64', arm64: 'aarch64' };

export interface Target {
  readonly architecture: Architecture;
  /** The directory whose node_modules hold the packages for that machine. */
  readonly root: string;
  /** Its Node, of the same version as the one that runs this. */
  readonly node: string;
  /** The command that starts it here. */
  readonly startNode: readonly [string, ...string[]];
  /** The program that takes symbols out of its files. */
  readonly strip: string;
}

/** This machine's architecture. Throws Error where podpace does not run on it. */
export function ownArchitecture(): Architecture {
  const own = architectures.find((each) => each === process.arch);
  if (own === undefined)
    throw new Error(
      `Cannot build on ${process.arch}: the pinned Node exists for ${architectures.join(', ')}`,
    );
  return own;
}

/** What is made for another machine, by its architecture, and what that takes. */
export function crossDirectory(architecture: Architecture): string {
  return path.join(buildDirectory, 'cross', architecture);
}

/**
 * The oldest Debian that the mirrors have. Its C library (2.31) is nearer to the oldest that Node
 * runs with (2.28) than any other, and its libstdc++ runs with that one, which newer ones do not.
 */
const OLDEST_SUITE = 'bullseye';

/** Directory with the files of a machine that has a C library and nothing else. */
export async function ensureSysroot(architecture: Architecture): Promise<string> {
  const directory = path.join(crossDirectory(architecture), 'sysroot');
  await ensureDebianFiles({
    packages: ['libc6'],
    suite: OLDEST_SUITE,
    architecture: debianArchitectures[architecture],
    directory,
  });
  return directory;
}

/** The packages of the shared libraries that Node needs besides the C library. */
export const LIBRARY_PACKAGES = ['libstdc++6', 'libgcc-s1'] as const;

/** Directory with the files of LIBRARY_PACKAGES, and of the one that has their licence. */
export async function ensureLibraries(architecture: Architecture): Promise<string> {
  const directory = path.join(crossDirectory(architecture), 'libraries');
  await ensureDebianFiles({
    packages: [...LIBRARY_PACKAGES, 'gcc-10-base'],
    suite: OLDEST_SUITE,
    architecture: debianArchitectures[architecture],
    directory,
  });
  return directory;
}

/** Paths of the shared libraries themselves, by the names that programs ask for. */
export function libraryFiles(directory: string): Readonly<Record<string, string>> {
  const found = ['libstdc++.so.6', 'libgcc_s.so.1'].map((name) => {
    const [file] = fs.globSync(`{usr/lib,lib}/*/${name}`, { cwd: directory });
    if (file === undefined) throw new Error(`Cannot find ${name} in ${directory}: delete that`);
    return [name, fs.realpathSync(path.join(directory, file))] as const;
  });
  return Object.fromEntries(found);
}

/**
 * QEMU's emulator of processes of another architecture, which is statically linked: unpacked only,
 * since its package would have the kernel start it for all such files.
 */
export async function ensureEmulator(architecture: Architecture): Promise<string> {
  const directory = path.join(buildDirectory, 'cross', 'qemu-user');
  await ensureDebianFiles({
    packages: ['qemu-user-static'],
    suite: 'bookworm',
    architecture: debianArchitectures[ownArchitecture()],
    directory,
  });
  const programs = path.join(directory, 'usr/bin');
  const wanted = `qemu-${emulated[architecture]}-static`;
  for (const name of fs.readdirSync(programs))
    if (name !== wanted) fs.rmSync(path.join(programs, name));
  return path.join(programs, wanted);
}

function nodeIn(root: string, architecture: Architecture): string {
  return path.join(root, 'node_modules', `node-linux-${architecture}`, 'bin/node');
}

/** The packages of the lockfile that executables are made of, for a machine of that kind. */
async function ensurePackagesFor(architecture: Architecture): Promise<string> {
  const root = path.join(crossDirectory(architecture), 'packages');
  const files = ['package.json', 'package-lock.json'] as const;
  const isSame = (name: string): boolean => {
    const copy = path.join(root, name);
    return (
      fs.existsSync(copy) &&
      fs.readFileSync(copy).equals(fs.readFileSync(path.join(projectRoot, name)))
    );
  };
  if (files.every(isSame) && fs.existsSync(nodeIn(root, architecture))) return root;
  const staged = `${root}.${process.pid}`;
  fs.mkdirSync(staged, { recursive: true });
  for (const name of files) fs.copyFileSync(path.join(projectRoot, name), path.join(staged, name));
  const quiet = ['--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'];
  const kind = ['--os=linux', `--cpu=${architecture}`, '--libc=glibc'];
  await step(`Getting the npm packages for ${architecture}`, () =>
    capture('npm', ['ci', '--omit=dev', ...quiet, ...kind], { cwd: staged }),
  );
  if (!fs.existsSync(nodeIn(staged, architecture)))
    throw new Error(
      `Cannot build for ${architecture}: npm has installed no Node for it; use npm 10 or newer`,
    );
  fs.rmSync(root, { recursive: true, force: true });
  fs.renameSync(staged, root);
  return root;
}

/** All that it takes to build for an architecture, downloaded at the first call. */
export async function ensureTarget(architecture: Architecture): Promise<Target> {
  if (architecture === process.arch) {
    const node = process.execPath;
    return { architecture, root: projectRoot, node, startNode: [node], strip: 'strip' };
  }
  const gnuName = `${emulated[architecture]}-linux-gnu`;
  await ensurePackages([`binutils-${gnuName.replace('_', '-')}`]);
  const root = await ensurePackagesFor(architecture);
  const node = nodeIn(root, architecture);
  const emulator = await ensureEmulator(architecture);
  const libraries = Object.values(libraryFiles(await ensureLibraries(architecture)));
  const directories = libraries.map((file) => path.dirname(file)).join(':');
  const sysroot = await ensureSysroot(architecture);
  return {
    ...{ architecture, root, node, strip: `${gnuName}-strip` },
    startNode: [emulator, '-L', sysroot, '-E', `LD_LIBRARY_PATH=${directories}`, node],
  };
}
