// A release archive: what is in it.

import fs from 'node:fs';
import path from 'node:path';
import { buildProgram } from '../../../helper/cli.ts';
import { fromFile, gzip } from '../image/build.ts';
import { writeTar, type TarEntry } from '../image/tar.ts';
import { projectRoot } from '../paths.ts';
import { ensureLibraries, libraryFiles, type Target } from '../target.ts';
import { carriedBy } from './carried.ts';
import { helperPage, pluginPage } from './man-pages.ts';
import { billOfMaterials, licenceFile } from './sbom.ts';

/** An archive to make. */
export interface Release {
  readonly version: string;
  readonly target: Target;
  /** The executable, which is podpace and podpaced. */
  readonly executable: string;
  /** Where the archive goes, with its bill of materials. */
  readonly directory: string;
}

/** Of the tree, as it stands. */
const AS_IT_STANDS = ['LICENSE', 'README.md', 'conf/**'];

/** What `man -l` and a directory of manuals take, by its name there. */
function manPages(version: string): [string, Uint8Array][] {
  const nowhere = { stdout: () => true, stderr: () => undefined };
  const program = buildProgram(nowhere, () => undefined);
  const readme = fs.readFileSync(path.join(projectRoot, 'README.md'), 'utf8');
  return [
    ['man/podpace.8', Buffer.from(pluginPage(readme, version))],
    ['man/podpaced.8', Buffer.from(helperPage(program, version))],
  ];
}

/** The name of an archive without its ending, and of the directory that it unpacks to. */
export function releaseName({ version, target }: Pick<Release, 'version' | 'target'>): string {
  return `podpace-${version}-linux-${target.architecture}`;
}

/** All that an archive holds, and its bill of materials. */
async function contentsOf(release: Release): Promise<{ entries: TarEntry[]; bill: Buffer }> {
  const { version, target, executable } = release;
  const { architecture } = target;
  const name = releaseName(release);
  const at = (place: string): string => `${name}/${place}`;
  const carried = await carriedBy(target);
  const product = { name: 'podpace', version, architecture, nodeParts: process.versions };
  const bill = Buffer.from(billOfMaterials(product, carried));
  const texts: [string, Uint8Array][] = [
    ...carried.map((each): [string, Uint8Array] => [
      licenceFile(each.name),
      Buffer.from(each.licenceText),
    ]),
    ['sbom.cdx.json', bill],
    ...manPages(version),
  ];
  const libraries = libraryFiles(await ensureLibraries(architecture));
  const entries = [
    fromFile(`/${at('podpace')}`, executable, true),
    { path: at('podpaced'), kind: 'hard link', target: at('podpace') } as const,
    ...fs
      .globSync(AS_IT_STANDS, { cwd: projectRoot })
      .filter((file) => fs.statSync(path.join(projectRoot, file)).isFile())
      .map((file) => fromFile(`/${at(file)}`, path.join(projectRoot, file))),
    ...Object.entries(libraries).map(([file, source]) => fromFile(`/${at(`lib/${file}`)}`, source)),
    ...texts.map(([file, content]): TarEntry => {
      return { path: at(file), kind: 'file', content, isExecutable: false };
    }),
  ];
  return { entries, bill };
}

/**
 * Makes an archive and its bill of materials; returns the archive's path. The same executable gives
 * the same bytes. The archive appears under its name only when it is whole.
 */
export async function makeArchive(release: Release): Promise<string> {
  const { directory } = release;
  const file = path.join(directory, releaseName(release));
  const { entries, bill } = await contentsOf(release);
  const packed = await gzip(writeTar(entries));
  fs.mkdirSync(directory, { recursive: true });
  fs.writeFileSync(`${file}.cdx.json`, bill);
  const output = `${file}.tar.gz`;
  fs.writeFileSync(`${output}.new`, packed);
  fs.renameSync(`${output}.new`, output);
  return output;
}
