// Values are those of k8s.io/apimachinery, pkg/api/resource: quantity.go's grammar, and Value(), which
// rounds up.

import test from 'ava';
import fc from 'fast-check';
import { parseQuantity, QuantityError } from '../../../../helper/cluster/quantity.ts';

const values: readonly (readonly [text: string, value: bigint])[] = [
  ['0', 0n],
  ['10M', 10_000_000n],
  ['1500k', 1_500_000n],
  ['1Gi', 1_073_741_824n],
  ['10Mi', 10_485_760n],
  ['1Ki', 1024n],
  ['2Pi', 2n * 1024n ** 5n],
  ['1e6', 1_000_000n],
  ['1E6', 1_000_000n],
  ['1E', 10n ** 18n],
  ['1.5E3', 1500n],
  ['12e-1', 2n],
  ['+5k', 5000n],
  ['.5k', 500n],
  ['5.k', 5000n],
  ['0.1M', 100_000n],
  ['1.0000001k', 1001n],
  ['10m', 1n],
  ['1500m', 2n],
  ['1n', 1n],
  ['999999999999u', 1_000_000n],
  ['-5M', -5_000_000n],
  ['-1500m', -1n],
  ['1e999999999', 10n ** 64n],
];
for (const [text, value] of values) {
  test(`${text} is ${value}`, (t) => {
    t.is(parseQuantity(text), value);
  });
}

for (const text of [
  ...['', ' ', '.', '+', 'M', '10 M', ' 10M', '10M ', '10MB', '10K', '10g', '10ki', '10Mbit'],
  ...['1e', '1e1.5', '1e+', '0x10', '١٠', '1_000', '1,5M', '--1', '10M\n', '9'.repeat(65), 'NaN'],
  ...['1kk', 'Infinity', '1e5M'],
]) {
  test(`${JSON.stringify(text.slice(0, 20))} is no quantity`, (t) => {
    t.throws(() => parseQuantity(text), { instanceOf: QuantityError });
  });
}

test('any text is a quantity or none, at once', (t) => {
  fc.assert(
    fc.property(
      fc.oneof(fc.string(), fc.stringMatching(/^[+-]?[0-9.]{0,80}[eEkKMGi]*-?[0-9]*$/)),
      (text) => {
        try {
          t.is(typeof parseQuantity(text), 'bigint');
        } catch (error) {
          t.true(error instanceof QuantityError);
        }
      },
    ),
  );
});

test('a decimal and its exponent say the same', (t) => {
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: 1e9 }),
      fc.integer({ min: 0, max: 18 }),
      (n, exponent) => {
        t.is(parseQuantity(`${n}e${exponent}`), BigInt(n) * 10n ** BigInt(exponent));
      },
    ),
  );
});
