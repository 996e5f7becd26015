import test from 'ava';
import { sourceLines } from '../../../../scripts/lib/cnitool.ts';

test("source package lines follow the machine's Debian mirrors and no others", (t) => {
  const targets = [
    'Debian|http://mirror.example/debian/|bookworm|main',
    'Debian|http://mirror.example/debian/|bookworm|main',
    'Debian|http://mirror.example/debian-security/|bookworm-security|main',
    'Somebody|https://packages.example/|stable|main',
    '',
  ].join('\n');
  t.deepEqual(sourceLines(targets), [
    'deb-src http://mirror.example/debian/ bookworm main',
    'deb-src http://mirror.example/debian-security/ bookworm-security main',
  ]);
});
