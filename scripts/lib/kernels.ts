import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { aptGet, requireDebian, updatePackageLists, withFreshLists } from './debian.ts';
import { unpackedKernel } from './kernel-image.ts';
import { buildDirectory } from './paths.ts';
import { optionsFor, privateApt, suiteLines } from './private-apt.ts';
import { capture } from './process.ts';
import { step } from './progress.ts';
import { debianArchitectures, ownArchitecture, type Architecture } from './target.ts';

/**
 * Kernels that `./scripts/vm` boots: `newest` is what Debian's backports have, `7.3` the same while
 * it is of that series. All are of the flavour for clouds, which lacks modules that no cloud needs;
 * `6.12-full` has all of them.
 */
export const kernelSeries = ['newest', '7.3', '6.12', '6.12-full', '6.1'] as const;
/** One of the kernels, by its name. */
export type KernelSeries = (typeof kernelSeries)[number];

/** A Debian kernel unpacked under build/, not installed on this machine. */
export interface Kernel {
  /** What `uname -r` says in it, such as `6.12.117+deb12-cloud-amd64`. */
  release: string;
  /** Folder with `boot/` and `lib/modules/`. */
  directory: string;
  /** The kernel image that QEMU loads, unpacked where that is of use. */
  imagePath: string;
  /** Folder with `kernel/`, `modules.dep` and the rest. */
  modulesDirectory: string;
}

/**
 * A suite that is newer than the machine's own: where Debian publishes the newest kernel for its
 * stable release.
 */
const NEWEST_SUITE = 'trixie-backports';

/** Where a series is found. */
interface Origin {
  /**
   * Metapackages to look into, in this order; the first that leads to a kernel of the series is
   * taken.
   */
  readonly metapackages: readonly string[];
  /** Absent: the machine's own suites. */
  readonly suite?: string;
  /** Of the release's name, between version and architecture; Debian's for clouds when absent. */
  readonly flavour?: RegExp;
}

const ORIGINS: Readonly<Record<KernelSeries, Origin>> = {
  newest: { metapackages: ['linux-image-cloud'], suite: NEWEST_SUITE },
  '7.3': { metapackages: ['linux-image-cloud'], suite: NEWEST_SUITE },
  '6.12': { metapackages: ['linux-image-6.12-cloud', 'linux-image-cloud'] },
  '6.12-full': {
    metapackages: ['linux-image-6.12', 'linux-image'],
    flavour: /^[\d.]+(\+deb\d+|-\d+)-$/,
  },
  '6.1': { metapackages: ['linux-image-cloud'] },
};
const CLOUD = /-cloud-$/;
const IMAGE_NAME = 'kernel';
const kernelsDirectory = join(buildDirectory, 'kernels');

/** The suite in which those are that the machine's own suites have, for another architecture. */
const OWN_SUITE = 'bookworm';

/**
 * Returns the Debian cloud kernel of a series, downloading and unpacking it on the first call. The
 * choice is kept in build/kernels/SERIES.release, so that later calls ask no package list; delete
 * that file to take a newer one. Throws an Error naming the packages, and what there is, when the
 * package sources offer no such kernel.
 */
