import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, readlinkSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import fc from 'fast-check';
import { directory, executable, symlink, writeCpio } from '../../../../scripts/lib/cpio.ts';

test('an archive unpacks to what went in', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'pp-cpio-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const archive = writeCpio([
    directory('bin'),
    executable('bin/tool', '#!/bin/sh\n'),
    executable('bin/empty', ''),
    symlink('bin/sh', 'tool'),
  ]);
  execFileSync('/bin/busybox', ['cpio', '-i', '--quiet'], { cwd: folder, input: archive });
  t.is(readFileSync(join(folder, 'bin/tool'), 'utf8'), '#!/bin/sh\n');
  t.is(statSync(join(folder, 'bin/tool')).mode & 0o777, 0o755);
  t.is(statSync(join(folder, 'bin/empty')).size, 0);
  t.is(readlinkSync(join(folder, 'bin/sh')), 'tool');
});

test('every header begins at a multiple of 4, so that archives can stand one behind the other', (t) => {
  const entry = fc.tuple(fc.stringMatching(/^[a-z]{1,12}$/), fc.uint8Array({ maxLength: 20 }));
  fc.assert(
    fc.property(fc.array(entry, { maxLength: 5 }), (files) => {
      const archive = writeCpio(files.map(([name, data]) => executable(name, data)));
      let offset = 0;
      for (const [name, data] of files) {
        t.is(archive.toString('latin1', offset, offset + 6), '070701');
        offset = roundUp(roundUp(offset + 110 + name.length + 1) + data.length);
      }
      t.true(archive.includes('TRAILER!!!', offset));
      t.is(archive.length % 4, 0);
    }),
  );
});

function roundUp(bytes: number): number {
  return Math.ceil(bytes / 4) * 4;
}
