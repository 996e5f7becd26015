// Is a list of features what it claims to be? `probe --json` and `status --json` have the same, and
// the helper that is asked may be of another release.

import type { ProbeItem } from './messages.ts';
import { booleanOf, fail, fieldsOf, stringOf } from './validate.ts';

const TEXTS = ['name', 'found', 'neededFor', 'withoutIt'] as const;

/**
 * Checks a list of items; throws ShapeError that names the field. What else an item has is of no
 * account.
 */
export function checkProbeItems(value: unknown): asserts value is readonly ProbeItem[] {
  if (!Array.isArray(value)) fail('features', 'an array', value);
  for (const [index, entry] of value.entries()) {
    const item = fieldsOf(entry, `features[${index}]`);
    for (const name of TEXTS) stringOf(item, name);
    const ok = booleanOf(item, 'ok');
    if (item['remedy'] !== undefined) stringOf(item, 'remedy');
    const there = item['there'] === undefined ? undefined : booleanOf(item, 'there');
    if (there === true && !ok) fail('ok', 'true of what is there', ok);
  }
}
