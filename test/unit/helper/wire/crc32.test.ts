import { crc32 as zlibCrc32 } from 'node:zlib';
import test from 'ava';
import fc from 'fast-check';
import { crc32 } from '../../../../helper/wire/crc32.ts';
import { character } from '../../../kit/any-text.ts';

test('the checksum of a text is the one that zlib has', (t) => {
  t.is(crc32('123456789'), 0xcbf4_3926);
  t.is(crc32(''), 0);
  fc.assert(
    fc.property(fc.string({ unit: character }), (text) => crc32(text) === zlibCrc32(text)),
    { numRuns: 500 },
  );
});
