import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import test from 'ava';
import fc from 'fast-check';
import { unifiedDiff } from '../../../../helper/network-list/unified-diff.ts';
import { temporaryDirectory } from '../../../bed/temporary-directory.ts';

test('patch makes the one file of the other', (t) => {
  const directory = temporaryDirectory(t);
  const file = path.join(directory, 'list');
  const line = fc.constantFrom('a', 'b', '', '  c');
  const text = fc
    .tuple(fc.array(line, { maxLength: 12 }), fc.boolean())
    .map(([lines, isWhole]) =>
      lines.length === 0 ? '' : lines.join('\n') + (isWhole ? '\n' : ''),
    );
  fc.assert(
    fc.property(text, text, (before, after) => {
      fs.writeFileSync(file, before);
      const difference = unifiedDiff(file, before, after);
      t.is(difference === '', before === after);
      if (before === after) return;
      const flags = ['--quiet', '--no-backup-if-mismatch', '--fuzz=0', file];
      execFileSync('patch', flags, { input: difference });
      t.is(fs.existsSync(file) ? fs.readFileSync(file, 'utf8') : '', after);
    }),
    { numRuns: 60 },
  );
});

test('a file that comes or goes is told of as diff -u does', (t) => {
  t.is(unifiedDiff('/x', undefined, 'a\nb\n'), '--- /dev/null\n+++ /x\n@@ -0,0 +1,2 @@\n+a\n+b\n');
  t.is(unifiedDiff('/x', 'a\n', undefined), '--- /x\n+++ /dev/null\n@@ -1 +0,0 @@\n-a\n');
});
