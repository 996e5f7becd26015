import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { aptGet, requireDebian, updatePackageLists, withFreshLists } from './debian.ts';
import { unpackedKernel } from './kernel-image.ts';
import { buildDirectory } from './paths.ts';
import { capture } from './process.ts';
import { step } from './progress.ts';

/** Kernel series that `./scripts/vm` boots. */
export const kernelSeries = ['6.12', '6.1'] as const;
/** One of the kernel series. */
export type KernelSeries = (typeof kernelSeries)[number];

/** A Debian kernel unpacked under build/, not installed on this machine. */
export interface Kernel {
  /** What `uname -r` says in it, such as `6.12.117+deb12-cloud-amd64`. */
  release: string;
  /** Folder with `boot/` and `lib/modules/`, as in the package. */
  directory: string;
  /** The kernel image that QEMU loads, unpacked where that is of use. */
  imagePath: string;
  /** Folder with `kernel/`, `modules.dep` and the rest. */
  modulesDirectory: string;
}

/** Metapackages to look into, in this order; the first that leads to a kernel of the series is taken. */
const METAPACKAGES: Readonly<Record<KernelSeries, readonly string[]>> = {
  '6.12': ['linux-image-6.12-cloud', 'linux-image-cloud'],
  '6.1': ['linux-image-cloud'],
};
const DEBIAN_ARCHITECTURES: Readonly<Record<string, string>> = { x64: 'amd64', arm64: 'arm64' };
const IMAGE_NAME = 'kernel';
const kernelsDirectory = join(buildDirectory, 'kernels');

/**
 * Returns the Debian cloud kernel of a series, downloading and unpacking it on the first call. The choice is kept
 * in build/kernels/SERIES.release, so that later calls ask no package list; delete that file to take a newer one.
 * Throws an Error naming the packages when the machine's package sources offer no such kernel.
 */
export async function ensureKernel(series: KernelSeries): Promise<Kernel> {
  const stamp = join(kernelsDirectory, `${series}.release`);
  if (existsSync(stamp)) {
    const kernel = describeKernel((await readFile(stamp, 'utf8')).trim());
    if (existsSync(kernel.imagePath)) return kernel;
  }
  requireDebian(`get a Debian kernel ${series}`);
  await mkdir(kernelsDirectory, { recursive: true });
  const realPackage = await findPackage(series);
  const kernel = describeKernel(realPackage.slice('linux-image-'.length));
  if (!existsSync(kernel.imagePath)) {
    await step(`Getting the Debian kernel ${kernel.release}`, () =>
      withFreshLists(() => unpack(realPackage, kernel)),
    );
  }
  await writeFile(stamp, `${kernel.release}\n`);
  return kernel;
}

function describeKernel(release: string): Kernel {
  const directory = join(kernelsDirectory, release);
  return {
    release,
    directory,
    imagePath: join(directory, 'boot', IMAGE_NAME),
    modulesDirectory: join(directory, 'lib', 'modules', release),
  };
}

async function findPackage(series: KernelSeries): Promise<string> {
  const architecture = DEBIAN_ARCHITECTURES[process.arch] ?? process.arch;
  const metapackages = METAPACKAGES[series].map((name) => `${name}-${architecture}`);
  const find = async (): Promise<string | undefined> => {
    const dependencies = await capture('apt-cache', ['depends', '--important', ...metapackages]);
    return dependencies
      .split(/\s+/)
      .find((word) => word.startsWith(`linux-image-${series}.`) && word.endsWith(`-cloud-${architecture}`));
  };
  const known = await find();
  if (known !== undefined) return known;
  await updatePackageLists();
  const found = await find();
  if (found !== undefined) return found;
  throw new Error(
    `Cannot find a Debian kernel ${series}: none of ${metapackages.join(', ')} leads to one; ` +
      "is Debian's security suite among the machine's package sources?",
  );
}

async function unpack(realPackage: string, kernel: Kernel): Promise<void> {
  // Made under a name of its own and then renamed: a second process may be doing the same.
  const scratch = await mkdtemp(join(kernelsDirectory, '.unpack-'));
  try {
    await aptGet(['download', realPackage], { cwd: scratch });
    const archive = (await readdir(scratch)).find((name) => name.endsWith('.deb'));
    if (archive === undefined)
      throw new Error(`Cannot unpack ${realPackage}: apt-get download left no .deb file`);
    const tree = join(scratch, 'tree');
    await capture('dpkg-deb', ['--extract', join(scratch, archive), tree]);
    await capture('depmod', ['--basedir', tree, kernel.release]);
    const packedImage = await readFile(join(tree, 'boot', `vmlinuz-${kernel.release}`));
    const image = process.arch === 'x64' ? unpackedKernel(packedImage) : undefined;
    await writeFile(join(tree, 'boot', IMAGE_NAME), image ?? packedImage);
    if (existsSync(kernel.imagePath)) return;
    await rm(kernel.directory, { recursive: true, force: true });
    await rename(tree, kernel.directory);
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}
