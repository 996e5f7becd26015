import test from 'ava';
import fc from 'fast-check';
import { unifiedDiff } from '../../../../helper/network-list/unified-diff.ts';
import { patched } from '../../../kit/patched.ts';

test('the difference makes the one file of the other', (t) => {
  const line = fc.constantFrom('a', 'b', '', '  c');
  const text = fc
    .tuple(fc.array(line, { maxLength: 12 }), fc.boolean())
    .map(([lines, isWhole]) =>
      lines.length === 0 ? '' : lines.join('\n') + (isWhole ? '\n' : ''),
    );
  fc.assert(
    fc.property(text, text, (before, after) => {
      const difference = unifiedDiff('/x', before, after);
      t.is(difference === '', before === after);
      if (before !== after) t.is(patched(before, difference), after);
    }),
  );
});

test('a file that comes or goes is told of as diff -u does', (t) => {
  t.is(unifiedDiff('/x', undefined, 'a\nb\n'), '--- /dev/null\n+++ /x\n@@ -0,0 +1,2 @@\n+a\n+b\n');
  t.is(unifiedDiff('/x', 'a\n', undefined), '--- /x\n+++ /dev/null\n@@ -1 +0,0 @@\n-a\n');
});
