import fs from 'node:fs';
import path from 'node:path';
import test from 'ava';
import { hasWish, mayBeAttached } from '../../../cni/remains.ts';
import { temporaryDirectory } from '../../bed/temporary-directory.ts';

const KEY = { containerId: 'c1', ifname: 'eth0' };

const CASES: readonly [what: string, files: readonly string[], may: boolean][] = [
  ['no mark of records: the helper may keep them elsewhere', [], true],
  ['a mark and nothing else', ['layout.json'], false],
  [
    'records and wishes of others',
    ['layout.json', 'attachments/c2:eth0.json', 'wishes/c1:net1.json'],
    false,
  ],
  ['a record', ['layout.json', 'attachments/c1:eth0.json'], true],
  ['a record that is being written', ['layout.json', 'attachments/c1:eth0.json.new'], true],
  ['a record that is being removed', ['layout.json', 'attachments/c1:eth0.json.removing'], true],
  ['a record that could not be read', ['layout.json', 'attachments/c1:eth0.json.unreadable'], true],
  [
    'a wish, which the helper may be putting in force',
    ['layout.json', 'wishes/c1:eth0.json'],
    true,
  ],
];

for (const [what, files, may] of CASES) {
  test(`what may be attached: ${what}`, (t) => {
    const directory = temporaryDirectory(t);
    for (const file of files) {
      fs.mkdirSync(path.dirname(path.join(directory, file)), { recursive: true });
      fs.writeFileSync(path.join(directory, file), 'whatever it says');
    }
    const socket = path.join(directory, 'helper.sock');
    t.is(mayBeAttached(socket, KEY), may);
    t.is(hasWish(socket, KEY), files.includes('wishes/c1:eth0.json'));
  });
}
