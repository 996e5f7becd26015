import test from 'ava';
import { AGGREGATE_BOOK_SIZE, decodeAggregateBook } from '../../../../helper/wire/book.ts';

function valueOf(words: readonly bigint[]): Buffer {
  const value = Buffer.alloc(AGGREGATE_BOOK_SIZE);
  for (const [index, word] of words.entries()) value.writeBigUInt64LE(word, index * 8);
  return value;
}

test('a book is the words of struct aggregate_book, and adds up over the CPUs', (t) => {
  const words = [1n, 2n, 3n, 4n, 5n, 6n, 7n, 2n ** 60n];
  t.deepEqual(decodeAggregateBook([valueOf(words), valueOf([]), valueOf(words)]), {
    seen: { frames: 2n, bytes: 4n },
    settled: { frames: 6n, bytes: 8n },
    exempt: { frames: 10n, bytes: 12n },
    dropped: { frames: 14n, bytes: 2n ** 61n },
  });
});

test('no values are an empty book, and a value of another length is none', (t) => {
  t.is(decodeAggregateBook([]).seen.bytes, 0n);
  t.throws(() => decodeAggregateBook([Buffer.alloc(AGGREGATE_BOOK_SIZE - 1)]), {
    instanceOf: RangeError,
  });
});
