import test from 'ava';
import fc from 'fast-check';
import { Command, CommanderError } from 'commander';
import { addWatch, watch, type Round } from '../../../../helper/commands/watch.ts';

interface Seen {
  stdout: string;
  stderr: string;
  pausesMs: number[];
}

/** Rounds until there are no more answers; an Error is one that fails. */
async function watched(
  every: number | true,
  isJson: boolean,
  answers: readonly (object | Error)[],
  { isScreen = false, reads = Infinity } = {},
): Promise<Seen> {
  const seen: Seen = { stdout: '', stderr: '', pausesMs: [] };
  const left = [...answers];
  const round: Round = async () => {
    const answer = left.shift() ?? {};
    if (answer instanceof Error) throw answer;
    return { result: answer, text: () => `text of ${JSON.stringify(answer)}` };
  };
  let printed = 0;
  const output = {
    stdout: (text: string) => {
      seen.stdout += text;
      printed += 1;
      return printed < reads;
    },
    stderr: (text: string) => void (seen.stderr += text),
  };
  const edges = {
    ...(isScreen && { clear: () => void (seen.stdout += '<clear>') }),
    pause: async (ms: number) => {
      seen.pausesMs.push(ms);
      return left.length > 0;
    },
  };
  await watch({ every, isJson }, output, edges, round);
  return seen;
}

test('rounds stand below each other, a line of JSON each, or one in the place of the other', async (t) => {
  const answers = [{ a: 1 }, { a: 2 }];
  t.deepEqual(await watched(true, false, answers), {
    stdout: 'text of {"a":1}\n\ntext of {"a":2}\n',
    ...{ stderr: '', pausesMs: [2000, 2000] },
  });
  t.like(await watched(0.5, true, answers), {
    ...{ stdout: '{"a":1}\n{"a":2}\n', pausesMs: [500, 500] },
  });
  t.is(
    (await watched(60, false, answers, { isScreen: true })).stdout,
    '<clear>text of {"a":1}\n<clear>text of {"a":2}\n',
  );
});

test('a helper that goes away is told of, and waited for; at first it is a failure', async (t) => {
  const seen = await watched(1, true, [{ a: 1 }, new Error('gone'), { a: 3 }]);
  t.like(seen, { stdout: '{"a":1}\n{"a":3}\n', stderr: 'podpaced: gone\n' });
  const screen = await watched(1, false, [{ a: 1 }, new Error('gone')], { isScreen: true });
  t.like(screen, { stdout: '<clear>text of {"a":1}\n<clear>', stderr: 'podpaced: gone\n' });
  await t.throwsAsync(watched(1, true, [new Error('never there'), { a: 1 }]), {
    message: 'never there',
  });
});

test('it ends when nobody reads any more', async (t) => {
  const seen = await watched(1, true, [{ a: 1 }, { a: 2 }, { a: 3 }], { reads: 2 });
  t.is(seen.stdout, '{"a":1}\n{"a":2}\n');
});

function parse(...argv: string[]): unknown {
  let flags: object = {};
  const program = addWatch(new Command('x').exitOverride().configureOutput({ writeErr: () => {} }));
  program.action((options: object) => void (flags = options)).parse(argv, { from: 'user' });
  return (flags as { watch?: unknown }).watch;
}

test('the pause is one that a person can mean', (t) => {
  t.is(parse(), undefined);
  t.is(parse('--watch'), true);
  t.is(parse('--watch', '0.5'), 0.5);
  for (const bad of ['0', '0.1', '1e9', 'default/web-0', '', ' ', 'NaN', '-1'])
    t.throws(() => parse(`--watch=${bad}`), {
      instanceOf: CommanderError,
      message: /seconds from 0\.5 to 86400; a pod stands in front of it/,
    });
  fc.assert(
    fc.property(fc.double({ min: 0.5, max: 86_400, noNaN: true }), (value) => {
      t.is(parse('--watch', String(value)), value);
    }),
  );
});
