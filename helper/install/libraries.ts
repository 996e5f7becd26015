// Shared libraries that came with the plugin, for the one that the runtime calls: Node needs
// libstdc++, which not every node has. Executables look beside themselves and here (RUNPATH of
// scripts/lib/runpath.ts).

import fs from 'node:fs';
import path from 'node:path';
import { removeEmptyDirectory } from '../control/record-files.ts';
import { dropFile, putFile } from './files.ts';
import { resolveIn } from './node-root.ts';
import { isSameContent } from './plugin-file.ts';

const DIRECTORY = '/var/lib/podpace/lib';
/** As scripts/lib/target.ts names them. */
const LIBRARIES = ['libstdc++.so.6', 'libgcc_s.so.1'] as const;

export interface LibraryCopy {
  readonly source: string;
  readonly file: string;
}

function isThere(source: string, file: string): boolean {
  return (
    fs.statSync(file, { throwIfNoEntry: false })?.isFile() === true && isSameContent(source, file)
  );
}

/** What lies beside a plugin and is not yet where the installed one finds it. */
export function planLibraries(plugin: string, root: string): readonly LibraryCopy[] {
  const beside = path.join(path.dirname(fs.realpathSync(plugin)), 'lib');
  return LIBRARIES.map((name) => ({
    source: path.join(beside, name),
    file: path.join(resolveIn(root, DIRECTORY), name),
  })).filter(({ source, file }) => fs.existsSync(source) && !isThere(source, file));
}

/** Throws Error with the remedy. */
export function copyLibrary({ source, file }: LibraryCopy): void {
  fs.mkdirSync(path.dirname(file), { recursive: true, mode: 0o755 });
  putFile(file, { mode: 0o644, flag: '--root' }, (staged) =>
    fs.copyFileSync(source, staged, fs.constants.COPYFILE_EXCL),
  );
}

/** Takes them away; returns what was there. Throws Error with the remedy. */
export function removeLibraries(root: string): readonly string[] {
  const directory = resolveIn(root, DIRECTORY);
  const files = LIBRARIES.map((name) => path.join(directory, name)).filter((file) =>
    fs.existsSync(file),
  );
  for (const file of files) dropFile(file, '--root');
  removeEmptyDirectory(directory);
  return files;
}
