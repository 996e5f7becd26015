import fs from 'node:fs';
import path from 'node:path';
import test from 'ava';
import { findPlugin } from '../../../cni/find-plugin.ts';
import { CniError } from '../../../cni/types.ts';
import { temporaryDirectory } from '../../bed/temporary-directory.ts';

test('the first directory with a regular file of that name', (t) => {
  const root = temporaryDirectory(t);
  for (const directory of ['a/x', 'b', 'c', 'd'])
    fs.mkdirSync(path.join(root, directory), { recursive: true });
  // In `a` it is a directory, in `b` a symbolic link to a file that nobody may execute.
  fs.writeFileSync(path.join(root, 'c/x'), '', { mode: 0o600 });
  fs.symlinkSync('../c/x', path.join(root, 'b/x'));
  fs.writeFileSync(path.join(root, 'd/file'), '');
  const directories = ['none', 'd/file', 'a', 'b', 'c'].map((name) => path.join(root, name));
  t.is(findPlugin('x', directories.join(':')), path.join(root, 'b/x'));
  t.is(findPlugin('x', `:${root}/c:`), path.join(root, 'c/x'));
});

const BAD: readonly [type: string, cniPath: string, message: string][] = [
  ['', '/a', 'no plugin name provided'],
  ['../x', '/a', 'invalid plugin name: ../x'],
  ['/bin/sh', '/a', 'invalid plugin name: /bin/sh'],
  ['..', '/a', 'failed to find plugin ".." in path [/a]'],
  ['x', '/a:/b', 'failed to find plugin "x" in path [/a /b]'],
];

for (const [type, cniPath, message] of BAD) {
  test(`refuses plugin name ${JSON.stringify(type)}`, (t) => {
    const error = t.throws(() => findPlugin(type, cniPath), { instanceOf: CniError });
    t.is(error.message, message);
    t.is(error.code, 7);
    t.truthy(error.details);
  });
}
