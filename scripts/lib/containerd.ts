import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { aptGet, requireDebian } from './debian.ts';
import { buildDirectory } from './paths.ts';
import { privateApt, suiteLines } from './private-apt.ts';
import { capture } from './process.ts';
import { step } from './progress.ts';

/** Suites of Debian by whose container runtimes podpace is tried. */
export const containerdSuites = ['bookworm', 'sid'] as const;
export type ContainerdSuite = (typeof containerdSuites)[number];

/**
 * What is taken of each: containerd 1.6, which knows nothing of STATUS, and the newest, which asks
 * for it. A newer runc and crun need a newer libc than Debian 12's.
 */
const PACKAGES: Readonly<Record<ContainerdSuite, readonly string[]>> = {
  bookworm: ['containerd', 'runc', 'containernetworking-plugins'],
  sid: ['containerd', 'containernetworking-plugins'],
};

/** A container runtime of Debian's, unpacked under build/, not installed on this machine. */
export interface UnpackedContainerd {
  /** Names of its packages with their versions. */
  readonly packages: readonly string[];
  /** Its programs, for PATH. */
  readonly path: string;
  /** Folder with the CNI plugins of the same suite. */
  readonly plugins: string;
}

const runtimesDirectory = join(buildDirectory, 'runtimes');
const STAMP = 'packages';

function treeOf(suite: ContainerdSuite): string {
  return join(runtimesDirectory, suite);
}

/** The runtime of a suite, as ensureContainerd has left it. Throws Error where that was not done. */
export async function unpackedContainerd(suite: ContainerdSuite): Promise<UnpackedContainerd> {
  const stamp = await readFile(join(treeOf(suite), STAMP), 'utf8');
  const folders = [
    join(treeOf(suite), 'usr', 'bin'),
    join(treeOf('bookworm'), 'usr', 'sbin'),
    ...['/usr/sbin', '/usr/bin', '/sbin', '/bin'],
  ];
  return {
    packages: stamp.trimEnd().split('\n'),
    path: folders.join(':'),
    plugins: join(treeOf(suite), 'usr', 'lib', 'cni'),
  };
}

/**
 * Downloads and unpacks the runtime of a suite on the first call; delete its folder under
 * build/runtimes to take a newer one. The machine's package sources stay as they are. Throws
 * CommandError with apt's words.
 */
export async function ensureContainerd(suite: ContainerdSuite): Promise<void> {
  const tree = treeOf(suite);
  if (existsSync(join(tree, STAMP))) return;
  requireDebian(`get the containerd of Debian's ${suite}`);
  await mkdir(runtimesDirectory, { recursive: true });
  // Made under a name of its own and then renamed: a second process may be doing the same.
  const scratch = await mkdtemp(join(runtimesDirectory, '.unpack-'));
  try {
    await step(`Getting the containerd of Debian's ${suite}`, async (report) => {
      const options = await privateApt(
        join(scratch, 'apt'),
        (targets) => suiteLines(targets, suite),
        { purpose: `get containerd from ${suite}`, report },
      );
      await unpack([...PACKAGES[suite]], scratch, options);
    });
    if (existsSync(join(tree, STAMP))) return;
    await rm(tree, { recursive: true, force: true });
    await rename(join(scratch, 'tree'), tree);
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

async function unpack(
  packages: readonly string[],
  scratch: string,
  options: readonly string[],
): Promise<void> {
  const [archives, tree] = [join(scratch, 'archives'), join(scratch, 'tree')];
  await mkdir(archives, { recursive: true });
  await aptGet([...options, 'download', ...packages], { cwd: archives });
  const versions: string[] = [];
  for (const name of await readdir(archives)) {
    const archive = join(archives, name);
    const format = '--showformat=${Package} ${Version}';
    versions.push(await capture('dpkg-deb', ['--show', format, archive]));
    await capture('dpkg-deb', ['--extract', archive, tree]);
  }
  await writeFile(join(tree, STAMP), `${versions.toSorted().join('\n')}\n`);
}
