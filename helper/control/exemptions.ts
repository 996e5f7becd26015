// Writes exempt addresses into their map: what is alike stays untouched.

import {
  attachmentEntries,
  digestOf,
  listEntries,
  ownLists,
  type ExemptionEntries,
} from '../shaping/exemptions.ts';
import type { AttachmentRecord } from '../shaping/records.ts';
import type { Datapath } from './datapath.ts';

/** Gives a list the entries that it has to have, whatever it has. */
export function restoreExemptions(
  datapath: Datapath,
  list: number,
  texts: readonly string[],
): void {
  replaceExemptions(datapath, datapath.exemptionEntries(list), listEntries(list, texts));
  datapath.noteExemptionDigest(list, digestOf(texts));
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

/** Puts the lists of an attachment in place of those that it had. */
export function replaceOwnExemptions(
  datapath: Datapath,
  former: AttachmentRecord | undefined,
  next: AttachmentRecord | undefined,
): void {
  const none: ExemptionEntries = new Map();
  replaceExemptions(
    datapath,
    former === undefined ? none : attachmentEntries(former),
    next === undefined ? none : attachmentEntries(next),
  );
  for (const list of ownLists(former).keys()) datapath.noteExemptionDigest(list, undefined);
  for (const [list, texts] of ownLists(next)) datapath.noteExemptionDigest(list, digestOf(texts));
}
