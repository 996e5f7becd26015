import test from 'ava';
import fc from 'fast-check';
import { field, hasField, isRawNumber, parseJson, show } from '../../../cni/json.ts';
import { isJsonObject, type JsonObject } from '../../../cni/types.ts';

test('numbers that a double cannot hold keep their digits', (t) => {
  for (const digits of ['9007199254740993', '-12345678901234567890', '1e400', '9007199254740992']) {
    t.true(isRawNumber(parseJson(digits)), digits);
    t.is(JSON.stringify({ x: parseJson(digits) }), `{"x":${digits}}`);
    t.is(show(parseJson(digits)), digits);
    t.false(isJsonObject(parseJson(digits)));
  }
  for (const digits of ['0', '-1', '0.5', '9007199254740991'])
    t.is(parseJson(digits), Number(digits));
});

test('everything else is what JSON.parse gives', (t) => {
  fc.assert(
    fc.property(fc.json(), (text) => {
      t.is(JSON.stringify(parseJson(text)), JSON.stringify(JSON.parse(text)));
    }),
  );
});

test('JSON may be nested 1000 deep, in either kind of bracket, and no deeper', (t) => {
  for (const [open, close] of [
    ['[', ']'],
    ['{"x":[', ']}'],
    ['{"x":', '}'],
  ] as const) {
    const step = (open.match(/[[{]/g) ?? []).length;
    const nested = (count: number): string => `${open.repeat(count)}1${close.repeat(count)}`;
    t.notThrows(() => show(parseJson(nested(1000 / step))));
    t.throws(() => parseJson(nested(1000 / step + 1)), {
      instanceOf: SyntaxError,
      message: /nested more than 1000/,
    });
  }
});

test('brackets in strings and brackets that are closed do not count as nesting', (t) => {
  const text = JSON.stringify({
    x: `${'['.repeat(5000)}"\\${'{'.repeat(5000)}`,
    y: Array.from({ length: 5000 }, () => []),
  });
  t.is(JSON.stringify(parseJson(text)), text);
});

test('a key of the prototype is not there', (t) => {
  t.is(field({}, 'toString'), undefined);
  t.false(hasField({}, 'constructor'));
  const odd = parseJson('{"__proto__":{"mtu":5}}') as JsonObject;
  t.is(field(odd, 'mtu'), undefined);
});

test('a long value is cut in errors', (t) => {
  t.is(show('x'.repeat(500)).length, 80);
});
