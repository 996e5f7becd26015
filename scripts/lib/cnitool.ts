import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { aptGet, ensurePackages, requireDebian, updatePackageLists } from './debian.ts';
import { packageSets } from './needs.ts';
import { buildDirectory } from './paths.ts';
import { capture } from './process.ts';
import { step } from './progress.ts';

const SOURCE_PACKAGE = 'golang-github-appc-cni';
const IMPORT_PATH = 'github.com/containernetworking/cni';
const toolsDirectory = join(buildDirectory, 'tools');
const cnitoolPath = join(toolsDirectory, 'cnitool');

/**
 * Returns the path of cnitool, the CNI project's own caller of plugins. No Debian package carries the program, so
 * it is built once from the source package, with Debian's Go; the machine's package sources stay as they are.
 */
export async function ensureCnitool(): Promise<string> {
  if (existsSync(cnitoolPath)) return cnitoolPath;
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
  return cnitoolPath;
}

/** Lines of an apt source list for the source packages beside the machine's own Debian binary packages. */
export function sourceLines(targets: string): string[] {
  const lines = targets.split('\n').flatMap((target) => {
    const [origin, ...location] = target.split('|');
    return origin === 'Debian' && location.length === 3 ? [`deb-src ${location.join(' ')}`] : [];
  });
  return [...new Set(lines)];
}

/** Leaves the package's upstream archive in the folder. apt checks it against the mirror's signature. */
async function downloadSource(directory: string, report: (line: string) => void): Promise<void> {
  const lines = sourceLines(await indexTargets());
  if (lines.length === 0) {
    await updatePackageLists();
    lines.push(...sourceLines(await indexTargets()));
  }
  if (lines.length === 0) {
    throw new Error(
      `Cannot get the source package ${SOURCE_PACKAGE}: apt is configured with no Debian mirror`,
    );
  }
  await mkdir(join(directory, 'lists', 'partial'), { recursive: true });
  await mkdir(join(directory, 'cache', 'archives', 'partial'), { recursive: true });
  await writeFile(join(directory, 'sources.list'), `${lines.join('\n')}\n`);
  const privateApt = [
    `-o=Dir::Etc::SourceList=${join(directory, 'sources.list')}`,
    '-o=Dir::Etc::SourceParts=/dev/null',
    `-o=Dir::State::Lists=${join(directory, 'lists')}`,
    `-o=Dir::Cache=${join(directory, 'cache')}`,
  ];
  await aptGet([...privateApt, 'update'], { onLine: report });
  await aptGet([...privateApt, 'source', '--download-only', SOURCE_PACKAGE], {
    cwd: directory,
    onLine: report,
  });
}

/** The machine's configured binary package indexes: origin, mirror, suite and component of each. */
function indexTargets(): Promise<string> {
  const format = '$(ORIGIN)|$(REPO_URI)|$(RELEASE)|$(COMPONENT)';
  return capture('apt-get', ['indextargets', '--format', format, 'Created-By: Packages']);
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
  await capture('go', ['build', '-trimpath', '-o', built, `${IMPORT_PATH}/cnitool`], {
    cwd: source,
    env: {
      GO111MODULE: 'off',
      GOPATH: join(directory, 'go'),
      GOCACHE: join(directory, 'go-cache'),
      GOFLAGS: '',
      CGO_ENABLED: '0',
    },
  });
  await rename(built, cnitoolPath);
}
