// A generator that takes fast-check a second and a half and 200 MB to make, for it lists all of
// Unicode: apart from arbitraries.ts, so that who needs none does without.

import fc from 'fast-check';

/** Text that a C string can hold. */
export const text = fc
  .string({ unit: 'binary', maxLength: 40 })
  .filter((value) => !value.includes('\0'));
