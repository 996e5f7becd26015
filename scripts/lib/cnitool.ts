import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { aptGet, ensurePackages, requireDebian } from './debian.ts';
import { packageSets } from './needs.ts';
import { buildDirectory } from './paths.ts';
import { privateApt, sourceLines } from './private-apt.ts';
import { capture } from './process.ts';
import { step } from './progress.ts';

const SOURCE_PACKAGE = 'golang-github-appc-cni';
const IMPORT_PATH = 'github.com/containernetworking/cni';
const toolsDirectory = join(buildDirectory, 'tools');
/** Where ensureCnitool puts it. */
export const CNITOOL = join(toolsDirectory, 'cnitool');

/**
 * Returns the path of cnitool, the CNI project's own caller of plugins. No Debian package carries
 * the program, so it is built once from the source package, with Debian's Go; the machine's package
 * sources stay as they are.
 */
export async function ensureCnitool(): Promise<string> {
  if (existsSync(CNITOOL)) return CNITOOL;
  requireDebian('get the source of cnitool');
  await ensurePackages(packageSets.cnitool);
  await mkdir(toolsDirectory, { recursive: true });
  const scratch = await mkdtemp(join(toolsDirectory, '.cnitool-'));
  try {
    await step("Building cnitool from Debian's source package", async (report) => {
      await downloadSource(scratch, report);
      await compile(scratch, report);
    });
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
  return CNITOOL;
}

/**
 * Leaves the package's upstream archive in the folder. apt checks it against the mirror's
 * signature.
 */
async function downloadSource(directory: string, report: (line: string) => void): Promise<void> {
  const options = await privateApt(directory, sourceLines, {
    purpose: `get the source package ${SOURCE_PACKAGE}`,
    report,
  });
  await aptGet([...options, 'source', '--download-only', SOURCE_PACKAGE], {
    cwd: directory,
    onLine: report,
  });
}

async function compile(directory: string, report: (line: string) => void): Promise<void> {
  const archive = (await readdir(directory)).find((name) => name.includes('.orig.tar.'));
  if (archive === undefined)
    throw new Error(`Cannot build cnitool: ${SOURCE_PACKAGE} has no upstream archive`);
  const source = join(directory, 'go', 'src', IMPORT_PATH);
  await mkdir(source, { recursive: true });
  await capture('tar', ['--extract', '--strip-components=1', '--file', join(directory, archive)], {
    cwd: source,
  });
  report('compiling');
  const built = join(directory, 'cnitool');
  await capture('go', ['build', '-o', built, `${IMPORT_PATH}/cnitool`], {
    cwd: source,
    env: {
      GO111MODULE: 'off',
      GOPATH: join(directory, 'go'),
      GOCACHE: join(directory, 'go-cache'),
      GOFLAGS: '',
      CGO_ENABLED: '0',
    },
  });
  await rename(built, CNITOOL);
}
