// A container runtime, etcd and kubectl, of Debian's packages, unpacked under build/ and not installed.

import { existsSync } from 'node:fs';
import { mkdir, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { aptGet, requireDebian, withFreshLists } from '../debian.ts';
import { buildDirectory } from '../paths.ts';
import { capture } from '../process.ts';
import { step } from '../progress.ts';

const PACKAGES = ['containerd', 'runc', 'etcd-server', 'kubernetes-client'];
const tree = join(buildDirectory, 'cluster', 'runtime');

/** Folders with containerd, ctr, runc, etcd and kubectl, as in a PATH. */
export const RUNTIME_PATH: readonly string[] = ['bin', 'sbin'].map((name) =>
  join(tree, 'usr', name),
);

/** Unpacks Debian packages into a folder that appears only when it is whole. */
export async function unpackPackages(packages: readonly string[], folder: string): Promise<void> {
  requireDebian(`get ${packages.join(', ')}`);
  const [staged, archives] = [`${folder}.new`, `${folder}.archives`];
  for (const each of [staged, archives]) await rm(each, { recursive: true, force: true });
  await mkdir(archives, { recursive: true });
  await step(`Getting ${packages.join(', ')}`, () =>
    withFreshLists(() => aptGet(['download', ...packages], { cwd: archives })),
  );
  for (const name of await readdir(archives))
    await capture('dpkg-deb', ['--extract', join(archives, name), staged]);
  await rm(archives, { recursive: true });
  await rename(staged, folder);
}

/** Has the programs of RUNTIME_PATH. Throws an Error on another distribution than Debian. */
export async function ensureRuntime(): Promise<void> {
  if (!existsSync(tree)) await unpackPackages(PACKAGES, tree);
}
