import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import test from 'ava';
import { RUNPATH, runpathAsset, setRunpath } from '../../../../scripts/lib/runpath.ts';
import { temporaryDirectory } from '../../../bed/temporary-directory.ts';

const TRUE = fs.readFileSync('/bin/true');

/** /bin/true with the asset in the place of a text of its own that it does not print. */
function trueWithAsset(): Buffer {
  const elf = Buffer.from(TRUE);
  const text = new RegExp(`[ -~]{${runpathAsset.length},}\0`).exec(elf.toString('latin1'));
  if (text === null) throw new Error('/bin/true has no text of that length');
  runpathAsset.copy(elf, text.index);
  return elf;
}

test('the loader looks in the directories of the run path before it asks the system', (t) => {
  const directory = temporaryDirectory(t);
  const file = path.join(directory, 'true');
  const elf = trueWithAsset();
  setRunpath(elf);
  fs.writeFileSync(file, elf, { mode: 0o755 });
  const log = path.join(directory, 'log');
  execFileSync(file, { env: { LD_DEBUG: 'libs', LD_DEBUG_OUTPUT: log } });
  const [logFile = ''] = fs.globSync('log.*', { cwd: directory });
  const tried = fs
    .readFileSync(path.join(directory, logFile), 'utf8')
    .matchAll(/trying file=(.*)/g);
  const first = [...tried].map(([, name = '']) => name);
  const places = RUNPATH.replace('$ORIGIN', directory).split(':');
  for (const place of places)
    t.true(
      first.some((name) => name === `${place}/libc.so.6`),
      place,
    );
  t.regex(first.at(-1) ?? '', /^\/(usr\/)?lib/, 'and then where it finds the library');
});

test('what cannot get a run path is refused, and stays as it was', (t) => {
  const twice = trueWithAsset();
  setRunpath(twice);
  const full = trueWithAsset();
  const cases: readonly [string, Buffer, RegExp][] = [
    ['without the asset', Buffer.from(TRUE), /no asset runpath/],
    ['a second time', twice, /already/],
    ['without room', withoutRoom(full), /of \d+ entries, is full/],
    ['not dynamic', withoutSections(full), /not linked dynamically/],
  ];
  for (const [name, elf, message] of cases) {
    const before = Buffer.from(elf);
    t.throws(() => setRunpath(elf), { message }, name);
    t.true(elf.equals(before), name);
  }
});

/** With a .dynamic that ends at its first unused entry (elf(5): tag 0). */
function withoutRoom(elf: Buffer): Buffer {
  const copy = Buffer.from(elf);
  const section = dynamicSection(copy);
  let entry = Number(copy.readBigUInt64LE(section + 24));
  const start = entry;
  while (copy.readBigInt64LE(entry) !== 0n) entry += 16;
  copy.writeBigUInt64LE(BigInt(entry + 16 - start), section + 32);
  return copy;
}

function withoutSections(elf: Buffer): Buffer {
  const copy = Buffer.from(elf);
  copy.writeUInt16LE(0, 0x3c);
  return copy;
}

/** Where the header of the section of type 6, SHT_DYNAMIC, is. */
function dynamicSection(elf: Buffer): number {
  let header = Number(elf.readBigUInt64LE(0x28));
  while (elf.readUInt32LE(header + 4) !== 6) header += 64;
  return header;
}