export async function ensureKernel(
  series: KernelSeries,
  architecture: Architecture = ownArchitecture(),
): Promise<Kernel> {
  const suffix = architecture === process.arch ? '' : `-${architecture}`;
  const stamp = join(kernelsDirectory, `${series}${suffix}.release`);
  if (existsSync(stamp)) {
    const kernel = describeKernel((await readFile(stamp, 'utf8')).trim());
    if (existsSync(kernel.imagePath)) return kernel;
  }
  requireDebian(`get a Debian kernel ${series}`);
  await mkdir(kernelsDirectory, { recursive: true });
  // Made under a name of its own and then renamed: a second process may be doing the same.
  const scratch = await mkdtemp(join(kernelsDirectory, '.unpack-'));
  try {
    const options = await aptOptions(series, architecture, scratch);
    const { release, packages } = await findPackages(series, architecture, options);
    const kernel = describeKernel(release);
    if (!existsSync(kernel.imagePath)) {
      await step(`Getting the Debian kernel ${release}`, () =>
        withFreshLists(() => unpack(packages, kernel, { architecture, scratch, options })),
      );
    }
    await writeFile(stamp, `${release}\n`);
    return kernel;
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
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

/** How apt is told where a series is; nothing for the machine's own suites. */
async function aptOptions(
  series: KernelSeries,
  architecture: Architecture,
  scratch: string,
): Promise<readonly string[]> {
  const isForeign = architecture !== process.arch;
  const { suite = isForeign ? OWN_SUITE : undefined } = ORIGINS[series];
  if (suite === undefined) return [];
  return await step(`Reading the package lists of Debian's ${suite}`, (report) =>
    privateApt(join(scratch, 'apt'), (targets) => suiteLines(targets, suite), {
      purpose: `get a Debian kernel ${series} from ${suite}`,
      report,
      options: isForeign ? optionsFor(debianArchitectures[architecture]) : [],
    }),
  );
}

/**
 * The release in the name of a package like `linux-image-7.3.4+deb13-cloud-amd64`; undefined in all
 * others.
 */
export function releaseOf(packageName: string): string | undefined {
  return /^linux-image-(\d+\.\d+\..*)$/.exec(packageName)?.[1];
}

/** Whether a kernel release belongs to a series. */
export function isOfSeries(release: string, series: KernelSeries): boolean {
  return series === 'newest' || release.startsWith(`${series.replace('-full', '')}.`);
}

/** Names in what `apt-cache depends` prints. */
async function dependenciesOf(
  packages: readonly string[],
  options: readonly string[],
): Promise<string[]> {
  return (await capture('apt-cache', [...options, 'depends', '--important', ...packages])).split(
    /\s+/,
  );
}

/** The release to take, and the packages that its image and its modules are in. */
async function findPackages(
  series: KernelSeries,
  architectureOfNode: Architecture,
  options: readonly string[],
): Promise<{ readonly release: string; readonly packages: readonly string[] }> {
  const architecture = debianArchitectures[architectureOfNode];
  const { metapackages, suite, flavour = CLOUD } = ORIGINS[series];
  const names = metapackages.map((name) => `${name}-${architecture}`);
  const find = async (): Promise<string[]> => {
    const releases = (await dependenciesOf(names, options)).flatMap(
      (word) => releaseOf(word) ?? [],
    );
    return releases.filter(
      (release) =>
        release.endsWith(architecture) && flavour.test(release.slice(0, -architecture.length)),
    );
  };
  let offered = await find();
  const pick = (): string | undefined => offered.find((release) => isOfSeries(release, series));
  if (pick() === undefined && suite === undefined) {
    await updatePackageLists();
    offered = await find();
  }
  const release = pick();
  if (release !== undefined) return { release, packages: await packagesOf(release, options) };
  const where = suite === undefined ? "the machine's package sources" : `Debian's ${suite}`;
  const there = offered.length === 0 ? 'have none' : `have ${offered.join(', ')}`;
  const hint =
    suite === undefined
      ? "is Debian's security suite among them?"
      : 'take --kernel newest for what there is';
  throw new Error(
    `Cannot find a Debian kernel ${series}: ${names.join(', ')} in ${where} ${there}; ${hint}`,
  );
}

/**
 * Since 6.19 Debian's linux-image packages are empty: the image and the modules are packages that
 * they depend on.
 */
async function packagesOf(release: string, options: readonly string[]): Promise<string[]> {
  const image = `linux-image-${release}`;
  const parts = [`linux-binary-${release}`, `linux-modules-${release}`];
  const needed = await dependenciesOf([image], options);
  const found = parts.filter((name) => needed.includes(name));
  return found.length === 0 ? [image] : found;
}

/** Paths of a kernel's files in its packages: as they were once, and as they are since 6.19. */
function imageIn(tree: string, release: string): string {
  const former = join(tree, 'boot', `vmlinuz-${release}`);
  return existsSync(former) ? former : join(tree, 'lib', 'modules', release, 'vmlinuz');
}

interface Unpacking {
  readonly architecture: Architecture;
  readonly scratch: string;
  /** Of apt's. */
  readonly options: readonly string[];
}

async function unpack(
  packages: readonly string[],
  kernel: Kernel,
  { architecture, scratch, options }: Unpacking,
): Promise<void> {
  const { release } = kernel;
  const archives = join(scratch, 'archives');
  const tree = join(scratch, 'tree');
  await mkdir(archives, { recursive: true });
  await aptGet([...options, 'download', ...packages], { cwd: archives });
  for (const name of await readdir(archives)) {
    if (name.endsWith('.deb')) await capture('dpkg-deb', ['--extract', join(archives, name), tree]);
  }
  const merged = join(tree, 'usr', 'lib', 'modules');
  if (existsSync(merged)) {
    await mkdir(join(tree, 'lib'), { recursive: true });
    await rename(merged, join(tree, 'lib', 'modules'));
  }
  const packed = imageIn(tree, release);
  if (!existsSync(packed))
    throw new Error(`Cannot unpack ${packages.join(', ')}: no kernel image is in it`);
  await capture('depmod', ['--basedir', tree, release]);
  const packedImage = await readFile(packed);
  const image = architecture === 'x64' ? unpackedKernel(packedImage) : undefined;
  await mkdir(join(tree, 'boot'), { recursive: true });
  await writeFile(join(tree, 'boot', IMAGE_NAME), image ?? packedImage);
  if (existsSync(kernel.imagePath)) return;
  await rm(kernel.directory, { recursive: true, force: true });
  await rename(tree, kernel.directory);
}
