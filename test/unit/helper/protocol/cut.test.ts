import test from 'ava';
import fc from 'fast-check';
import { cutToFit, shorten } from '../../../../helper/protocol/cut.ts';

const MAX = 64 * 1024 - 1;

function bytesOf(value: unknown): number {
  return Buffer.byteLength(JSON.stringify(value));
}

test('any answer fits into a message, and one that fits is not touched', (t) => {
  fc.assert(
    fc.property(
      fc.record({
        texts: fc.array(
          fc.nat(3000).map((length) => 'ä'.repeat(length)),
          { maxLength: 200 },
        ),
        objects: fc.array(
          fc.record({
            name: fc.string(),
            leafQdiscs: fc.array(fc.constant('fq'), { maxLength: 5000, size: 'max' }),
          }),
          { maxLength: 100 },
        ),
        message: fc.nat(200_000).map((length) => 'x'.repeat(length)),
        perCpu: fc
          .nat(2000)
          .map((cpus) =>
            Object.fromEntries(Array.from({ length: cpus }, (_, cpu) => [cpu, { packets: cpu }])),
          ),
      }),
      (value) => {
        const cut = cutToFit(value, MAX);
        t.true(bytesOf(cut) <= MAX);
        if (bytesOf(value) <= MAX) t.is(cut, value);
        t.deepEqual(
          Object.keys(value).filter((name) => !(name in cut)),
          [],
        );
      },
    ),
    { numRuns: 100 },
  );
});

test('what is left out is counted', (t) => {
  const names = Array.from({ length: 10_000 }, (_, index) => `eth${index}`);
  const { restoredExits } = cutToFit({ restoredExits: names }, 1000);
  const kept = restoredExits.length - 1;
  t.true(kept > 16);
  t.is(restoredExits.at(-1), `and ${10_000 - kept} more`);

  const removed = names.map((containerId) => ({ containerId, ifname: 'eth0' }));
  const cut = cutToFit<{ removed: object[]; moreRemoved?: number }>({ removed }, 1000);
  t.deepEqual(cut.removed[0], removed[0]);
  t.is(cut.removed.length + (cut.moreRemoved ?? 0), 10_000);

  const exits = cutToFit<{ exits: object[]; moreExits: number }>(
    { exits: removed, moreExits: 5 },
    1000,
  );
  t.is(exits.exits.length + exits.moreExits, 10_005);

  const again = cutToFit({ problems: [...names.slice(0, 300), 'and 9700 more'] }, 1000).problems;
  t.is(again.at(-1), `and ${10_000 - again.length + 1} more`);

  const text = cutToFit({ message: 'x'.repeat(2000) }, 1000).message;
  t.is(text, `${'x'.repeat(512)}… (1488 more characters)`);
});

test('sentences are shortened to those that can be read', (t) => {
  t.deepEqual(shorten(['a', 'b', 'c'], 2), ['a', 'b', 'and 1 more']);
  t.deepEqual(shorten(['a', 'b'], 2), ['a', 'b']);
  t.is(shorten(['x'.repeat(501)])[0], `${'x'.repeat(500)}… (1 more characters)`);
});
