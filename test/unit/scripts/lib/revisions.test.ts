import test from 'ava';
import { hasAllPackages, type Lockfile } from '../../../../scripts/lib/revisions.ts';

const KOFFI = { version: '3.3.4', integrity: 'sha512-a' };
const YAML = { version: '2.9.1', integrity: 'sha512-b' };

function lockOf(packages: Lockfile['packages']): Lockfile {
  return { packages: { '': { version: '0.1.0' }, ...packages } };
}

test('a revision has its packages where all of them are installed, whatever else is', (t) => {
  const followed = lockOf({ 'node_modules/koffi': KOFFI, 'node_modules/yaml': YAML });
  const isHad = (packages: Lockfile['packages']): boolean =>
    hasAllPackages(followed, { packages: { '': { version: '0.0.9' }, ...packages } });
  t.true(isHad({ 'node_modules/koffi': KOFFI }));
  t.true(isHad({ 'node_modules/koffi': KOFFI, 'node_modules/yaml': YAML }));
  t.false(isHad({ 'node_modules/koffi': { ...KOFFI, version: '3.3.3' } }));
  t.false(isHad({ 'node_modules/koffi': { ...KOFFI, integrity: 'sha512-c' } }));
  t.false(isHad({ 'node_modules/koffi': KOFFI, 'node_modules/ava': YAML }));
  t.false(isHad({ 'node_modules/ava/node_modules/koffi': KOFFI }), 'another place');
});
