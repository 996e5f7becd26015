// What the operator is told: the node's health, its attachments, their counters. Nothing here
// changes anything.

import {
  keyOf,
  type AttachmentCounters,
  type AttachmentKey,
  type AttachParams,
  type AttachmentStatus,
  type ConcernedAttachment,
  type CountersParams,
  type CountersResult,
  type Direction,
  type DirectionCounters,
  type ExitStatus,
  type ListParams,
  type ListResult,
  type NodeTraffic,
  type PodNames,
  type ProbeItem,
} from '../protocol/messages.ts';
import { remedies } from '../protocol/remedies.ts';
import { shorten } from '../protocol/cut.ts';
import { fitting } from '../protocol/page.ts';
import { nameOf, podNamesOf } from '../protocol/pod-names.ts';
import { booksOf, unaccountedOf } from '../shaping/books.ts';
import { directionCountersOf, type Measured } from '../shaping/counters.ts';
import { aggregateIdOf, DIRECTIONS, effectiveCapsOf } from '../shaping/effective.ts';
import { ShapingError } from '../shaping/failure.ts';
import { formerNotices } from '../shaping/former-plugin.ts';
import { judgeUplinks } from '../shaping/features.ts';
import { burstLimitNotices } from './burst-limit.ts';
import { hostRoutingNotes } from './notices.ts';
import { bothDirections, Judgement, type ProblemsByDirection } from '../shaping/judgement.ts';
import { notesOf } from '../shaping/problems.ts';
import { policingStatus } from '../shaping/policing.ts';
import type { NodeDefaults } from '../shaping/rates.ts';
import {
  hostInterfaceIndexesOf,
  isSameAttachment,
  type AttachmentRecord,
  type Wish,
} from '../shaping/records.ts';
import type { Histories } from './histories.ts';
import type { Store } from './store.ts';
import { exitStatuses, judge, takeWholeView, type Node, type View } from './view.ts';
import { notInForce, wishedDirections } from './wishes.ts';

/** The part of `status` that concerns the datapath. */
export interface NodeStatus {
  /** The item of `probe`. */
  readonly uplink: ProbeItem;
  readonly nodeTraffic: NodeTraffic;
  readonly exits: ExitStatus[];
  readonly problems: string[];
  readonly notices: string[];
  readonly attachments: number;
  readonly notEnforced: ConcernedAttachment[];
}

/** The whole node as it was at one moment, and what is wrong with it. */
export interface Look {
  /** All attachments, in the order of their keys. */
  readonly records: readonly AttachmentRecord[];
  /** What is to be in force and is not. */
  readonly wishes: readonly Wish[];
  readonly view: View;
  readonly judgement: Judgement;
  /** What is to be known of attachments although nothing is known to be wrong with them. */
  readonly notes: Judgement;
  readonly nodeTraffic: NodeTraffic;
  /** When it began, in ms of performance.now(). */
  readonly atMs: number;
}

/** Looks at the whole node: with a thousand attachments some tenths of a second. */
export async function lookAt(node: Node): Promise<Look> {
  const atMs = performance.now();
  const records = node.store.readAttachments();
  const { wishes } = node;
  const view = await takeWholeView(node);
  const notes = new Judgement(notesOf(view), records);
  const nodeTraffic = policingStatus(node.nodeTraffic, node.datapath.policing.refusal);
  return { records, wishes, view, judgement: judge(node, view), notes, nodeTraffic, atMs };
}

/** Exits and outstanding problems, as they are in a look. */
export async function statusOf(look: Look): Promise<NodeStatus> {
  const { view, judgement } = look;
  const exits = exitStatuses(view);
  const unrouted = view.uplinkNames.unrouted.map(
    (name) => `No route leads to the uplink "${name}"`,
  );
  const notices = [
    ...look.notes.texts,
    ...unrouted,
    ...formerNotices(view),
    ...burstLimitNotices(),
    ...(await hostRoutingNotes(view)).map(({ text }) => text),
  ];
  const attachments = allAfter(look, undefined);
  const notEnforced = concernedBy(judgement, attachments);
  const uplink = judgeUplinks(view.nodeExits, view.uplinkNames.unusable);
  const { nodeTraffic } = look;
  return {
    exits,
    uplink,
    nodeTraffic,
    problems: judgement.texts,
    notices,
    attachments: attachments.length,
    notEnforced,
  };
}

/** Attachments that a problem concerns, with the directions, in their order. */
export function concernedBy(
  judgement: Judgement,
  attachments: readonly (AttachmentRecord | Wish)[],
): ConcernedAttachment[] {
  return attachments.flatMap((record) => {
    const directions = judgement.directionsOf(record);
    const { containerId, ifname } = record;
    return directions.length === 0
      ? []
      : [{ containerId, ifname, ...podNamesOf(record), directions }];
  });
}

function directionsOf(problems: ProblemsByDirection): Direction[] {
  return DIRECTIONS.filter((direction) => problems[direction] !== undefined);
}

/**
 * The record of an attachment. Throws ShapingError `not-found`, for one too that is only wished
 * for.
 */
