import test from 'ava';
import {
  conversionsFrom,
  decodeLayoutMark,
  encodeLayoutMark,
  FIRST_MARK,
  LAYOUT,
  LAYOUT_MARK_SIZE,
  parseLayoutMark,
} from '../../../../helper/wire/layout.ts';

test('a mark in a map is read back, from a longer one too, and a release that is too long is cut', (t) => {
  const mark = { layout: 7, release: '1.2.3-rc.4' };
  t.deepEqual(decodeLayoutMark(encodeLayoutMark(mark)), mark);
  t.deepEqual(decodeLayoutMark(Buffer.concat([encodeLayoutMark(mark), Buffer.alloc(64, 1)])), mark);
  const long = decodeLayoutMark(encodeLayoutMark({ layout: 2, release: 'x'.repeat(200) }));
  t.is(long.release, 'x'.repeat(LAYOUT_MARK_SIZE - 5));
  t.throws(() => decodeLayoutMark(Buffer.alloc(8)), { instanceOf: RangeError });
});

test('a mark in a file is read, with whatever a later release says besides, and nothing else is', (t) => {
  t.deepEqual(parseLayoutMark('{"layout":3,"release":"0.9.0","more":[1]}\n'), {
    layout: 3,
    release: '0.9.0',
  });
  t.deepEqual(parseLayoutMark('{"layout":3}'), { layout: 3, release: 'unknown' });
  for (const text of [
    '',
    '{',
    'null',
    '[]',
    '7',
    '{}',
    '{"layout":"3"}',
    '{"layout":0}',
    '{"layout":2.5}',
  ])
    t.throws(() => parseLayoutMark(text), undefined, text);
});

test('every layout since the first can be come from', (t) => {
  for (let { layout } = FIRST_MARK; layout <= LAYOUT; layout++)
    t.notThrows(() => conversionsFrom(layout));
  t.is(conversionsFrom(LAYOUT).size, 0);
});
