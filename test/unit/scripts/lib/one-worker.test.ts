import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { AVA_CLI, parseTapLine } from '../../../../scripts/lib/ava.ts';
import { withBundles } from '../../../../scripts/lib/one-worker.ts';
import { buildDirectory, projectRoot } from '../../../../scripts/lib/paths.ts';

/** Says what runs in a file of tests, one of which fails where it is told to. */
function fileOfTests(letter: string, fails: string): string {
  const failure = letter === fails ? `t.fail('as asked');` : 't.pass();';
  return `
import fs from 'node:fs';
import test from 'ava';
const say = (what) => fs.appendFileSync(process.env.SAID, '${letter} ' + what + '\\n');
test.before('with a title, too', () => say('before'));
test.beforeEach(() => say('each'));
test.afterEach.always((t) => say('each over, ' + (t.passed ? 'passed' : 'failed')));
test.after.always('as AVA allows', () => say('after'));
test('first', (t) => { t.teardown(() => say('torn down')); say('first'); ${failure} });
test.serial('second', (t) => { t.teardown(() => say('torn down')); say('second'); t.pass(); });
test('its place', (t) => { t.teardown(() => say('torn down')); say('place'); t.is(import.meta.dirname, process.env.PLACE); });
test.skip('none', () => say('skipped'));
`;
}

interface Ran {
  readonly said: readonly string[];
  readonly results: readonly string[];
}

/** Runs two files of tests in one process. */
async function runTwo(t: ExecutionContext, fails: string): Promise<Ran> {
  const place = fs.mkdtempSync(path.join(buildDirectory, 'two-files-'));
  t.teardown(() => fs.rmSync(place, { recursive: true }));
  const files = ['a', 'b'].map((letter) => {
    const file = path.join(place, `${letter}.test.ts`);
    fs.writeFileSync(file, fileOfTests(letter, fails));
    return path.relative(projectRoot, file);
  });
  const said = path.join(place, 'said');
  const { stdout } = await withBundles('two-files', [files], async ({ directory, files }) =>
    spawnSync(process.execPath, [path.join(directory, AVA_CLI), '--tap', ...files], {
      cwd: directory,
      env: { ...process.env, SAID: said, PLACE: place },
      encoding: 'utf8',
    }),
  );
  return {
    said: fs.readFileSync(said, 'utf8').trimEnd().split('\n'),
    results: stdout.split('\n').flatMap((line) => {
      const result = parseTapLine(line);
      return result === undefined
        ? []
        : [`${result.outcome} ${result.title.split(' › ').slice(-2).join(' › ')}`];
    }),
  };
}

/** What a file says in which the first test passes or fails. */
function eachInTurn(first: 'passed' | 'failed'): string[] {
  const said = (title: string, outcome: string) => [
    'each',
    title,
    'torn down',
    `each over, ${outcome}`,
  ];
  const others = ['second', 'place'].flatMap((title) => said(title, 'passed'));
  return ['before', ...said('first', first), ...others, 'after'];
}

for (const fails of ['none', 'a'])
  test(`in one process hooks of a file are about its own tests: ${fails} fails`, async (t) => {
    const { said, results } = await runTwo(t, fails);
    t.deepEqual(
      said,
      ['a', 'b'].flatMap((letter) =>
        eachInTurn(letter === fails ? 'failed' : 'passed').map((what) => `${letter} ${what}`),
      ),
    );
    const expected = ['a', 'b'].flatMap((letter) => [
      `${letter === fails ? 'failed' : 'passed'} ${letter} › first`,
      `passed ${letter} › second`,
      `passed ${letter} › its place`,
      `skipped ${letter} › none`,
    ]);
    t.deepEqual(results.toSorted(), expected.toSorted());
  });