export function knownAttachment(
  { store, wishes }: Pick<Node, 'store' | 'wishes'>,
  key: AttachmentKey,
): AttachmentRecord {
  const record = store.readAttachment(key);
  if (record !== undefined) return record;
  const wish = wishes.find((one) => isSameAttachment(one, key));
  if (wish !== undefined) throw notInForce(wish, 'not-found');
  const badness = store.badnessOf(key);
  if (badness !== undefined) throw new ShapingError('not-found', badness);
  const remedy = remedies.unknownAttachment;
  throw new ShapingError('not-found', `No cap is known for ${nameOf(key)}`, remedy);
}

/** Attachments that one page looks at; how many it holds depends on their size. */
const PAGE_LENGTH = 100;

function remaining(
  records: readonly AttachmentRecord[],
  after: string | undefined,
): AttachmentRecord[] {
  return records.filter((record) => after === undefined || keyOf(record) > after);
}

/**
 * Attachments that are in force or are to be, in the order of their keys; each once, by its record
 * if it has one.
 */
function allAfter(look: Look, after: string | undefined): (AttachmentRecord | Wish)[] {
  const records = remaining(look.records, after);
  const { wishes } = look;
  if (wishes.length === 0) return records;
  const byKey = new Map<string, AttachmentRecord | Wish>();
  for (const one of [...wishes, ...records]) byKey.set(keyOf(one), one);
  return [...byKey]
    .filter(([key]) => after === undefined || key > after)
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([, one]) => one);
}

/** One page, of which `items` are the first of `total` that remain. */
export function pageOf<T extends AttachmentKey>(
  items: readonly T[],
  total: number,
): { attachments: T[]; next?: string } {
  const attachments = fitting(items);
  const last = attachments.at(-1);
  return attachments.length === total || last === undefined
    ? { attachments }
    : { attachments, next: keyOf(last) };
}

/** An attachment is concerned by the faults of all exits that there are: the first say enough. */
const MAX_ITEM_PROBLEMS = 20;

/** An attachment as `list` tells of it. */
export function listItem(
  record: AttachmentRecord,
  judgement: Judgement,
  defaults: NodeDefaults,
  notes?: Judgement,
): AttachmentStatus {
  const { bootId: _boot, netnsCookie: _netns, ...told } = record;
  const problems = judgement.of(record);
  const cut = directionsOf(problems).map((direction) => {
    return [direction, shorten(problems[direction] ?? [], MAX_ITEM_PROBLEMS)] as const;
  });
  const known = notes === undefined ? [] : bothDirections(notes.of(record));
  return {
    ...told,
    effective: effectiveCapsOf(record, defaults),
    problems: shorten(bothDirections(problems), MAX_ITEM_PROBLEMS),
    problemsByDirection: Object.fromEntries(cut),
    ...(known.length > 0 && { notes: shorten(known, MAX_ITEM_PROBLEMS) }),
  };
}

/** An attachment without a cap that is to have one, as `list` tells of it. */
export function wishItem({ reason, ...asked }: Wish, defaults: NodeDefaults): AttachmentStatus {
  return {
    ...asked,
    effective: effectiveCapsOf(asked, defaults),
    problems: [reason],
    problemsByDirection: Object.fromEntries(
      wishedDirections(asked).map((direction) => [direction, [reason]]),
    ),
  };
}

/** Pages after the first go by the same look at the node, if it is not older than this. */
const LOOK_LIFETIME_MS = 2000;

/**
 * The pages of `list`. A thousand attachments come in a dozen pages, and one look at the node
 * serves them all.
 */
export class Lister {
  readonly #node: Pick<Node, 'store' | 'wishes' | 'defaults' | 'datapath'>;
  readonly #takeLook: () => Promise<Look>;
  readonly #histories: Pick<Histories, 'recentOf'>;
  #look: Look | undefined;

  /** `takeLook` gives a look that begins after it was called. */
  constructor(
    node: Pick<Node, 'store' | 'wishes' | 'defaults' | 'datapath'>,
    takeLook: () => Promise<Look>,
    histories: Pick<Histories, 'recentOf'>,
  ) {
    this.#node = node;
    this.#takeLook = takeLook;
    this.#histories = histories;
  }

  /** A page of attachments, each with what is wrong with it. */
  async page({ after }: ListParams): Promise<ListResult> {
    const { defaults } = this.#node;
    const former = after === undefined ? undefined : this.#current();
    const look = former ?? (await this.#takeLook());
    this.#look = look;
    const { judgement, notes } = look;
    const rest = allAfter(look, after);
    const items = rest.slice(0, PAGE_LENGTH).map((one) => {
      if ('reason' in one) return wishItem(one, defaults);
      return {
        ...{ ...listItem(one, judgement, defaults, notes), ...this.#unaccounted(one) },
        recent: this.#histories.recentOf(one),
      };
    });
    return pageOf(items, rest.length);
  }

  #unaccounted({
    egressAggregateId: id,
  }: AttachmentRecord): Pick<AttachmentStatus, 'unaccountedBytes'> {
    if (id === undefined) return {};
    const { datapath } = this.#node;
    return {
      unaccountedBytes: unaccountedOf(datapath.readBook(id), datapath.unseen.bytesOf(id)).bytes,
    };
  }

