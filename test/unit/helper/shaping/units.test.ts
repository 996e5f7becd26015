import test from 'ava';
import fc from 'fast-check';
import {
  formatBytes,
  formatDuration,
  formatRate,
  parseBurst,
  parseDuration,
  parseRate,
  UnitError,
} from '../../../../helper/shaping/units.ts';

const rates: readonly [string, number][] = [
  ['1000', 1000],
  ['800k', 800_000],
  ['10M', 10_000_000],
  ['2.5G', 2_500_000_000],
  ['0.1m', 100_000],
  ['1.001k', 1001],
  ['10Mbit', 10_000_000],
  ['10 Mbit/s'.replace(' ', ''), 10_000_000],
  ['1P', 10 ** 15],
];
for (const [text, expected] of rates) {
  test(`parseRate reads ${text}`, (t) => t.is(parseRate(text), expected));
}

for (const text of [
  '',
  'k',
  '-1M',
  'NaN',
  'Infinity',
  '1e9',
  '1.0005k',
  '10MB',
  '10Mi',
  '1,5M',
  '9999999P',
]) {
  test(`parseRate refuses ${JSON.stringify(text)} by name`, (t) => {
    const error = t.throws(() => parseRate(text), { instanceOf: UnitError });
    t.true(error.message.includes(JSON.stringify(text)));
    t.regex(error.message, /such as 800k, 10M/);
  });
}

test('parseBurst reads bits', (t) => {
  t.is(parseBurst('100k'), 100_000);
  t.is(parseBurst('8Mbit'), 8_000_000);
  t.throws(() => parseBurst('1 ms'), {
    instanceOf: UnitError,
    message: /burst "1 ms": write bits/,
  });
});

test('parseDuration wants a unit', (t) => {
  t.is(parseDuration('50ms'), 50_000_000);
  t.is(parseDuration('1.5s'), 1_500_000_000);
  t.is(parseDuration('500us'), 500_000);
  for (const text of ['50', '50m', '-1ms', 'off', '0.5ns', '']) {
    t.throws(() => parseDuration(text), { instanceOf: UnitError, message: /with its unit/ });
  }
});

test('any text gives a number or a UnitError', (t) => {
  fc.assert(
    fc.property(fc.string(), (text) => {
      for (const parse of [parseRate, parseBurst, parseDuration]) {
        try {
          t.true(Number.isSafeInteger(parse(text)));
        } catch (error) {
          t.true(error instanceof UnitError);
        }
      }
    }),
  );
});

test('what is formatted is read again', (t) => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 999_999 }), (thousands) => {
      const durationNs = thousands * 1000;
      t.is(parseDuration(formatDuration(durationNs).replace(' ', '')), durationNs);
    }),
  );
});

test('numbers take the largest unit', (t) => {
  t.is(formatRate(1000), '1 kbit/s');
  t.is(formatRate(1_234_567), '1.235 Mbit/s');
  t.is(formatRate(10 ** 15), '1 Pbit/s');
  t.is(formatDuration(0), '0 ns');
  t.is(formatDuration(65_536), '65.536 us');
  t.is(formatDuration(50_000_000), '50 ms');
  t.is(formatBytes(1500), '1.5 kB');
});
