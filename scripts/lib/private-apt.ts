// apt with a configuration of one's own: other suites of the machine's Debian mirror, while the
// machine's sources stay as they are.

import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { aptGet, updatePackageLists } from './debian.ts';
import { capture } from './process.ts';

/** One package index that the machine's apt is configured with. */
interface Target {
  /** `URI SUITE COMPONENT`, as in a source list. */
  readonly place: string;
  readonly uri: string;
  readonly component: string;
  readonly isSecurity: boolean;
}

/** Those of `targets` (lines `ORIGIN|URI|SUITE|COMPONENT`) that are Debian's own, each once. */
function debianTargets(targets: string): Target[] {
  const found = targets.split('\n').flatMap((line): [string, Target][] => {
    const [origin, uri, suite, component] = line.split('|');
    if (origin !== 'Debian' || uri === undefined || suite === undefined || component === undefined)
      return [];
    const place = `${uri} ${suite} ${component}`;
    return [[place, { place, uri, component, isSecurity: suite.endsWith('-security') }]];
  });
  return [...new Map(found).values()];
}

/**
 * Lines of a source list for the source packages beside the machine's own Debian binary packages.
 */
export function sourceLines(targets: string): string[] {
  return debianTargets(targets).map(({ place }) => `deb-src ${place}`);
}

/**
 * Lines of a source list for the binary packages of another suite, from the machine's own Debian
 * mirror.
 */
export function suiteLines(targets: string, suite: string): string[] {
  const places = debianTargets(targets).filter(
    ({ component, isSecurity }) => component === 'main' && !isSecurity,
  );
  return [...new Set(places.map(({ uri }) => `deb ${uri} ${suite} main`))];
}

/**
 * Options by which apt takes packages for a Debian architecture: what this machine has installed is
 * of another, and of no matter.
 */
export function optionsFor(architecture: string): string[] {
  return [
    `-o=APT::Architecture=${architecture}`,
    `-o=APT::Architectures=${architecture}`,
    '-o=Dir::State::Status=/dev/null',
  ];
}

/** The machine's configured binary package indexes: origin, mirror, suite and component of each. */
function indexTargets(): Promise<string> {
  const format = '$(ORIGIN)|$(REPO_URI)|$(RELEASE)|$(COMPONENT)';
  return capture('apt-get', ['indextargets', '--format', format, 'Created-By: Packages']);
}

/** What a configuration of one's own is for. */
export interface PrivateAptUse {
  /** What cannot be done without it, for errors. */
  readonly purpose: string;
  readonly report?: (line: string) => void;
  /** More options of apt's, which come first in those that are returned. */
  readonly options?: readonly string[];
}

/**
 * Options by which apt-get and apt-cache use the source list that `linesOf` makes of the machine's,
 * with its package lists read; lists, cache and configuration are in `directory`. Throws an Error
 * with `purpose` when the machine has no Debian mirror, CommandError when a suite cannot be read.
 */
export async function privateApt(
  directory: string,
  linesOf: (targets: string) => string[],
  { purpose, report, options: others = [] }: PrivateAptUse,
): Promise<string[]> {
  let lines = linesOf(await indexTargets());
  if (lines.length === 0) {
    await updatePackageLists();
    lines = linesOf(await indexTargets());
  }
  if (lines.length === 0)
    throw new Error(`Cannot ${purpose}: apt is configured with no Debian mirror`);
  await mkdir(join(directory, 'lists', 'partial'), { recursive: true });
  await mkdir(join(directory, 'cache', 'archives', 'partial'), { recursive: true });
  await writeFile(join(directory, 'sources.list'), `${lines.join('\n')}\n`);
  const options = [
    ...others,
    `-o=Dir::Etc::SourceList=${join(directory, 'sources.list')}`,
    '-o=Dir::Etc::SourceParts=/dev/null',
    `-o=Dir::State::Lists=${join(directory, 'lists')}`,
    `-o=Dir::Cache=${join(directory, 'cache')}`,
  ];
  await aptGet([...options, 'update'], report === undefined ? {} : { onLine: report });
  return options;
}
