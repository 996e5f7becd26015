// What an archive carries of others: what it is, of which version, and by which licence.

import fs from 'node:fs';
import path from 'node:path';
import { fieldsOf } from '../debian-files.ts';
import { projectRoot } from '../paths.ts';
import { capture } from '../process.ts';
import { debianArchitectures, ensureLibraries, LIBRARY_PACKAGES, type Target } from '../target.ts';

/** A part of an archive that others have made. */
export interface Carried {
  readonly name: string;
  readonly version: string;
  /** Its package URL. */
  readonly purl: string;
  /** An SPDX expression. */
  readonly licence: string;
  /** What says so, in full. */
  readonly licenceText: string;
  /** SHA-512 of the package as npm has it, in hexadecimal. */
  readonly sha512?: string;
  /** The package with the sources, where the licence asks for that: a package URL. */
  readonly sources?: string;
}

interface LockedPackage {
  readonly version: string;
  readonly integrity?: string;
  readonly dev?: boolean;
  readonly optional?: boolean;
}

interface Manifest {
  readonly license: string;
  readonly author?: string | { readonly name: string };
  readonly repository?: string | { readonly url: string };
}

/** Packages that only others' types or builds need, which is all done when an executable is made. */
const NOT_CARRIED = /(^|\/)(@types\/node|node-gyp-build)$/;

/** A package of nothing but another's addon has no licence of its own in it. */
const TEXT_OF: readonly [RegExp, string][] = [[/^@koromix\/koffi-/, 'koffi']];

const MIT_TERMS = `
Permission is hereby granted, free of charge, to any person obtaining a copy of this software and
associated documentation files (the "Software"), to deal in the Software without restriction,
including without limitation the rights to use, copy, modify, merge, publish, distribute,
sublicense, and/or sell copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial
portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT
NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND
NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES
OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN
CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
`;

/**
 * The licence that a package has in it. One without says its name only; MIT's terms are then added.
 */
function npmLicenceText(modules: string, name: string, manifest: Manifest): string {
  const holder = TEXT_OF.find(([of]) => of.test(name))?.[1] ?? name;
  const directory = path.join(modules, holder);
  const files = fs.globSync(['LICEN[CS]E*', 'COPYING*', 'NOTICE*'], { cwd: directory });
  if (files.length > 0)
    return files.map((file) => fs.readFileSync(path.join(directory, file), 'utf8')).join('\n');
  const { license, author, repository } = manifest;
  if (license !== 'MIT')
    throw new Error(
      `Cannot pack ${name}: it has no text of its licence (${license}); add one to carried.ts`,
    );
  const by = typeof author === 'string' ? author : (author?.name ?? 'its authors');
  const from = typeof repository === 'string' ? repository : (repository?.url ?? 'npm');
  return `${name} says that its licence is MIT, without the text. Copyright ${by} (${from}).\n${MIT_TERMS}`;
}

function readJson(...names: string[]): unknown {
  return JSON.parse(fs.readFileSync(path.join(...names), 'utf8'));
}

/** The packages of the lockfile that are in the executable: Node and what is bundled with it. */
function npmPackages({ root }: Target): Carried[] {
  const modules = path.join(root, 'node_modules');
  const lock = readJson(projectRoot, 'package-lock.json') as {
    readonly packages: Readonly<Record<string, LockedPackage>>;
  };
  return Object.entries(lock.packages).flatMap(([place, { version, integrity, dev, optional }]) => {
    const name = place.replace(/^node_modules\//, '');
    if (place === '' || dev === true || NOT_CARRIED.test(name)) return [];
    // Of the packages for single platforms npm has installed those of the target.
    if (optional === true && !fs.existsSync(path.join(modules, name))) return [];
    const manifest = readJson(modules, name, 'package.json') as Manifest;
    const hash = /^sha512-(.*)$/.exec(integrity ?? '')?.[1];
    return {
      ...{ name, version, licence: manifest.license },
      purl: `pkg:npm/${name.replace('@', '%40')}@${version}`,
      licenceText: npmLicenceText(modules, name, manifest),
      ...(hash === undefined ? {} : { sha512: Buffer.from(hash, 'base64').toString('hex') }),
    };
  });
}

function textsOf(...files: string[]): string {
  return files.map((file) => fs.readFileSync(file, 'utf8')).join('\n');
}

const COMMON_LICENCES = '/usr/share/common-licenses';

function debianPurl(name: string, version: string, architecture: string): string {
  const [escapedName, escapedVersion] = [name, version].map((text) => encodeURIComponent(text));
  return `pkg:deb/debian/${escapedName}@${escapedVersion}?arch=${architecture}`;
}

/** The shared libraries that lie beside the executable. */
async function libraries({ architecture }: Target): Promise<Carried[]> {
  const directory = await ensureLibraries(architecture);
  const copyright = path.join(directory, 'usr/share/doc/gcc-10-base/copyright');
  return LIBRARY_PACKAGES.map((name) => {
    const version = fieldsOf(directory, name).get('Version') ?? '';
    return {
      ...{ name, version, licence: 'GPL-3.0-or-later WITH GCC-exception-3.1' },
      purl: debianPurl(name, version, debianArchitectures[architecture]),
      licenceText: textsOf(copyright, path.join(COMMON_LICENCES, 'GPL-3')),
      sources: debianPurl('gcc-10', version, 'source'),
    };
  });
}

/** Headers with code or types that the BPF programs are compiled from, by their packages. */
const HEADERS = {
  'libbpf-dev': { licence: 'LGPL-2.1-only OR BSD-2-Clause', common: 'LGPL-2.1' },
  'linux-libc-dev': { licence: 'GPL-2.0-only WITH Linux-syscall-note', common: 'GPL-2' },
} as const;

async function headers(): Promise<Carried[]> {
  const found: Carried[] = [];
  for (const [name, { licence, common }] of Object.entries(HEADERS)) {
    const version = await capture('dpkg-query', ['--show', '--showformat=${Version}', name]);
    found.push({
      ...{ name, version, licence, purl: debianPurl(name, version, 'all') },
      licenceText: textsOf(`/usr/share/doc/${name}/copyright`, path.join(COMMON_LICENCES, common)),
    });
  }
  return found;
}

/**
 * All that an archive for the target carries of others, in order of their names. Throws Error where
 * a licence has no text.
 */
export async function carriedBy(target: Target): Promise<Carried[]> {
  const all = [...npmPackages(target), ...(await libraries(target)), ...(await headers())];
  return all.toSorted((a, b) => (a.name < b.name ? -1 : 1));
}
