// What the operator is told: the node's health, its attachments, their counters. Nothing here changes anything.

import {
  keyOf,
  type AttachmentCounters,
  type AttachmentKey,
  type CountersParams,
  type CountersResult,
  type DirectionCounters,
  type ExitStatus,
  type ListParams,
  type ListResult,
} from '../protocol/messages.ts';
import { fitting } from '../protocol/page.ts';
import { directionCountersOf } from './counters.ts';
import { aggregateIdOf, DIRECTIONS, effectiveCapsOf, nameOf } from './effective.ts';
import { ShapingError } from './failure.ts';
import { hostRoutingNotices } from './notices.ts';
import { plan } from './plan.ts';
import { isSameAttachment, type AttachmentRecord } from './records.ts';
import type { Store } from './store.ts';
import { exitStatus, observeNodeExits, takeView, viewProblems, type Node } from './view.ts';

/** The part of `status` that concerns the datapath. */
export interface NodeStatus {
  readonly exits: ExitStatus[];
  readonly problems: string[];
  readonly notices: string[];
  readonly attachments: number;
}

/** Exits and outstanding problems, as they are now. */
export async function statusOf(node: Node): Promise<NodeStatus> {
  const attachments = node.store.readAttachments();
  const { exits: found } = await observeNodeExits(node);
  const devices = found.flatMap(({ ifindex, holders }) => [ifindex, ...holders]);
  const view = await takeView(node, attachments, { devices, hasOtherPods: true });
  // Without a cap nothing need stand anywhere; what was asked for and cannot be is wrong all the same.
  const problems = attachments.length === 0 ? view.unusableUplinks : viewProblems(view);
  const exits = found.map((exit) => exitStatus(exit, view));
  const notices = await hostRoutingNotices(view);
  return { exits, problems: [...problems], notices, attachments: attachments.length };
}

/** The record of an attachment. Throws ShapingError `not-found`. */
export function knownAttachment(store: Store, key: AttachmentKey): AttachmentRecord {
  const record = store.readAttachments().find((candidate) => isSameAttachment(candidate, key));
  if (record !== undefined) return record;
  const remedy = 'podpaced list shows the pods that were added with a cap';
  throw new ShapingError('not-found', `No cap is known for ${nameOf(key)}`, remedy);
}

/** Attachments that one page looks at; how many it holds depends on their size. */
const PAGE_LENGTH = 100;

function remaining(store: Store, after: string | undefined): AttachmentRecord[] {
  return store.readAttachments().filter((record) => after === undefined || keyOf(record) > after);
}

/** One page, of which `items` are the first of `total` that remain. */
function pageOf<T extends AttachmentKey>(
  items: readonly T[],
  total: number,
): { attachments: T[]; next?: string } {
  const attachments = fitting(items);
  const last = attachments.at(-1);
  return attachments.length === total || last === undefined
    ? { attachments }
    : { attachments, next: keyOf(last) };
}

/** A page of attachments, each with what is wrong with it. */
export async function listPage(node: Node, { after }: ListParams): Promise<ListResult> {
  const rest = remaining(node.store, after);
  const page = rest.slice(0, PAGE_LENGTH);
  const view = await takeView(node, page, { hasOtherPods: false });
  const items = page.map((record) => {
    const desired = { ...view.desired, attachments: [record] };
    const own = { desired, plan: plan(desired, view.observed) };
    const effective = effectiveCapsOf(record, node.defaults);
    return { ...record, effective, problems: viewProblems({ ...view, ...own }) };
  });
  return pageOf(items, rest.length);
}

function directionCounters(
  { datapath }: Node,
  aggregateId: number | undefined,
  isPerCpu: boolean,
): DirectionCounters | undefined {
  if (aggregateId === undefined) return undefined;
  return directionCountersOf(
    datapath.readCounters(aggregateId),
    datapath.readBacklogNs(aggregateId),
    isPerCpu,
  );
}

function attachmentCounters(node: Node, record: AttachmentRecord, isPerCpu: boolean): AttachmentCounters {
  const { containerId, ifname, hostInterface } = record;
  const [egress, ingress] = DIRECTIONS.map((direction) =>
    directionCounters(node, aggregateIdOf(record, direction), isPerCpu),
  );
  return {
    ...{ containerId, ifname, hostInterface },
    ...(egress === undefined ? {} : { egress }),
    ...(ingress === undefined ? {} : { ingress }),
  };
}

/** A page of attachments with their counters, or those of one. */
export function countersPage(node: Node, { after, only, perCpu = false }: CountersParams): CountersResult {
  if (only !== undefined) {
    return { attachments: [attachmentCounters(node, knownAttachment(node.store, only), perCpu)] };
  }
  const rest = remaining(node.store, after);
  const items = rest.slice(0, PAGE_LENGTH).map((record) => attachmentCounters(node, record, perCpu));
  return pageOf(items, rest.length);
}
