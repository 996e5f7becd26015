// Addresses to and from which no cap counts: the node's list, and those of attachments, which both
// of their aggregates have. Pure.

import { EXEMPT_NODE, EXEMPT_OWN } from '../wire/aggregate.ts';
import {
  encodeExemption,
  encodeExemptionKey,
  NODE_LIST,
  parseExemption,
} from '../wire/exemption.ts';
import { ExemptionDigests } from '../wire/exemption-digest.ts';
import type { AttachmentRecord } from './records.ts';

/**
 * Which lists the packets of an attachment are looked up in: bits of AggregateConfig.exemptions.
 */
export function exemptionListsOf(
  { exempt = [] }: AttachmentRecord,
  nodeExempt: readonly string[],
): number {
  return (exempt.length > 0 ? EXEMPT_OWN : 0) | (nodeExempt.length > 0 ? EXEMPT_NODE : 0);
}

/**
 * The entries of the map exemptions: values by keys, of both a character for each byte. The same
 * prefix twice is one.
 */
export type ExemptionEntries = ReadonlyMap<string, string>;

function addEntries(entries: Map<string, string>, list: number, texts: readonly string[]): void {
  for (const text of texts) {
    const exemption = parseExemption(text);
    const key = encodeExemptionKey(list, exemption).toString('latin1');
    entries.set(key, encodeExemption(exemption).toString('latin1'));
  }
}

/**
 * To understand a hundred thousand takes a second: each list once, and those that many pods have of
 * one network.
 */
const knownDigests = new WeakMap<readonly string[], string>();
const DIGESTS_BY_TEXT_MAX = 64;
const digestsByText = new Map<string, string>();

/** Digest of a list that holds these texts, as ExemptionDigests makes it; undefined of none. */
export function digestOf(texts: readonly string[]): string | undefined {
  if (texts.length === 0) return undefined;
  const known = knownDigests.get(texts);
  if (known !== undefined) return known;
  const text = texts.join(' ');
  const digest = digestsByText.get(text) ?? makeDigest(texts);
  if (digestsByText.size >= DIGESTS_BY_TEXT_MAX) digestsByText.clear();
  digestsByText.set(text, digest);
  knownDigests.set(texts, digest);
  return digest;
}

function makeDigest(texts: readonly string[]): string {
  const entries = listEntries(NODE_LIST, texts);
  const digests = new ExemptionDigests();
  digests.add(joined(entries.keys()), joined(entries.values()), entries.size);
  return digests.digests().get(NODE_LIST) ?? '';
}

function joined(texts: Iterable<string>): Buffer {
  return Buffer.from([...texts].join(''), 'latin1');
}

/**
 * The node's list as long as there is memory: what was compared is written next, when it differs.
 */
const nodeEntries = new WeakMap<readonly string[], WeakRef<ExemptionEntries>>();

/** Entries of a list that holds these texts. Throws RangeError for what is no CIDR. */
export function listEntries(list: number, texts: readonly string[]): ExemptionEntries {
  const known = list === NODE_LIST ? nodeEntries.get(texts)?.deref() : undefined;
  if (known !== undefined) return known;
  const entries = new Map<string, string>();
  addEntries(entries, list, texts);
  if (list === NODE_LIST) nodeEntries.set(texts, new WeakRef(entries));
  return entries;
}
