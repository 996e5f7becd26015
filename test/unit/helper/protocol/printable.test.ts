import test from 'ava';
import fc from 'fast-check';
import { printable, visible } from '../../../../helper/protocol/printable.ts';
import { character } from '../../../kit/any-text.ts';

/**
 * Characters by number, so that this file has none of them; the escapes are those of RFC 8259,
 * section 7.
 */
const ESCAPES: readonly (readonly [name: string, codePoint: number, escape: string])[] = [
  ['NUL', 0x00, '\\u0000'],
  ['escape', 0x1b, '\\u001b'],
  ['line feed', 0x0a, '\\n'],
  ['carriage return', 0x0d, '\\r'],
  ['tab', 0x09, '\\t'],
  ['DEL', 0x7f, '\\u007f'],
  ['C1: next line', 0x85, '\\u0085'],
  ['C1: control sequence introducer', 0x9b, '\\u009b'],
  ['line separator', 0x2028, '\\u2028'],
  ['paragraph separator', 0x2029, '\\u2029'],
  ['right-to-left override', 0x202e, '\\u202e'],
  ['right-to-left isolate', 0x2067, '\\u2067'],
  ['zero-width space', 0x200b, '\\u200b'],
  ['byte order mark', 0xfeff, '\\ufeff'],
  ['half of a surrogate pair', 0xd800, '\\ud800'],
  ['no-break space', 0xa0, '\\u00a0'],
  ['ideographic space', 0x3000, '\\u3000'],
  ['Hangul filler', 0x3164, '\\u3164'],
  ['variation selector 16', 0xfe0f, '\\ufe0f'],
  ['combining grapheme joiner', 0x034f, '\\u034f'],
  ['empty Braille pattern', 0x2800, '\\u2800'],
  ['a tag beyond U+FFFF', 0xe0041, '\\udb40\\udc41'],
];

for (const [name, codePoint, escape] of ESCAPES) {
  test(`printable escapes ${name}`, (t) => {
    t.is(printable(`eth${String.fromCodePoint(codePoint)}0`), `eth${escape}0`);
  });
}

test('printable leaves what can be read as it is, in any script', (t) => {
  for (const text of ['', 'eth0', 'C:\\path "x"', 'ü é 日本語 العربية 🙂 a b'])
    t.is(printable(text), text);
});

test('escaping twice changes nothing, and JSON keeps its value', (t) => {
  const anything = fc.string({ unit: character });
  fc.assert(
    fc.property(anything, (text) => {
      t.is(printable(printable(text)), printable(text));
      t.is(JSON.parse(printable(JSON.stringify(text))), text);
    }),
  );
});

/** What UAX #44 calls other, separator or default ignorable. */
const UNSEEN = /[\p{C}\p{Z}\p{Default_Ignorable_Code_Point}]/u;
const unseen = fc.constantFrom(
  ...Array.from({ length: 0x10000 }, (_, codePoint) => String.fromCodePoint(codePoint)).filter(
    (character) => UNSEEN.test(character),
  ),
);
const mixed = fc.string({ unit: fc.oneof(unseen, fc.string({ unit: character, maxLength: 1 })) });

test('whatever a text holds, nothing of it is unseen: in a name not even a blank', (t) => {
  fc.assert(
    fc.property(mixed, (text) => {
      t.notRegex(printable(text).replaceAll(' ', ''), UNSEEN);
      t.notRegex(visible(text), UNSEEN);
      for (const shown of [printable, visible]) t.is(shown(shown(text)), shown(text));
    }),
  );
});
