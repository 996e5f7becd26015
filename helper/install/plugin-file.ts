// The plugin's executable in the directory where the runtime looks for it.

import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { putFile, type NodeDirectory } from './files.ts';
import { resolveIn } from './node-root.ts';

export const PLUGIN = 'podpace';

/** A node under load takes seconds to start a large executable that it has not read yet. */
const ANSWER_MS = 60_000;
const CHUNK_BYTES = 1_048_576;

/** What a plugin says of itself when no command is given (CNI's skel). */
const ABOUT = /^CNI podpace plugin version (\S+)$/m;

/** The release of a podpace; undefined for what does not say that it is one, or does not run. */
export function releaseOf(file: string): string | undefined {
  const { stderr } = spawnSync(file, [], {
    // What it is hangs on the name that it is called by.
    ...{ argv0: PLUGIN, env: {}, timeout: ANSWER_MS, killSignal: 'SIGKILL', encoding: 'utf8' },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  return ABOUT.exec(stderr ?? '')?.[1];
}

/** Whether a release is newer than another: by numbers, as Semantic Versioning orders them. */
export function isNewer(release: string, than: string): boolean {
  const [a, b] = [release, than].map((text) => (text.split('-')[0] ?? '').split('.').map(Number));
  for (const index of [0, 1, 2]) {
    const [left, right] = [a?.[index] ?? 0, b?.[index] ?? 0];
    if (left !== right) return left > right;
  }
  // A release comes after what leads to it: 1.0.0-rc.1.
  return !release.includes('-') && than.includes('-');
}

/** Compares contents without having both in memory. */
export function isSameContent(a: string, b: string): boolean {
  const fds = [fs.openSync(a, 'r'), fs.openSync(b, 'r')] as const;
  try {
    if (fs.fstatSync(fds[0]).size !== fs.fstatSync(fds[1]).size) return false;
    const chunks = [Buffer.alloc(CHUNK_BYTES), Buffer.alloc(CHUNK_BYTES)] as const;
    for (;;) {
      const read = [fs.readSync(fds[0], chunks[0]), fs.readSync(fds[1], chunks[1])] as const;
      if (read[0] !== read[1]) return false;
      if (read[0] === 0) return true;
      if (chunks[0].subarray(0, read[0]).compare(chunks[1].subarray(0, read[1])) !== 0)
        return false;
    }
  } finally {
    for (const fd of fds) fs.closeSync(fd);
  }
}

function isWritable(directory: string): boolean {
  try {
    fs.accessSync(directory, fs.constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

/**
 * The directory of those that the runtime looks in: where podpace is already, else the first that
 * can be written to. Throws Error with the flag to use.
 */
export function chooseBinDir(root: string, directories: readonly string[]): NodeDirectory {
  const here = directories.map((directory) => ({ directory, at: resolveIn(root, directory) }));
  const there = here.filter(({ at }) => fs.statSync(at, { throwIfNoEntry: false })?.isDirectory());
  const [first] = here;
  if (there.length === 0)
    throw new Error(
      `Cannot install the plugin: ${first?.at ?? 'no directory'} is not there; make it, or name the one that the ` +
        'runtime looks in with --bin-dir',
    );
  const chosen =
    there.find(({ at }) => fs.existsSync(path.join(at, PLUGIN))) ??
    there.find(({ at }) => isWritable(at));
  if (chosen !== undefined && isWritable(chosen.at)) return { root, directory: chosen.directory };
  const readOnly = (chosen === undefined ? there : [chosen]).map(({ at }) => at).join(', ');
  throw new Error(
    `Cannot install the plugin: ${readOnly} is read-only; name a directory that can be written to with --bin-dir, ` +
      "and have the runtime look there (containerd's bin_dirs, CRI-O's plugin_dirs)",
  );
}

/** What is to happen to the executable. */
export interface PluginPlan {
  readonly source: string;
  readonly file: string;
  /** Of the source. */
  readonly release: string;
  readonly did: 'there already' | 'copied' | 'replaced';
  /** Of what it replaces, where that says it. */
  readonly formerRelease?: string;
}

/** Throws Error for a source that is no podpace, and for a newer one that is there. */
export function planPlugin(
  source: string,
  { root, directory }: NodeDirectory,
  mayDowngrade: boolean,
): PluginPlan {
  const release = fs.existsSync(source) ? releaseOf(source) : undefined;
  if (release === undefined)
    throw new Error(
      `Cannot install ${source}: it is ${fs.existsSync(source) ? 'no podpace that runs here' : 'not there'}; ` +
        'name the plugin with --plugin',
    );
  const file = path.join(resolveIn(root, directory), PLUGIN);
  const stat = fs.lstatSync(file, { throwIfNoEntry: false });
  if (stat === undefined) return { source, file, release, did: 'copied' };
  if (stat.isDirectory())
    throw new Error(`Cannot install ${file}: it is a directory; take it away`);
  if (stat.isFile() && (stat.mode & 0o111) === 0o111 && isSameContent(source, file))
    return { source, file, release, did: 'there already' };
  const formerRelease = stat.isFile() ? releaseOf(file) : undefined;
  if (formerRelease !== undefined && isNewer(formerRelease, release) && !mayDowngrade)
    throw new Error(
      `Cannot install podpace ${release}: ${file} is of ${formerRelease}, which is newer; install that release, or ` +
        'go back with --downgrade',
    );
  const former = formerRelease === undefined ? {} : { formerRelease };
  return { source, file, release, did: 'replaced', ...former };
}

/** Throws Error with the remedy; what was there is then as it was. */
export function copyPlugin({ source, file }: PluginPlan): void {
  putFile(file, { mode: 0o755, flag: '--bin-dir' }, (staged) =>
    fs.copyFileSync(source, staged, fs.constants.COPYFILE_EXCL | fs.constants.COPYFILE_FICLONE),
  );
}
