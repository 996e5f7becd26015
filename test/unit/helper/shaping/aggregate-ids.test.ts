import test from 'ava';
import fc from 'fast-check';
import { nextAggregateId, pagesToHave } from '../../../../helper/shaping/aggregate-ids.ts';
import {
  AGGREGATE_COUNT,
  AGGREGATE_ID_MAX,
  AGGREGATE_ID_MIN,
  aggregatePage,
  AGGREGATES_PER_PAGE,
} from '../../../../helper/wire/aggregate.ts';

const ids = fc.integer({ min: AGGREGATE_ID_MIN, max: AGGREGATE_ID_MAX });

test('an id is free and in range', (t) => {
  fc.assert(
    fc.property(
      fc.uniqueArray(ids, { maxLength: 200 }),
      fc.option(ids, { nil: undefined }),
      (inUse, previous) => {
        const id = nextAggregateId(new Set(inUse), previous);
        t.true(
          id !== undefined &&
            id >= AGGREGATE_ID_MIN &&
            id <= AGGREGATE_ID_MAX &&
            !inUse.includes(id),
        );
      },
    ),
  );
});

test('a freed id comes back only after half a page of others had their turn', (t) => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 500 }),
      fc.integer({ min: 0, max: 499 }),
      (count, chosen) => {
        const inUse = new Set<number>();
        let previous: number | undefined;
        const take = (): number => {
          previous = nextAggregateId(inUse, previous)!;
          inUse.add(previous);
          return previous;
        };
        const taken = Array.from({ length: count }, take);
        // One pod after the other goes and another comes in its place.
        const freed = taken[chosen % count]!;
        inUse.delete(freed);
        for (let others = 0; others < AGGREGATES_PER_PAGE / 2 - 1; others += 1) {
          const id = take();
          t.not(id, freed);
          inUse.delete(id);
        }
      },
    ),
  );
});

test('ids stand in as few pages as leave half a page free', (t) => {
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: 4000 }),
      fc.option(ids, { nil: undefined }),
      (count, previous) => {
        const inUse = new Set(
          Array.from({ length: count }, (_, index) => AGGREGATE_ID_MIN + index),
        );
        const page = aggregatePage(nextAggregateId(inUse, previous)!);
        t.true(page < Math.ceil((count + AGGREGATES_PER_PAGE / 2) / AGGREGATES_PER_PAGE));
      },
    ),
  );
});

test('the pages of the next ids are had before they are needed, and no more', (t) => {
  fc.assert(
    fc.property(fc.uniqueArray(ids, { maxLength: 300 }), (taken) => {
      const inUse = new Set(taken);
      const pages = pagesToHave(inUse);
      const used = new Set(taken.map(aggregatePage));
      t.true([...used].every((page) => pages.has(page)));
      t.true(pages.size <= used.size + Math.ceil(taken.length / AGGREGATES_PER_PAGE) + 2);
      let previous: number | undefined;
      for (let more = 0; more < AGGREGATES_PER_PAGE; more += 1) {
        previous = nextAggregateId(inUse, previous)!;
        inUse.add(previous);
        t.true(pages.has(aggregatePage(previous)));
      }
    }),
  );
});

test('every id can be taken', (t) => {
  const inUse = new Set<number>();
  let previous: number | undefined;
  for (let count = 0; count < AGGREGATE_COUNT; count += 1) {
    previous = nextAggregateId(inUse, previous)!;
    inUse.add(previous);
  }
  t.is(inUse.size, AGGREGATE_COUNT);
  t.is(nextAggregateId(inUse, previous), undefined);
});

test('there is no id when all are taken', (t) => {
  const all = Array.from(
    { length: AGGREGATE_ID_MAX - AGGREGATE_ID_MIN + 1 },
    (_, index) => AGGREGATE_ID_MIN + index,
  );
  t.is(nextAggregateId(new Set(all), undefined), undefined);
});
