// The way of one pod's packets, station by station, with what the judgement finds at each. Pure.

import type { AttachmentKey, ExplainEntry } from '../protocol/messages.ts';
import { nameOf } from '../protocol/pod-names.ts';
import { CONSEQUENCES, PROBLEM_CODES, STAGES } from '../protocol/problem-codes.ts';
import { bothDirections, type Judgement, type Problem } from './judgement.ts';
import type { AttachmentRecord, UncappedRecord } from './records.ts';

type Explained = Pick<AttachmentRecord, 'containerId' | 'ifname' | 'egressAggregateId'>;

interface Finding {
  readonly problem: Problem;
  /** False of what the node has, and not this attachment. */
  readonly isOwn: boolean;
}

/** Those of the judgement's problems that concern an attachment, or all of the node. */
function findings(record: Explained, judgement: Judgement): Finding[] {
  const own = new Set(bothDirections(judgement.of(record)));
  return judgement.problems.flatMap((problem) => {
    const isOwn = own.has(problem.text);
    const isOfAll = problem.scopes.some((scope) => scope.of === 'node');
    return isOwn || isOfAll ? [{ problem, isOwn }] : [];
  });
}

/**
 * What concerns an attachment, by the judgement and its notes, in the order of the stations. What
 * only follows from another fault is to be known, and no error of its own; so is what is wrong on
 * the node beside the way of its packets.
 */
export function explainEntries(record: Explained, looks: readonly Judgement[]): ExplainEntry[] {
  const found = looks.flatMap((judgement) => findings(record, judgement));
  const following = new Set(found.flatMap(({ problem }) => CONSEQUENCES[problem.code] ?? []));
  const entries = found.map(({ problem: { code, text: message }, isOwn }): ExplainEntry => {
    const { stage, severity, remedy } = PROBLEM_CODES[code];
    const isBeside = following.has(code) || (!isOwn && stage === 'node');
    if (isBeside) return { stage, code, severity: 'info', message };
    return { stage, code, severity, message, ...(remedy !== undefined && { remedy }) };
  });
  return entries.toSorted((a, b) => STAGES.indexOf(a.stage) - STAGES.indexOf(b.stage));
}

/** The other networks of the attachment's pod, each with an interface that this cap is not for. */
export function secondNetworks(
  key: AttachmentKey,
  records: readonly AttachmentRecord[],
  uncapped: readonly UncappedRecord[],
): Problem[] {
  const isBeside = ({ containerId, ifname }: AttachmentKey): boolean =>
    containerId === key.containerId && ifname !== key.ifname;
  const textOf = (other: AttachmentRecord | UncappedRecord, has: string): string =>
    `${nameOf(other)} on the network ${other.network} ${has}: this one is not for what passes there`;
  const capped = records.filter(isBeside);
  const known = new Set(capped.map(({ ifname }) => ifname));
  const bare = uncapped.filter((other) => isBeside(other) && !known.has(other.ifname));
  return [
    ...capped.map((other) => textOf(other, 'has a cap of its own')),
    ...bare.map((other) => textOf(other, 'has no cap')),
  ].map((text) => ({
    code: 'network-second',
    text,
    place: key.containerId,
    scopes: [{ of: 'attachment', key, direction: 'egress' }],
  }));
}
