// What `explain` answers: one look at the node, and all of it that concerns one attachment.

import type { AttachmentKey, ExplainResult } from '../protocol/messages.ts';
import { shorten } from '../protocol/cut.ts';
import { explainEntries, secondNetworks } from '../shaping/explain.ts';
import { Judgement } from '../shaping/judgement.ts';
import { isSameAttachment, type UncappedRecord } from '../shaping/records.ts';
import { hostRoutingNotes } from './notices.ts';
import { countersPage, knownAttachment, listItem, wishItem, type Look } from './reports.ts';
import { exitStatuses, type Node } from './view.ts';

/** An attachment is concerned by the faults of all exits that there are: the first say enough. */
const MAX_ENTRIES = 100;

/**
 * `uncapped`: pods without a cap. Rejects with ShapingError `not-found` for an attachment that is
 * one of them, or is not known.
 */
export async function explained(
  node: Node,
  look: Look,
  key: AttachmentKey,
  uncapped: readonly UncappedRecord[],
): Promise<ExplainResult> {
  const { defaults } = node;
  const record = look.records.find((one) => isSameAttachment(one, key));
  const wish = look.wishes.find((one) => isSameAttachment(one, key));
  const known = record ?? wish ?? knownAttachment(node, key);
  const others = [
    ...(await hostRoutingNotes(look.view)),
    ...secondNetworks(known, look.records, uncapped),
  ];
  const beside = new Judgement(others, look.records);
  const entries = explainEntries(known, [look.judgement, look.notes, beside]);
  return {
    attachment:
      record === undefined && wish !== undefined
        ? wishItem(wish, defaults)
        : listItem(knownAttachment(node, key), look.judgement, defaults),
    entries: entries.slice(0, MAX_ENTRIES),
    exits: exitStatuses(look.view)
      .filter(({ role }) => role !== 'pod')
      .map((exit) => ({ ...exit, problems: shorten(exit.problems, 5) })),
    nodeTraffic: look.nodeTraffic,
    exempt: [...(node.exempt ?? []), ...(known.exempt ?? [])].map(String),
    ...(record !== undefined && { counters: countersPage(node, { only: key }).attachments[0] }),
  };
}
