// Former revisions of podpace, built from history: what an upgrade starts from, and what a bench
// compares with.

import fs from 'node:fs';
import path from 'node:path';
import { buildDirectory, projectRoot } from './paths.ts';
import { capture, CommandError, run } from './process.ts';
import { step } from './progress.ts';

/** The release of layout 1, from which every later one can be upgraded to. */
export const FIRST_LAYOUT_REVISION = '23c71bba5456813019b57cd63d62f1232df1120c';

/** The last release whose records say nothing of a pod's name. */
export const NAMELESS_REVISION = '26700df7975d79d732afe22c5134ed3dd50c0ed2';

const REVISIONS = path.join(buildDirectory, 'revisions');

/** A revision that is built. */
export interface BuiltRevision {
  readonly commit: string;
  readonly podpace: string;
  readonly podpaced: string;
}

function builtAt(commit: string): BuiltRevision {
  const dist = path.join(REVISIONS, commit, 'dist');
  return { commit, podpace: path.join(dist, 'podpace'), podpaced: path.join(dist, 'podpaced') };
}

async function git(...args: string[]): Promise<string> {
  return (await capture('git', ['-C', projectRoot, ...args])).trim();
}

async function commitOf(revision: string): Promise<string> {
  try {
    return await git('rev-parse', '--verify', '--quiet', `${revision}^{commit}`);
  } catch (error) {
    if (!(error instanceof CommandError)) throw error;
    throw new Error(
      `Cannot build revision ${revision}: this tree's history does not have it. Of a shallow clone fetch the rest ` +
        '(git fetch --unshallow); an unpacked archive has no history: use a clone',
      { cause: error },
    );
  }
}

/** What these functions read of package-lock.json. */
export interface Lockfile {
  readonly packages: Readonly<
    Record<string, { readonly version?: string; readonly integrity?: string }>
  >;
}

/** Where a lockfile has the project itself. */
const PROJECT = '';

/**
 * Whether all packages that one lockfile asks for are installed where another was followed: of the
 * same version and the same bytes, in the same place. What they are asked for does not matter.
 */
export function hasAllPackages(followed: Lockfile, wanted: Lockfile): boolean {
  return Object.entries(wanted.packages).every(([place, { version, integrity }]) => {
    const found = followed.packages[place];
    return place === PROJECT || (found?.version === version && found?.integrity === integrity);
  });
}

async function buildInto(directory: string, commit: string): Promise<void> {
  fs.rmSync(directory, { recursive: true, force: true });
  fs.mkdirSync(directory, { recursive: true });
  const archive = path.join(directory, 'revision.tar');
  await git('archive', '--format=tar', `--output=${archive}`, commit);
  await run('tar', ['-xf', archive, '-C', directory]);
  fs.rmSync(archive);
  // Its starter installs what its lockfile says, unless that is the one by which the packages that
  // it finds were installed.
  const [own, its] = [projectRoot, directory].map((root) => path.join(root, 'package-lock.json'));
  const [ownLock, itsLock] = [own, its].map((file) => JSON.parse(fs.readFileSync(file!, 'utf8')));
  if (hasAllPackages(ownLock, itsLock)) {
    fs.copyFileSync(own!, its!);
    fs.symlinkSync(path.join(projectRoot, 'node_modules'), path.join(directory, 'node_modules'));
  }
  await capture(path.join(directory, 'scripts/build'), []);
}

/**
 * The executables of a revision, built from its own sources by its own script with the packages of
 * its own lockfile, once: they stay under build/revisions/. Throws Error when history does not have
 * it, CommandError when it cannot be built.
 */
export async function buildRevision(revision: string): Promise<BuiltRevision> {
  // Inside a VM, where all is built, git may have reasons not to answer.
  if (fs.existsSync(builtAt(revision).podpaced)) return builtAt(revision);
  const commit = await commitOf(revision);
  const built = builtAt(commit);
  if (fs.existsSync(built.podpaced)) return built;
  const staged = path.join(REVISIONS, `${commit}.${process.pid}`);
  await step(`building podpace of ${commit.slice(0, 7)}`, () => buildInto(staged, commit));
  // Whole or not at all, also when two build it at once.
  if (fs.existsSync(built.podpaced)) fs.rmSync(staged, { recursive: true });
  else fs.renameSync(staged, path.join(REVISIONS, commit));
  return built;
}
