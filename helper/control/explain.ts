// What `explain` answers: one look at the node, and all of it that concerns one attachment.

import type { AttachmentKey, ExplainResult } from '../protocol/messages.ts';
import { shorten } from '../protocol/cut.ts';
import { explainEntries } from '../shaping/explain.ts';
import { isSameAttachment } from '../shaping/records.ts';
import { countersPage, knownAttachment, listItem, wishItem, type Look } from './reports.ts';
import { exitStatuses, type Node } from './view.ts';

/** An attachment is concerned by the faults of all exits that there are: the first say enough. */
const MAX_ENTRIES = 100;

/** Throws ShapingError `not-found` for an attachment without a cap. */
export function explained(node: Node, look: Look, key: AttachmentKey): ExplainResult {
  const { defaults } = node;
  const record = look.records.find((one) => isSameAttachment(one, key));
  const wish = look.wishes.find((one) => isSameAttachment(one, key));
  const known = record ?? wish ?? knownAttachment(node, key);
  const entries = explainEntries(known, [look.judgement, look.notes]);
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
