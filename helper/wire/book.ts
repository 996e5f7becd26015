// Values of the map aggregate_books, byte for byte struct aggregate_book of bpf/books.h.

/** Bytes of one CPU's value. */
export const AGGREGATE_BOOK_SIZE = 64;

/** Frames and their bytes, of merged packets those of each segment. */
export interface Tally {
  readonly frames: bigint;
  readonly bytes: bigint;
}

const TALLY_NAMES = ['seen', 'settled', 'exempt', 'dropped'] as const;

/** What was seen of an aggregate's packets, and what became of them. */
export interface AggregateBook extends Readonly<Record<(typeof TALLY_NAMES)[number], Tally>> {
  /** By the classifier: of what a pod sends only. */
  readonly seen: Tally;
  /** Whose sign was taken off: charged, exempt or dropped; of what a pod sends only. */
  readonly settled: Tally;
  readonly exempt: Tally;
  /** By the departure step. */
  readonly dropped: Tally;
}

/**
 * The book that the values of some CPUs are together; all zero for none. Throws RangeError for a
 * value of another length.
 */
export function decodeAggregateBook(values: readonly Buffer[]): AggregateBook {
  const wrong = values.find(({ length }) => length !== AGGREGATE_BOOK_SIZE);
  if (wrong !== undefined)
    throw new RangeError(
      `Cannot decode aggregate book: ${wrong.length} bytes, expected ${AGGREGATE_BOOK_SIZE}`,
    );
  const word = (at: number): bigint =>
    values.reduce((sum, value) => sum + value.readBigUInt64LE(at * 8), 0n);
  const tallies = TALLY_NAMES.map((name, at) => [
    name,
    { frames: word(at * 2), bytes: word(at * 2 + 1) },
  ]);
  return Object.fromEntries(tallies) as Record<(typeof TALLY_NAMES)[number], Tally>;
}

/** Bytes of one CPU's value of the map unsigned_traffic: struct tally of bpf/books.h. */
export const UNSIGNED_TALLY_SIZE = 16;
/** Places in that map: UNSIGNED_COUNT of bpf/books.h. */
const UNSIGNED_COUNT = 256;

/** Where what leaves by an exit without a sign is counted. Exits may share a place. */
export function unsignedPlaceOf(ifindex: number): number {
  return ifindex % UNSIGNED_COUNT;
}

/** Bytes that the values of some CPUs are together. */
export function decodeUnsignedBytes(values: readonly Buffer[]): number {
  return values.reduce((sum, value) => sum + Number(value.readBigUInt64LE(8)), 0);
}
