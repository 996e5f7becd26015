// The image of podpace: the one executable by both of its names, and its libraries.

import path from 'node:path';
import { assetSourcePath } from '../../../helper/kernel/assets.ts';
import manifest from '../../../package.json' with { type: 'json' };
import { ensurePackages } from '../debian.ts';
import { packageSets } from '../needs.ts';
import { projectRoot } from '../paths.ts';
import { step } from '../progress.ts';
import { ensureLibraries, libraryFiles, ownArchitecture } from '../target.ts';
import { buildImage, fromFile, withLibraries, type ImageSizes } from './build.ts';
import type { TarEntry } from './tar.ts';

/** No registry has it: a runtime that lacks it must not ask for it elsewhere. */
export const PODPACE_IMAGE = `localhost/podpace:${manifest.version}`;
export const PODPACE_IMAGE_FILE = path.join(projectRoot, 'dist', 'podpace-image.tar');

const EXECUTABLE = path.join(projectRoot, 'dist', 'podpace');

/** What is in the image. Needs dist/. */
export async function podpaceEntries(): Promise<TarEntry[]> {
  const addons = (['koffi.node', 'netlink.node'] as const).map((name) =>
    path.join(projectRoot, assetSourcePath(name)),
  );
  return [
    fromFile('/usr/bin/podpace', EXECUTABLE, true),
    { path: 'usr/bin/podpaced', kind: 'hard link', target: 'usr/bin/podpace' },
    fromFile('/usr/share/doc/podpace/copyright', path.join(projectRoot, 'LICENSE')),
    // Runtimes name the namespaces of pods by either.
    { path: 'var/run', kind: 'symbolic link', target: '/run' },
    ...(await withLibraries([EXECUTABLE, ...addons])).filter(({ path: place }) => !isBeside(place)),
    ...(await besideExecutable()),
  ];
}

/** Of another release than those beside the executable, which the loader takes first. */
function isBeside(place: string): boolean {
  return /\/(libstdc\+\+\.so\.6|libgcc_s\.so\.1|doc\/(libstdc\+\+6|libgcc-s1)\/copyright)$/.test(
    place,
  );
}

/** Those that `podpaced install` gives a node, which may have none, or an old C library. */
async function besideExecutable(): Promise<TarEntry[]> {
  const directory = await ensureLibraries(ownArchitecture());
  const terms = 'usr/share/doc/gcc-10-base/copyright';
  return [
    ...Object.entries(libraryFiles(directory)).map(([name, source]) =>
      fromFile(`/usr/bin/lib/${name}`, source),
    ),
    fromFile(`/${terms}`, path.join(directory, terms)),
  ];
}

/** Builds the image of what is in dist/. */
export async function ensurePodpaceImage(name: string): Promise<ImageSizes> {
  await ensurePackages(packageSets.image);
  return await step('Building the image', async () =>
    buildImage(
      await podpaceEntries(),
      {
        name,
        architecture: process.arch === 'arm64' ? 'arm64' : 'amd64',
        entrypoint: ['/usr/bin/podpaced'],
        labels: {
          'org.opencontainers.image.title': 'podpace',
          'org.opencontainers.image.version': manifest.version,
          'org.opencontainers.image.licenses': manifest.license,
        },
      },
      PODPACE_IMAGE_FILE,
    ),
  );
}
