import test from 'ava';
import { parseBtf, resolveType, sizeOfType } from '../../../../helper/wire/btf.ts';

const KIND_INT = 1;
const KIND_PTR = 2;
const KIND_ARRAY = 3;
const KIND_STRUCT = 4;
const KIND_TYPEDEF = 8;
const KIND_UNKNOWN = 31;

function words(...values: number[]): Buffer {
  const bytes = Buffer.alloc(values.length * 4);
  for (const [index, value] of values.entries()) bytes.writeUInt32LE(value, index * 4);
  return bytes;
}

/** struct btf_type and what follows it. */
function type(kind: number, nameOffset: number, sizeOrType: number, ...tail: number[]): Buffer {
  const vlen = kind === KIND_STRUCT ? tail.length / 3 : 0;
  return words(nameOffset, ((kind << 24) | vlen) >>> 0, sizeOrType, ...tail);
}

function section(strings: string, ...types: readonly Buffer[]): Buffer {
  const typeBytes = Buffer.concat(types);
  const stringBytes = Buffer.from(strings, 'latin1');
  const header = words(0x0001_eb9f, 24, 0, typeBytes.length, typeBytes.length, stringBytes.length);
  return Buffer.concat([header, typeBytes, stringBytes]);
}

test('types are told apart and names are followed', (t) => {
  const types = parseBtf(
    section(
      '\0u32\0pair\0left\0',
      type(KIND_INT, 1, 4, 32),
      type(KIND_TYPEDEF, 1, 1),
      type(KIND_STRUCT, 5, 8, 10, 2, 0),
      type(KIND_ARRAY, 0, 0, 3, 1, 5),
      type(KIND_PTR, 0, 4),
    ),
  );
  t.deepEqual(resolveType(types, 2), { kind: 'int', sizeBytes: 4 });
  t.deepEqual(resolveType(types, 3), {
    kind: 'struct',
    sizeBytes: 8,
    members: [{ name: 'left', typeId: 2 }],
  });
  t.is(sizeOfType(types, 4), 40);
  t.is(sizeOfType(types, 5), 8);
});

test('circles and missing types are refused', (t) => {
  const alias = parseBtf(section('\0', type(KIND_TYPEDEF, 0, 1)));
  t.throws(() => resolveType(alias, 1), { instanceOf: RangeError });
  t.throws(() => resolveType(alias, 9), { instanceOf: RangeError });
  const array = parseBtf(section('\0', type(KIND_ARRAY, 0, 0, 1, 1, 2)));
  t.throws(() => sizeOfType(array, 1), { instanceOf: RangeError, message: /contains itself/ });
});

test('bytes that are no BTF are refused', (t) => {
  t.throws(() => parseBtf(Buffer.alloc(64)), { instanceOf: RangeError, message: /no BTF header/ });
  t.throws(() => parseBtf(section('\0', type(KIND_UNKNOWN, 0, 0))), {
    instanceOf: RangeError,
    message: /kind 31/,
  });
  const whole = section('\0u32\0', type(KIND_INT, 1, 4, 32));
  t.throws(() => parseBtf(whole.subarray(0, whole.length - 1)), { instanceOf: RangeError });
});
