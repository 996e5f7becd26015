// Images of executables with the libraries that they load, and nothing else: no shell, no package
// manager.

import { spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { once } from 'node:events';
import { buffer } from 'node:stream/consumers';
import { capture } from '../process.ts';
import { writeImage, type ImageOptions } from './layout.ts';
import { writeTar, type TarEntry } from './tar.ts';

/** An entry from a file of this machine. */
export function fromFile(place: string, source: string, isExecutable = false): TarEntry {
  return { path: place.slice(1), kind: 'file', content: fs.readFileSync(source), isExecutable };
}

/** Files that the dynamic loader takes for a program or library, itself included. */
async function librariesOf(file: string): Promise<string[]> {
  const lines = (await capture('ldd', [file])).split('\n');
  return lines.flatMap((line) => /(?:=> |^\s+)(\/\S+) \(0x/.exec(line)?.[1] ?? []);
}

/**
 * The shared libraries of these programs and addons, where the loader looks for them, with the
 * terms of the Debian packages that they are from. Throws CommandError for a file that no package
 * has.
 */
export async function withLibraries(programs: readonly string[]): Promise<TarEntry[]> {
  const found = new Set((await Promise.all(programs.map(librariesOf))).flat());
  // A package says /lib or /usr/lib, as it was made.
  const owners = await Promise.all(
    [...found].map((library) => {
      const [folder, name] = [path.basename(path.dirname(library)), path.basename(library)];
      return capture('dpkg-query', ['--search', `*/${folder}/${name}`]);
    }),
  );
  const packages = new Set(owners.flatMap((said) => /^([^:,]+)/.exec(said)?.[1] ?? []));
  return [
    ...[...found].map((library) => fromFile(library, library, true)),
    ...[...packages].map((name) => {
      const terms = `/usr/share/doc/${name}/copyright`;
      return fromFile(terms, terms);
    }),
  ];
}

/** By GNU gzip, whose bytes hang on its input alone; zlib's hang on the processor, too. */
export async function gzip(archive: Buffer): Promise<Buffer> {
  const child = spawn('gzip', ['-9', '--no-name'], { stdio: ['pipe', 'pipe', 'inherit'] });
  child.stdin.end(archive);
  const [gzipped, [status]] = await Promise.all([
    buffer(child.stdout),
    once(child, 'exit') as Promise<[number | null]>,
  ]);
  if (status !== 0) throw new Error(`Cannot compress an archive: gzip ended with ${status}`);
  return gzipped;
}

/** Sizes of an image, in bytes. */
export interface ImageSizes {
  readonly unpacked: number;
  readonly compressed: number;
}

/** Writes an image as a file, whole or not at all. */
export async function buildImage(
  entries: readonly TarEntry[],
  options: ImageOptions,
  output: string,
): Promise<ImageSizes> {
  const archive = writeTar(entries);
  const gzipped = await gzip(archive);
  fs.mkdirSync(path.dirname(output), { recursive: true });
  fs.writeFileSync(`${output}.new`, writeImage({ archive, gzipped }, options));
  fs.renameSync(`${output}.new`, output);
  return { unpacked: archive.length, compressed: gzipped.length };
}
