import test from 'ava';
import fc from 'fast-check';
import { nextAggregateId } from '../../../../helper/shaping/aggregate-ids.ts';
import { AGGREGATE_ID_MAX, AGGREGATE_ID_MIN } from '../../../../helper/wire/aggregate.ts';

const ids = fc.integer({ min: AGGREGATE_ID_MIN, max: AGGREGATE_ID_MAX });

test('an id is free and in range', (t) => {
  fc.assert(
    fc.property(
      fc.uniqueArray(ids, { maxLength: 200 }),
      fc.option(ids, { nil: undefined }),
      (inUse, previous) => {
        const id = nextAggregateId(new Set(inUse), previous);
        t.true(id !== undefined && id >= AGGREGATE_ID_MIN && id <= AGGREGATE_ID_MAX && !inUse.includes(id));
      },
    ),
  );
});

test('a freed id comes back only after all others had their turn', (t) => {
  let previous: number | undefined;
  const seen = new Set<number>();
  for (let count = AGGREGATE_ID_MIN; count <= AGGREGATE_ID_MAX; count += 1) {
    previous = nextAggregateId(new Set(), previous);
    seen.add(previous ?? 0);
  }
  t.is(seen.size, AGGREGATE_ID_MAX - AGGREGATE_ID_MIN + 1);
  t.is(nextAggregateId(new Set(), previous), AGGREGATE_ID_MIN);
});

test('there is no id when all are taken', (t) => {
  const all = Array.from(
    { length: AGGREGATE_ID_MAX - AGGREGATE_ID_MIN + 1 },
    (_, index) => AGGREGATE_ID_MIN + index,
  );
  t.is(nextAggregateId(new Set(all), undefined), undefined);
});
