import test from 'ava';
import { sourceLines, suiteLines } from '../../../../scripts/lib/private-apt.ts';

const TARGETS = [
  'Debian|http://mirror.example/debian/|bookworm|main',
  'Debian|http://mirror.example/debian/|bookworm|main',
  'Debian|http://mirror.example/debian/|bookworm|contrib',
  'Debian|http://mirror.example/debian/|bookworm-updates|main',
  'Debian|http://mirror.example/debian-security/|bookworm-security|main',
  'Somebody|https://packages.example/|stable|main',
  '',
].join('\n');

test("source package lines follow the machine's Debian mirrors and no others", (t) => {
  t.deepEqual(sourceLines(TARGETS), [
    'deb-src http://mirror.example/debian/ bookworm main',
    'deb-src http://mirror.example/debian/ bookworm contrib',
    'deb-src http://mirror.example/debian/ bookworm-updates main',
    'deb-src http://mirror.example/debian-security/ bookworm-security main',
  ]);
});

test('another suite is taken from where the machine has its own packages, not its security updates', (t) => {
  t.deepEqual(suiteLines(TARGETS, 'trixie-backports'), [
    'deb http://mirror.example/debian/ trixie-backports main',
  ]);
  t.deepEqual(suiteLines('Somebody|https://packages.example/|stable|main', 'trixie-backports'), []);
});
