// Text of any characters. fast-check's own, `unit: 'binary'`, is two seconds and 200 MB at a list
// of all of Unicode before its first text.

import fc from 'fast-check';

/** Surrogates are none by themselves. */
const SURROGATES = { first: 0xd800, count: 0x800 };
const LAST_CHARACTER = 0x10ffff;

/** Any character of Unicode, also one that is not assigned. */
export const character = fc.integer({ min: 0, max: LAST_CHARACTER - SURROGATES.count }).map(
  (number) => String.fromCodePoint(number < SURROGATES.first ? number : number + SURROGATES.count),
  (text) => {
    const point = typeof text === 'string' ? text.codePointAt(0) : undefined;
    if (point === undefined || text !== String.fromCodePoint(point))
      throw new TypeError('Not one character');
    return point < SURROGATES.first ? point : point - SURROGATES.count;
  },
);

/** Text that a C string can hold. */
export const text = fc
  .string({ unit: character, maxLength: 40 })
  .filter((value) => !value.includes('\0'));
