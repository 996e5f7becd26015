import test from 'ava';
import fc from 'fast-check';
import { partsOf } from '../../../../cni/commands/gc.ts';
import { encodeLine } from '../../../../helper/protocol/frame.ts';
import { keyOf } from '../../../../helper/protocol/messages.ts';

const hex = (size: number) =>
  fc.string({ unit: fc.constantFrom('0', '9', 'a', 'f'), minLength: size, maxLength: size });
const keys = fc.record({ containerId: hex(64), ifname: fc.constantFrom('eth0', 'net1') });

test('the parts of a list cover every key once and hold all that is valid', (t) => {
  fc.assert(
    fc.property(
      fc.uniqueArray(keys, { selector: keyOf, maxLength: 1000, size: 'max' }),
      keys,
      (valid, other) => {
        const parts = partsOf(valid);
        t.deepEqual(
          parts.flatMap((part) => part.valid.map(keyOf)).toSorted(),
          valid.map(keyOf).toSorted(),
        );
        const key = keyOf(other);
        const covering = parts.filter(
          ({ from, to }) => (from === undefined || key >= from) && (to === undefined || key < to),
        );
        t.is(covering.length, 1);
        for (const { valid: part, from, to } of parts) {
          t.true(
            part.every(
              (entry) =>
                (from === undefined || keyOf(entry) >= from) &&
                (to === undefined || keyOf(entry) < to),
            ),
          );
          t.notThrows(() =>
            encodeLine({
              version: 3,
              method: 'gc',
              params: { network: 'n'.repeat(200), valid: part, from, to },
            }),
          );
        }
      },
    ),
    { numRuns: 30 },
  );
});

test('an empty list is one part that speaks of every attachment', (t) => {
  t.deepEqual(partsOf([]), [{ valid: [] }]);
});
