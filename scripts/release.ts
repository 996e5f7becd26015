// ./scripts/release [--arch x64|arm64] [--output DIR]: release archives, their bills of materials
// and SHA256SUMS in dist/release. The executables for another architecture than this machine's are
// built here, too (lib/target.ts). The same sources give the same bytes.

import { createHash } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { Command, Option } from 'commander';
import { VERSION } from '../helper/version.ts';
import { requireDebian } from './lib/debian.ts';
import { projectRoot } from './lib/paths.ts';
import { run } from './lib/process.ts';
import { say, step } from './lib/progress.ts';
import { makeArchive, releaseName } from './lib/release/archive.ts';
import { architectures, ensureTarget, type Architecture } from './lib/target.ts';

interface Options {
  readonly arch: readonly Architecture[];
  readonly output: string;
}

/** Writes what sha256sum checks, of all files of this version in a directory. */
function writeSums(directory: string): void {
  const names = fs.globSync(`podpace-${VERSION}-*`, { cwd: directory }).toSorted();
  const lines = names.map((name) => {
    const digest = createHash('sha256').update(fs.readFileSync(path.join(directory, name)));
    return `${digest.digest('hex')}  ${name}\n`;
  });
  fs.writeFileSync(path.join(directory, 'SHA256SUMS'), lines.join(''));
}

async function release({ arch, output }: Options): Promise<void> {
  requireDebian('make a release, which carries libraries of Debian');
  const directory = path.resolve(output);
  for (const architecture of arch) {
    await run(path.join(projectRoot, 'scripts/build'), ['--arch', architecture]);
    const target = await ensureTarget(architecture);
    const folder = architecture === process.arch ? '' : architecture;
    const executable = path.join(projectRoot, 'dist', folder, 'podpace');
    const made = { version: VERSION, target, executable, directory };
    const file = await step(`packing ${releaseName(made)}`, () => makeArchive(made));
    say(`${path.relative(process.cwd(), file)}: ${(fs.statSync(file).size / 1e6).toFixed(1)} MB`);
  }
  writeSums(directory);
}

const program = new Command('release')
  .description('Makes release archives with their bills of materials and checksums.')
  .addOption(
    new Option('--arch <architecture...>', 'for these machines')
      .choices(architectures)
      .default(architectures, 'all'),
  )
  .option('--output <dir>', 'where they go', path.join(projectRoot, 'dist/release'))
  .allowExcessArguments(false)
  .parse();
try {
  await release(program.opts<Options>());
} catch (error) {
  say(error instanceof Error ? error.message : String(error));
  process.exitCode = 1;
}
