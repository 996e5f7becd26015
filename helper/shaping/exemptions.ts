// Addresses to and from which no cap counts: the node's list, and those of attachments, which both of their aggregates have.

import { EXEMPT_NODE, EXEMPT_OWN } from '../wire/aggregate.ts';
import { encodeExemption, encodeExemptionKey, NODE_LIST, parseExemption } from '../wire/exemption.ts';
import { aggregateIdOf, DIRECTIONS } from './effective.ts';
import type { Datapath } from './datapath.ts';
import type { AttachmentRecord } from './records.ts';

/** Which lists the packets of an attachment are looked up in: bits of AggregateConfig.exemptions. */
export function exemptionListsOf({ exempt = [] }: AttachmentRecord, nodeExempt: readonly string[]): number {
  return (exempt.length > 0 ? EXEMPT_OWN : 0) | (nodeExempt.length > 0 ? EXEMPT_NODE : 0);
}

/** The entries of the map exemptions: values by keys, of both a character for each byte. The same prefix twice is one. */
export type ExemptionEntries = ReadonlyMap<string, string>;

function addEntries(entries: Map<string, string>, list: number, texts: readonly string[]): void {
  for (const text of texts) {
    const exemption = parseExemption(text);
    const key = encodeExemptionKey(list, exemption).toString('latin1');
    entries.set(key, encodeExemption(exemption).toString('latin1'));
  }
}

function addAttachment(entries: Map<string, string>, record: AttachmentRecord): void {
  for (const direction of DIRECTIONS) {
    const id = aggregateIdOf(record, direction);
    if (id !== undefined) addEntries(entries, id, record.exempt ?? []);
  }
}

/** Entries of an attachment's own list, for each of its aggregates. Throws RangeError for what is no CIDR. */
export function attachmentEntries(record: AttachmentRecord): ExemptionEntries {
  const entries = new Map<string, string>();
  addAttachment(entries, record);
  return entries;
}

/** All entries of the node. */
export function nodeEntries(
  records: readonly AttachmentRecord[],
  nodeExempt: readonly string[],
): ExemptionEntries {
  const entries = new Map<string, string>();
  addEntries(entries, NODE_LIST, nodeExempt);
  for (const record of records) addAttachment(entries, record);
  return entries;
}

/** Turns entries into others: what both have alike stays untouched. Additions first: nothing exempt is capped meanwhile. */
export function replaceExemptions(
  datapath: Datapath,
  former: ExemptionEntries,
  wanted: ExemptionEntries,
): void {
  datapath.writeExemptions([...wanted].filter(([key, value]) => former.get(key) !== value));
  datapath.removeExemptions([...former.keys()].filter((key) => !wanted.has(key)));
}
