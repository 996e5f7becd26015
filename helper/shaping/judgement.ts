// The one judgement behind `list`, `status` and CHECK: what is wrong on the node, and whom each
// fault concerns. Pure.
//
// A direction of an attachment is enforced when no problem concerns it. What concerns whom:
//
// - An exit, the devices that hold its packets, and what it is known to add to them: the egress of
//   every attachment that can leave by it. That is every one with an egress cap: any pod may send
//   by any way off the node and to any other pod. A way into a pod of podpace's own does not
//   concern what that pod sends: it does not leave by its own interface.
// - The classifier and the sender's half of a host interface's map entry: the egress of that
//   attachment.
// - The receiver's half of that entry, the program at the host interface's egress and the qdisc
//   there: the ingress of that attachment. Program and qdisc are a way into a pod as well, see
//   above.
// - The configuration of an aggregate: its own direction. A page of state: every aggregate that
//   stands in it.
// - The program behind ingress caps: every ingress with a cap. Exempt addresses: who has the list;
//   the node's: every cap.
// - A way of the pod that cannot be held: both directions of that attachment, where they have caps.
// - Host routing out of a pod: its egress, into it: its ingress, also where these are not capped:
//   it was asked for.
//
// A fault that concerns nobody is no problem: a way into the only pod with a cap, for example, by
// which only packets without a cap come.

import { keyOf, type AttachmentKey, type Direction } from '../protocol/messages.ts';
import { aggregateIdOf, DIRECTIONS } from './effective.ts';
import type { ProblemCode } from '../protocol/problem-codes.ts';
import type { AttachmentRecord } from './records.ts';

/** Whom a problem concerns. */
export type Scope =
  /**
   * The node, whatever its attachments are: a cap asked for now would be refused, or something
   * cannot be read.
   */
  | { readonly of: 'node' }
  | AttachmentScope
  /**
   * The egress of every attachment with a cap on it, but for one. Not a list: a thousand ways into
   * pods concern a thousand.
   */
  | { readonly of: 'senders'; readonly except?: AttachmentKey };

/** One direction of an attachment. */
export interface AttachmentScope {
  readonly of: 'attachment';
  readonly key: AttachmentKey;
  readonly direction: Direction;
}

/** Something that is not as it has to be. */
export interface Problem {
  /** Its kind; of sentences that are the same, the same. */
  readonly code: ProblemCode;
  /** A sentence for people, with a remedy where there is one beside waiting for the next repair. */
  readonly text: string;
  /** Where: a device, an aggregate, a file; `node` for all of it. */
  readonly place: string;
  readonly scopes: readonly Scope[];
}

/**
 * What is wrong with an attachment, a list of sentences for each direction that something concerns.
 */
export type ProblemsByDirection = { readonly [D in Direction]?: readonly string[] };

/** A problem of the node and of no attachment. */
export function nodeProblem(text: string): Problem {
  return { code: 'node-fault', text, place: 'node', scopes: [{ of: 'node' }] };
}

/** The directions of an attachment that have a cap; none without an attachment. */
export function cappedDirections(record: AttachmentRecord | undefined): AttachmentScope[] {
  if (record === undefined) return [];
  return DIRECTIONS.filter((direction) => aggregateIdOf(record, direction) !== undefined).map(
    (direction) => ({
      ...{ of: 'attachment', key: record, direction },
    }),
  );
}

/** Each sentence once, with all whom it concerns. */
function merged(problems: readonly Problem[]): Problem[] {
  return [...Map.groupBy(problems, ({ text }) => text).values()].flatMap((same) => {
    const [first] = same;
    return first === undefined ? [] : [{ ...first, scopes: same.flatMap(({ scopes }) => scopes) }];
  });
}

/** Problems by whom they concern, so that a thousand attachments can be asked after. */
export class Judgement {
  /** All that concern anybody, in their order, none twice. */
  readonly problems: readonly Problem[];
  readonly #own = new Map<string, Record<Direction, string[]>>();
  /** What concerns all senders but for one, by the sentence: that one's key. */
  readonly #senders = new Map<string, string | undefined>();

  /** `attachments`: all that are on the node. */
  constructor(problems: readonly Problem[], attachments: readonly AttachmentRecord[]) {
    const senders = attachments.filter(({ egressAggregateId }) => egressAggregateId !== undefined);
    const keys = new Set(senders.map(keyOf));
    const isAnybody = (scope: Scope): boolean =>
      scope.of !== 'senders' ||
      keys.size > (scope.except !== undefined && keys.has(keyOf(scope.except)) ? 1 : 0);
    const concerning = problems.filter(({ scopes }) => scopes.some(isAnybody));
    this.problems = merged(concerning);
    for (const { text, scopes } of concerning) for (const scope of scopes) this.#note(text, scope);
  }

  /** What is wrong on the node: the problems of all attachments, and its own. */
  get texts(): string[] {
    return this.problems.map(({ text }) => text);
  }

  /**
   * What concerns an attachment, by direction; its own faults before those of ways that all leave
   * by.
   */
  of(record: AttachmentKey & Pick<AttachmentRecord, 'egressAggregateId'>): ProblemsByDirection {
    const key = keyOf(record);
    const { egress = [], ingress = [] } = this.#own.get(key) ?? {};
    const shared: string[] = [];
    if (record.egressAggregateId !== undefined)
      for (const [text, except] of this.#senders) if (except !== key) shared.push(text);
    const sending = united([...new Set(egress)], shared);
    const receiving = [...new Set(ingress)];
    return {
      ...(sending.length > 0 && { egress: sending }),
      ...(receiving.length > 0 && { ingress: receiving }),
    };
  }

  /** The directions that something concerns: without a list of what. */
  directionsOf(record: AttachmentKey & Pick<AttachmentRecord, 'egressAggregateId'>): Direction[] {
    const key = keyOf(record);
    const { egress = [], ingress = [] } = this.#own.get(key) ?? {};
    const isSender = record.egressAggregateId !== undefined;
    const isConcerned = {
      egress: egress.length > 0 || (isSender && this.#hasShared(key)),
      ingress: ingress.length > 0,
    };
    return DIRECTIONS.filter((direction) => isConcerned[direction]);
  }

  #hasShared(key: string): boolean {
    for (const except of this.#senders.values()) if (except !== key) return true;
    return false;
  }

  #note(text: string, scope: Scope): void {
    if (scope.of === 'node') return;
    if (scope.of === 'senders') {
      const except = scope.except === undefined ? undefined : keyOf(scope.except);
      // Without one for one of the two it concerns all.
      const isOther = this.#senders.has(text) && this.#senders.get(text) !== except;
      this.#senders.set(text, isOther ? undefined : except);
      return;
    }
    const key = keyOf(scope.key);
    const own = this.#own.get(key) ?? { egress: [], ingress: [] };
    own[scope.direction].push(text);
    this.#own.set(key, own);
  }
}

/** What concerns either direction, each sentence once. */
export function bothDirections({ egress = [], ingress = [] }: ProblemsByDirection): string[] {
  return united(egress, ingress);
}

/**
 * One list of those in either, none of which has a sentence twice: those of the shorter are looked
 * up in the longer one.
 */
function united(first: readonly string[], second: readonly string[]): string[] {
  if (second.length < first.length) {
    const rest = new Set(second);
    for (const text of first) rest.delete(text);
    return [...first, ...rest];
  }
  const known = new Set(first);
  return [...first, ...second.filter((text) => !known.has(text))];
}
