import test from 'ava';
import { Unseen } from '../../../../helper/shaping/unseen.ts';
import { unaccountedOf } from '../../../../helper/shaping/books.ts';

const ID = 4100;

/**
 * Bytes unseen after looks at what was received and what was seen by then, all of one device where
 * not said otherwise.
 */
function after(
  looks: readonly (readonly [received: number, seen: number, devices?: string])[],
): number {
  const unseen = new Unseen();
  for (const [receivedBytes, seenBytes, devices = '7'] of looks)
    unseen.add(new Map([[ID, { devices, receivedBytes, seenBytes }]]));
  return unseen.bytesOf(ID);
}

const ROWS: Readonly<Record<string, readonly [looks: Parameters<typeof after>[0], bytes: number]>> =
  {
    'nothing before the second look': [[[1e6, 0]], 0],
    'all that comes while nobody looks': [
      [
        [1e6, 5e5],
        [2e6, 5e5],
        [4e6, 5e5],
      ],
      3e6,
    ],
    'no more than the classifier has missed': [
      [
        [0, 0],
        [1e6, 25e4],
      ],
      75e4,
    ],
    'not what is under way between two readings': [
      [
        [0, 0],
        [1e6, 99e4],
        [2e6, 2e6],
      ],
      0,
    ],
    'not the headers of segments, which the book has more of': [
      [
        [0, 0],
        [1e6, 104e4],
      ],
      0,
    ],
    'not what a kernel says of itself': [
      [
        [0, 0],
        [2000, 0],
      ],
      0,
    ],
    'another device counts anew': [
      [
        [1e6, 1e6],
        [9e6, 1e6, '8'],
        [9e6, 1e6, '8'],
      ],
      0,
    ],
    'a counter that begins anew': [
      [
        [5e6, 5e6],
        [1e6, 0],
        [2e6, 0],
      ],
      1e6,
    ],
  };

for (const [title, [looks, bytes]] of Object.entries(ROWS)) {
  test(`unseen: ${title}`, (t) => t.is(after(looks), bytes));
}

test('what was not seen is unaccounted, beside what was seen and is not settled', (t) => {
  const nothing = { frames: 0n, bytes: 0n };
  const book = { ...{ seen: nothing, settled: nothing, exempt: nothing, dropped: nothing } };
  t.is(unaccountedOf(book, 75_700).bytes, 75_700);
  const seen = { frames: 10n, bytes: 15_140n };
  t.is(unaccountedOf({ ...book, seen, settled: seen }, 30_280).bytes, 30_280);
  t.is(unaccountedOf({ ...book, seen }, 30_280).bytes, 45_420);
});

test('who is forgotten begins anew', (t) => {
  const unseen = new Unseen();
  const look = (receivedBytes: number) =>
    unseen.add(new Map([[ID, { devices: '7', receivedBytes, seenBytes: 0 }]]));
  look(0);
  look(1e6);
  unseen.add(new Map());
  look(5e6);
  t.is(unseen.bytesOf(ID), 0);
});
