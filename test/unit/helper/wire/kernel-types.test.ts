// Where members of structs stand, in types that are made here by the kernel's linux/btf.h.

import test from 'ava';
import { memberOffsets } from '../../../../helper/wire/kernel-types.ts';

const [KIND_INT, KIND_STRUCT] = [1, 4];
const KIND_FLAG = 0x8000_0000;

function words(...values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(values.length * 4);
  for (const [index, value] of values.entries()) bytes.writeUInt32LE(value >>> 0, index * 4);
  return bytes;
}

const STRINGS = Buffer.from('\0int\0net\0first\0net_cookie\0net_other\0');

function nameOf(text: string): number {
  return STRINGS.indexOf(`\0${text}\0`) + 1;
}

/** An int and a struct of two of them, the second at a byte. */
function typesWith({ atByte, isFlagged = false }: { atByte: number; isFlagged?: boolean }): Buffer {
  const info = ((KIND_STRUCT << 24) | 2 | (isFlagged ? KIND_FLAG : 0)) >>> 0;
  // With the flag the upper byte of an offset is a width in bits.
  const width = isFlagged ? 32 << 24 : 0;
  const types = Buffer.concat([
    words(nameOf('int'), KIND_INT << 24, 4, 32),
    words(nameOf('net'), info, atByte + 4, nameOf('first'), 1, width),
    words(nameOf('net_cookie'), 1, width | (atByte * 8)),
  ]);
  const header = words(0xeb9f | (1 << 16), 24, 0, types.length, types.length, STRINGS.length);
  return Buffer.concat([header, types, STRINGS]);
}

const COOKIE = { struct: 'net', member: 'net_cookie' };

test('a member is found by the names of both, with bit fields beside it or not', (t) => {
  for (const isFlagged of [false, true])
    t.deepEqual(memberOffsets(typesWith({ atByte: 4160, isFlagged }), [COOKIE]), [4160]);
});

test('what the kernel does not have is undefined, and what is no BTF is refused', (t) => {
  const types = typesWith({ atByte: 8 });
  t.deepEqual(
    memberOffsets(types, [
      { struct: 'net', member: 'net_other' },
      { struct: 'netns', member: 'net_cookie' },
      COOKIE,
    ]),
    [undefined, undefined, 8],
  );
  t.throws(() => memberOffsets(Buffer.alloc(64), [COOKIE]), { instanceOf: RangeError });
  t.throws(() => memberOffsets(Buffer.alloc(3), [COOKIE]), { instanceOf: RangeError });
});
