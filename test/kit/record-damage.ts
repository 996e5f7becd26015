// A file of JSON with one fault in it, as disks, crashes and hands make them.

import fc from 'fast-check';

type Json = Record<string, unknown>;

const strangeValues: fc.Arbitrary<unknown> = fc.oneof(
  fc.constantFrom<unknown>(
    null,
    true,
    '',
    'x',
    '../../etc/passwd',
    {},
    [],
    [[]],
    -1,
    0,
    0.5,
    1e300,
    2 ** 53,
  ),
  fc.constantFrom<unknown>(
    '\u001b[2J',
    'a\nb',
    '__proto__',
    { length: 1 },
    [null],
    '4096',
    4095,
    20_480,
  ),
  fc.integer(),
  fc.string(),
);

/** Every place in a value, as the keys that lead there. */
function placesOf(value: unknown, path: readonly string[] = []): (readonly string[])[] {
  if (typeof value !== 'object' || value === null) return [path];
  return [
    path,
    ...Object.entries(value).flatMap(([key, inner]) => placesOf(inner, [...path, key])),
  ];
}

function changeAt(
  value: Json,
  path: readonly string[],
  change: (parent: Json, key: string) => void,
): Json {
  const copy = structuredClone(value);
  const parent = path.slice(0, -1).reduce((inner, key) => inner[key] as Json, copy);
  change(parent, path.at(-1) ?? '');
  return copy;
}

/**
 * The bytes of a file that held `text`, with one fault: bits, its end, zeros, fields, values, other
 * text.
 */
export function damaged(text: string): fc.Arbitrary<Buffer> {
  const bytes = Buffer.from(text);
  const json = JSON.parse(text) as Json;
  const path = fc.constantFrom(...placesOf(json).filter(({ length }) => length > 0));
  const at = fc.nat(bytes.length - 2);
  const fromJson = (changed: unknown): Buffer => Buffer.from(JSON.stringify(changed));
  return fc.oneof<fc.Arbitrary<Buffer>[]>(
    fc.tuple(at, fc.integer({ min: 1, max: 255 })).map(([offset, mask]) => {
      const flipped = Buffer.from(bytes);
      flipped[offset] = (flipped[offset] ?? 0) ^ mask;
      return flipped;
    }),
    at.map((length) => bytes.subarray(0, length)),
    fc
      .tuple(at, fc.integer({ min: 1, max: 64 }))
      .map(([offset, count]) =>
        Buffer.concat([
          bytes.subarray(0, offset),
          Buffer.alloc(count),
          bytes.subarray(offset + count),
        ]),
      ),
    path.map((keys) => fromJson(changeAt(json, keys, (parent, key) => delete parent[key]))),
    fc.tuple(path, strangeValues).map(([keys, value]) =>
      fromJson(
        changeAt(json, keys, (parent, key) => {
          parent[key] = value;
        }),
      ),
    ),
    fc
      .tuple(fc.constantFrom(...Object.keys(json)), strangeValues)
      .map(([key, value]) =>
        Buffer.from(
          `${text.trimEnd().slice(0, -1)},${JSON.stringify(key)}:${JSON.stringify(value)}}`,
        ),
      ),
    fc.nat(40).map((depth) => Buffer.from(`${'['.repeat(depth)}${']'.repeat(depth)}`)),
    fc
      .constantFrom('', ' ', 'null', '[]', '{}', '{"recordVersion":1}', '{"recordVersion":2}')
      .map((text) => Buffer.from(text)),
  );
}
