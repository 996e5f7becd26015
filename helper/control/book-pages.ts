// The books of many aggregates, read a page at a time; what has not changed is not decoded again.

import { possibleCpus } from '../kernel/cpus.ts';
import type { MapPages } from '../kernel/map-pages.ts';
import { aggregateIndex, aggregatePage, AGGREGATES_PER_PAGE } from '../wire/aggregate.ts';
import { AGGREGATE_BOOK_SIZE, decodeAggregateBook, type AggregateBook } from '../wire/book.ts';

/** A page as it was read, and those of its books that were asked for. */
interface Known {
  readonly image: Buffer;
  readonly books: Map<number, AggregateBook>;
}

const NO_BOOK = decodeAggregateBook([]);

export class BookPages {
  readonly #pages: MapPages;
  #known = new Map<number, Known>();

  constructor(pages: MapPages) {
    this.#pages = pages;
  }

  /** The books of some aggregates, by their ids; all zero where the page is not there. */
  read(ids: Iterable<number>): Map<number, AggregateBook> {
    const pages = new Map<number, Known | undefined>();
    const books = new Map<number, AggregateBook>();
    for (const id of ids) {
      const number = aggregatePage(id);
      if (!pages.has(number)) pages.set(number, this.#page(number));
      const page = pages.get(number);
      books.set(id, page === undefined ? NO_BOOK : bookIn(page, id));
    }
    this.#known = new Map([...pages].flatMap(([number, page]) => (page ? [[number, page]] : [])));
    return books;
  }

  #page(number: number): Known | undefined {
    const image = this.#pages.image(number);
    if (image === undefined) return undefined;
    const known = this.#known.get(number);
    return known?.image.equals(image) === true ? known : { image, books: new Map() };
  }
}

function bookIn({ image, books }: Known, id: number): AggregateBook {
  const known = books.get(id);
  if (known !== undefined) return known;
  const [place, cpus] = [aggregateIndex(id) % AGGREGATES_PER_PAGE, possibleCpus()];
  const values = cpus.map((_, cpu) => {
    const at = (place * cpus.length + cpu) * AGGREGATE_BOOK_SIZE;
    return image.subarray(at, at + AGGREGATE_BOOK_SIZE);
  });
  const book = decodeAggregateBook(values);
  books.set(id, book);
  return book;
}
