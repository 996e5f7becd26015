import test from 'ava';
import { booksOf, unaccountedOf, vanishedOf } from '../../../../helper/shaping/books.ts';

const NOTHING = { frames: 0, bytes: 0 };

interface Row {
  readonly title: string;
  readonly seen: readonly [frames: number, bytes: number];
  readonly settled: readonly [frames: number, bytes: number];
  readonly vanished: readonly [frames: number, bytes: number];
}

const ROWS: readonly Row[] = [
  { title: 'nothing', seen: [0, 0], settled: [0, 0], vanished: [0, 0] },
  { title: 'what is settled', seen: [10, 15_140], settled: [10, 15_140], vanished: [0, 0] },
  { title: 'what is missing', seen: [10, 15_140], settled: [4, 6056], vanished: [6, 9084] },
  // WireGuard: 14 bytes of Ethernet less at the exit.
  { title: 'another link header', seen: [10, 780], settled: [10, 640], vanished: [0, 0] },
  {
    title: 'frames that are missing behind another link header',
    seen: [10, 780],
    settled: [5, 320],
    vanished: [5, 390],
  },
  // Datagrams of 8000 bytes in six fragments, which the node has put together: an exit whose MTU
  // takes them.
  {
    title: 'fragments put together',
    seen: [60, 80_940],
    settled: [10, 80_420],
    vanished: [50, 520],
  },
  {
    title: 'packets cut in fragments',
    seen: [10, 80_420],
    settled: [60, 80_940],
    vanished: [0, 0],
  },
  { title: 'copies', seen: [10, 15_140], settled: [20, 30_280], vanished: [0, 0] },
];

for (const { title, seen, settled, vanished } of ROWS) {
  test(`unaccounted: ${title}`, (t) => {
    const tally = ([frames, bytes]: readonly [number, number]) => ({ frames, bytes });
    t.deepEqual(vanishedOf(tally(seen), tally(settled)), tally(vanished));
  });
}

test('a book in numbers', (t) => {
  const book = {
    seen: { frames: 10n, bytes: 1000n },
    settled: { frames: 8n, bytes: 800n },
    exempt: { frames: 2n, bytes: 200n },
    dropped: { frames: 1n, bytes: 100n },
  };
  t.deepEqual(unaccountedOf(book), { frames: 2, bytes: 200 });
  t.deepEqual(booksOf(book), {
    ...{ seenFrames: 10, seenBytes: 1000, settledFrames: 8, settledBytes: 800 },
    ...{ exemptFrames: 2, exemptBytes: 200, droppedFrames: 1, droppedBytes: 100 },
    ...{ unaccountedFrames: 2, unaccountedBytes: 200 },
  });
  t.deepEqual(vanishedOf(NOTHING, { frames: 1, bytes: 1 }), NOTHING);
});
