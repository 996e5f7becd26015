// Writes exempt addresses into their map: what is alike stays untouched.

import { digestOf, listEntries, type ExemptionEntries } from '../shaping/exemptions.ts';
import type { Datapath } from './datapath.ts';

/** Gives a list the entries that it has to have, whatever it has. */
export function restoreExemptions(
  datapath: Datapath,
  list: number,
  texts: readonly string[],
): void {
  replaceExemptions(datapath, datapath.exemptionEntries(list), listEntries(list, texts));
  datapath.noteExemptionDigest(list, digestOf(texts), texts);
}

/**
 * Turns entries into others: what both have alike stays untouched. Additions first: nothing exempt
 * is capped meanwhile.
 */
export function replaceExemptions(
  datapath: Datapath,
  former: ExemptionEntries,
  wanted: ExemptionEntries,
): void {
  datapath.writeExemptions([...wanted].filter(([key, value]) => former.get(key) !== value));
  datapath.removeExemptions([...former.keys()].filter((key) => !wanted.has(key)));
}
