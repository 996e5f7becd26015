import test from 'ava';
import { parseBtf, placeSections, resolveType, sizeOfType } from '../../../../helper/wire/btf.ts';

const KIND_INT = 1;
const KIND_PTR = 2;
const KIND_ARRAY = 3;
const KIND_STRUCT = 4;
const KIND_TYPEDEF = 8;
const KIND_VAR = 14;
const KIND_DATASEC = 15;
const KIND_UNKNOWN = 31;

function words(...values: number[]): Buffer {
  const bytes = Buffer.alloc(values.length * 4);
  for (const [index, value] of values.entries()) bytes.writeUInt32LE(value, index * 4);
  return bytes;
}

/** struct btf_type and what follows it. */
function type(kind: number, nameOffset: number, sizeOrType: number, ...tail: number[]): Buffer {
  const vlen = kind === KIND_STRUCT || kind === KIND_DATASEC ? tail.length / 3 : 0;
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
      type(KIND_STRUCT, 5, 8, 10, 2, 32),
      type(KIND_ARRAY, 0, 0, 3, 1, 5),
      type(KIND_PTR, 0, 4),
    ),
  );
  t.deepEqual(resolveType(types, 2), { kind: 'int', sizeBytes: 4 });
  t.deepEqual(resolveType(types, 3), {
    kind: 'struct',
    name: 'pair',
    sizeBytes: 8,
    members: [{ name: 'left', typeId: 2, offsetBytes: 4 }],
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

test('sections get the sizes and offsets that the object gives them, in the order of their offsets', (t) => {
  const compiled = section(
    '\0int\0first\0second\0.maps\0',
    type(KIND_INT, 1, 4, 32),
    type(KIND_VAR, 5, 1, 1),
    type(KIND_VAR, 11, 1, 1),
    type(KIND_DATASEC, 18, 0, 3, 0, 4, 2, 0, 4),
  );
  const offsets: Readonly<Record<string, number>> = { first: 8, second: 32 };
  const layout = {
    sizeOf: (name: string) => (name === '.maps' ? 40 : undefined),
    offsetOf: (name: string, variable: string) =>
      name === '.maps' ? offsets[variable] : undefined,
  };
  const before = Buffer.from(compiled);
  const placed = placeSections(compiled, layout);
  t.deepEqual(compiled, before);
  t.deepEqual(parseBtf(placed)[4], { kind: 'section', name: '.maps', variableIds: [2, 3] });
  const expected = type(KIND_DATASEC, 18, 40, 2, 8, 4, 3, 32, 4);
  const at = placed.indexOf(expected);
  t.true(at > 0);
  expected.copy(before, at);
  t.deepEqual(placed, before);
  t.throws(() => placeSections(compiled, { ...layout, sizeOf: () => undefined }), {
    instanceOf: RangeError,
    message: /no section \.maps/,
  });
  t.throws(() => placeSections(compiled, { ...layout, offsetOf: () => undefined }), {
    instanceOf: RangeError,
    message: /no symbol second in \.maps/,
  });
});
