// Files of Debian packages, of any suite and architecture, unpacked under build/: nothing is
// installed on this machine.

import fs from 'node:fs';
import path from 'node:path';
import { aptGet, requireDebian } from './debian.ts';
import { optionsFor, privateApt, suiteLines } from './private-apt.ts';
import { capture } from './process.ts';
import { step } from './progress.ts';

/** What is unpacked, and where. */
export interface DebianFiles {
  readonly packages: readonly string[];
  readonly suite: string;
  /** As Debian names it. */
  readonly architecture: string;
  /** Gets the packages' files, and in `control/` a file for each package, with its fields. */
  readonly directory: string;
}

/** A package's fields as it was unpacked: `Version` and more, by their names. */
export function fieldsOf(directory: string, name: string): ReadonlyMap<string, string> {
  const text = fs.readFileSync(path.join(directory, 'control', name), 'utf8');
  const lines = text.matchAll(/^([\w-]+): (.*)$/gm);
  return new Map([...lines].map(([, field = '', value = '']) => [field, value]));
}

/**
 * Downloads packages from the machine's Debian mirror and unpacks them, unless that was done
 * before. Throws CommandError when the mirror has no such suite or package.
 */
export async function ensureDebianFiles(wanted: DebianFiles): Promise<void> {
  const { packages, suite, architecture, directory } = wanted;
  const isThere = (name: string): boolean => fs.existsSync(path.join(directory, 'control', name));
  if (packages.every(isThere)) return;
  const rest = packages.length > 3 ? ` and ${packages.length - 1} more` : '';
  const named = rest === '' ? packages.join(', ') : `${packages[0]}${rest}`;
  const purpose = `get ${named} of Debian's ${suite} for ${architecture}`;
  requireDebian(purpose);
  const staged = `${directory}.${process.pid}`;
  const apt = path.join(staged, 'apt');
  try {
    await step(`Getting ${named} of Debian's ${suite} for ${architecture}`, async (report) => {
      const options = await privateApt(apt, (targets) => suiteLines(targets, suite), {
        purpose,
        report,
        options: optionsFor(architecture),
      });
      await aptGet([...options, 'download', ...packages], { cwd: apt });
      for (const file of fs.globSync('*.deb', { cwd: apt })) await unpack(apt, file, staged);
    });
    fs.rmSync(apt, { recursive: true });
    fs.rmSync(directory, { recursive: true, force: true });
    fs.mkdirSync(path.dirname(directory), { recursive: true });
    fs.renameSync(staged, directory);
  } finally {
    fs.rmSync(staged, { recursive: true, force: true });
  }
}

async function unpack(apt: string, file: string, directory: string): Promise<void> {
  const deb = path.join(apt, file);
  await capture('dpkg-deb', ['--extract', deb, directory]);
  const [name = file] = file.split('_');
  fs.mkdirSync(path.join(directory, 'control'), { recursive: true });
  fs.writeFileSync(
    path.join(directory, 'control', name),
    await capture('dpkg-deb', ['--field', deb]),
  );
}
