import { createHash } from 'node:crypto';
import test from 'ava';
import fc from 'fast-check';
import { sha256 } from '../../../../helper/wire/sha256.ts';
import { character } from '../../../kit/any-text.ts';

function nodeSha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

test('the digest of a text is the one of the standard', (t) => {
  // FIPS 180-4's own examples: one block, and two.
  t.is(sha256('abc'), 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad');
  t.is(
    sha256('abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq'),
    '248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1',
  );
});

test('the digest of a text of any length is the one that OpenSSL has', (t) => {
  // All places in a block where a message may end.
  for (let length = 0; length <= 200; length += 1)
    t.is(sha256('x'.repeat(length)), nodeSha256('x'.repeat(length)));
  fc.assert(
    fc.property(
      fc.string({ unit: character, maxLength: 500 }),
      (text) => sha256(text) === nodeSha256(text),
    ),
    { numRuns: 500 },
  );
});
