// What `probe` finds. `probe --json` and `status --json` have the same, and the helper that is
// asked may be of another release.

import { boolean, fail, list, object, optional, text, type Read } from './shape.ts';

const probeItem = object({
  name: text,
  /** Whether caps can be held as far as this goes: it is there, or only useful. */
  ok: boolean,
  /** Absent when it was not tried, for the reason that `found` gives. */
  there: optional(boolean),
  /** What was found. */
  found: text,
  /** A clause that begins with "to". */
  neededFor: text,
  /** What its lack costs. */
  withoutIt: text,
  /** What to do about its lack; absent when it does not lack. */
  remedy: optional(text),
});

/** One thing that caps need, or that podpace uses where it is there. */
export type ProbeItem = Read<typeof probeItem>;

const readItems = list((value, place) => {
  const item = probeItem(value, place);
  return item.there === true && !item.ok ? fail('ok', 'true of what is there', item.ok) : item;
});

/**
 * Checks a list of items; throws ShapeError that names the field. What else an item has is of no
 * account.
 */
export function checkProbeItems(value: unknown): asserts value is readonly ProbeItem[] {
  readItems(value, 'features');
}
