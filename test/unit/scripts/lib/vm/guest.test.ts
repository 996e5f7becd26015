import { execFileSync } from 'node:child_process';
import test from 'ava';
import fc from 'fast-check';
import { commandScript, guestEnvironment } from '../../../../../scripts/lib/vm/guest.ts';

const word = fc.string({ unit: 'grapheme', maxLength: 12 }).filter((text) => !text.includes('\0'));

test('the command script passes every word and variable on as it is', (t) => {
  fc.assert(
    fc.property(fc.array(word, { minLength: 1, maxLength: 3 }), word, (words, value) => {
      const command = ['sh', '-c', 'printf "%s|" "$PODPACE_X" "$@"', 'sh', ...words];
      const script = commandScript({
        command,
        cwd: '/',
        environment: { PODPACE_X: value, PATH: '/usr/bin:/bin' },
      });
      t.is(
        execFileSync('/bin/sh', ['-c', script], { encoding: 'utf8' }),
        [value, ...words, ''].join('|'),
      );
    }),
    { numRuns: 20 },
  );
});

test('a missing folder ends the command with status 126', (t) => {
  const script = commandScript({ command: ['true'], cwd: '/no such folder', environment: {} });
  const error = t.throws(() => execFileSync('/bin/sh', ['-c', script], { stdio: 'pipe' }));
  t.like(error, { status: 126 });
});

test('a command gets the variables of podpace and few others', (t) => {
  const callers = {
    PODPACE_A: '1',
    SECRET: 'x',
    HOME: '/home/a',
    PATH: '/opt/bin:/usr/bin',
    CI: undefined,
  };
  t.deepEqual(guestEnvironment(callers), {
    HOME: '/home/a',
    PATH: '/opt/bin:/usr/bin:/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/bin',
    PODPACE_A: '1',
  });
  t.is(guestEnvironment({})['HOME'], '/root');
});