  #current(): Look | undefined {
    const look = this.#look;
    if (look === undefined || performance.now() - look.atMs >= LOOK_LIFETIME_MS) return undefined;
    // Any change of an attachment has the records read anew.
    const { store, wishes } = this.#node;
    return look.records === store.readAttachments() && look.wishes === wishes ? look : undefined;
  }
}

/** What CHECK says of an attachment; undefined when it is enforced. */
export function checkFailure(
  record: AttachmentRecord,
  judgement: Judgement,
): ShapingError | undefined {
  const problems = judgement.of(record);
  const directions = directionsOf(problems);
  if (directions.length === 0) return undefined;
  return new ShapingError(
    'check-failed',
    `The cap of ${nameOf(record)} (${directions.join(' and ')}) is not enforced: ` +
      shorten(bothDirections(problems), MAX_ITEM_PROBLEMS).join('; '),
    remedies.waitForRepair,
  );
}

/**
 * Interfaces that a list's plugins have made in the sandbox, and that no record tells of: a
 * sentence for each.
 */
function untold(
  record: AttachmentRecord,
  records: readonly AttachmentRecord[],
  { beside = [], unheld = [] }: Pick<AttachParams, 'beside' | 'unheld'>,
): string[] {
  if (beside.length === 0 && unheld.length === 0) return [];
  const held = new Set(records.flatMap(hostInterfaceIndexesOf));
  const told = new Set((record.unheld ?? []).map(({ podInterface }) => podInterface));
  return [
    ...beside.flatMap(({ podInterface, hostInterface, hostInterfaceIndex }) =>
      held.has(hostInterfaceIndex) ? [] : [`${podInterface} (${hostInterface}) does not share it`],
    ),
    ...unheld.flatMap(({ podInterface, reason }) =>
      told.has(podInterface) ? [] : [`${podInterface} does not share it: ${reason}`],
    ),
  ];
}

/** Throws ShapingError `check-failed` with everything that is missing for an attachment. */
export function checkAttachment(
  { records, wishes, judgement }: Look,
  store: Store,
  key: Pick<AttachParams, keyof (AttachmentKey & PodNames) | 'beside' | 'unheld'>,
): void {
  const record = records.find((candidate) => isSameAttachment(candidate, key));
  if (record === undefined) {
    const wish = wishes.find((one) => isSameAttachment(one, key));
    if (wish !== undefined) throw notInForce(wish, 'check-failed');
    const reason = store.badnessOf(key) ?? `No cap is known for ${nameOf(key)}`;
    throw new ShapingError('check-failed', reason, 'add the pod again');
  }
  const failure = checkFailure(record, judgement);
  if (failure !== undefined) throw failure;
  const others = untold(record, records, key);
  if (others.length === 0) return;
  const reason = `The cap of ${nameOf(record)} is not that of all of the pod's interfaces: ${others.join('; ')}`;
  throw new ShapingError('check-failed', reason, remedies.lastInList);
}

function directionCounters(
  { datapath }: Node,
  aggregateId: number | undefined,
  isPerCpu: boolean,
): DirectionCounters | undefined {
  if (aggregateId === undefined) return undefined;
  // The clock first: what moves it in between makes throttled time no shorter.
  const ahead = datapath.readAhead(aggregateId);
  const counters = directionCountersOf(datapath.readCounters(aggregateId), ahead, isPerCpu);
  return {
    ...counters,
    books: booksOf(datapath.readBook(aggregateId), datapath.unseen.bytesOf(aggregateId)),
  };
}

function attachmentCounters(
  node: Node,
  record: AttachmentRecord,
  isPerCpu: boolean,
): AttachmentCounters {
  const { containerId, ifname, hostInterface } = record;
  const [egress, ingress] = DIRECTIONS.map((direction) =>
    directionCounters(node, aggregateIdOf(record, direction), isPerCpu),
  );
  return {
    ...{ containerId, ifname, ...podNamesOf(record), hostInterface },
    ...(egress === undefined ? {} : { egress }),
    ...(ingress === undefined ? {} : { ingress }),
  };
}

/** Attachments with their counters; the judgement says what is wrong with them. */
export function measureAttachments(
  node: Node,
  records: readonly AttachmentRecord[],
  judgement: Judgement,
): Measured[] {
  return records.map((record) => ({
    ...attachmentCounters(node, record, false),
    ...(record.addedAt !== undefined && { addedAt: record.addedAt }),
    effective: effectiveCapsOf(record, node.defaults),
    notEnforced: judgement.directionsOf(record),
  }));
}

/** A page of attachments with their counters, or those of one. */
export function countersPage(
  node: Node,
  { after, only, perCpu = false }: CountersParams,
): CountersResult {
  if (only !== undefined) {
    return { attachments: [attachmentCounters(node, knownAttachment(node, only), perCpu)] };
  }
  const rest = remaining(node.store.readAttachments(), after);
  const items = rest
    .slice(0, PAGE_LENGTH)
    .map((record) => attachmentCounters(node, record, perCpu));
  return pageOf(items, rest.length);
}
