// Which qdiscs an exit must carry, and what to change when it carries others. Pure.
//
// A multi-queue exit gets `mq` with one `fq` leaf per queue, a single-queue one `fq`. What an
// administrator configured on purpose is not ours to replace: such an exit is reported and the cap
// refused.

import { remedies } from '../protocol/remedies.ts';
import type { FqOptions } from '../wire/fq.ts';
import { TC_H_ROOT } from '../wire/tc-message.ts';
import type { Redirect, XdpProgram } from '../wire/hook-place.ts';
import type { ExitRecord, FormerQdisc } from './records.ts';

/** Handle of every root qdisc that podpace makes, major 7070: how it is known again. */
export const ROOT_HANDLE = 0x7070_0000;

/**
 * Limits at which fq never drops what a clock has charged. fq holds at most horizon x rate bytes
 * per aggregate; the defaults (100 packets per flow, 10,000 in all) are reached by one UDP sender
 * at 100 Mbit/s. The limits are counters, not memory. Without sockets fq sorts by hash: a wide mask
 * keeps pods out of each other's flows. With pacing it would have each TCP socket of the node pace
 * itself, which nobody asked for.
 */
export const LEAF_FQ_OPTIONS = {
  limitPackets: 1_000_000,
  flowLimitPackets: 1_000_000,
  buckets: 4096,
  orphanMask: 65_535,
  pacing: false,
} as const satisfies FqOptions;

/**
 * The same while a device gets its leaves. The kernel takes a device down for each leaf and goes
 * through all buckets of all leaves (mq_graft in net/sched/sch_mq.c, fq_reset in sch_fq.c) with all
 * routing of the node at a stop: 256 queues of 4096 buckets are 268 million of them. Buckets that a
 * leaf gets in its place take nothing down.
 */
export const DRAFT_FQ_OPTIONS = { ...LEAF_FQ_OPTIONS, buckets: 2 } as const satisfies FqOptions;

/** Roots that hold no policy of anybody's, even where somebody put them: replaced and put back. */
const REPLACEABLE_ROOTS: ReadonlySet<string> = new Set([
  'noqueue',
  'mq',
  'pfifo_fast',
  'fq_codel',
  'fq',
  'pfifo',
  'bfifo',
  'sfq',
]);

/**
 * What to do with a qdisc that somebody configured on purpose: leave it, without a cap there, or
 * replace it.
 */
export type ForeignQdisc = 'respect' | 'replace';
export const FOREIGN_QDISC: readonly ForeignQdisc[] = ['respect', 'replace'];

/**
 * The same at one device: `former` is what the CNI bandwidth plugin left there, which is not
 * replaced.
 */
export type QdiscPolicy = ForeignQdisc | 'former';

/** A qdisc as observed, with its fq options decoded when it is one. */
export interface ObservedQdisc extends FormerQdisc {
  readonly fq?: FqOptions;
  /** Somebody gave this fq options of its own. */
  readonly isTuned?: boolean;
}

/** One exit as observed. */
export interface ObservedExit {
  readonly ifindex: number;
  readonly name: string;
  readonly numTxQueues: number;
  readonly qdiscs: readonly ObservedQdisc[];
  /** Filters of others that send packets away; of a look at the whole node only. */
  readonly redirects?: readonly Redirect[];
  readonly xdp?: XdpProgram;
}

/** A change to an exit's qdiscs. */
export type QdiscStep =
  | { readonly kind: 'record-exit'; readonly exit: ExitRecord }
  | { readonly kind: 'set-root'; readonly ifindex: number; readonly qdisc: 'mq' | 'fq' }
  | {
      readonly kind: 'set-leaf';
      readonly ifindex: number;
      readonly parent: number;
      /** With DRAFT_FQ_OPTIONS: others are to be put in place before it gets its own. */
      readonly isDraft?: true;
    };

export interface QdiscPlan {
  readonly steps: readonly QdiscStep[];
  /** Why caps cannot be enforced here; then there are no steps. */
  readonly problem?: string;
}

function rootOf(exit: ObservedExit): ObservedQdisc | undefined {
  return exit.qdiscs.find(({ parent }) => parent === TC_H_ROOT);
}

/** True for a root qdisc that podpace made. */
export function isOurRoot({ parent, handle }: Pick<ObservedQdisc, 'parent' | 'handle'>): boolean {
  return parent === TC_H_ROOT && handle === ROOT_HANDLE;
}

/** True when the root qdisc is one that podpace made. */
export function hasOurRoot(exit: ObservedExit): boolean {
  return exit.qdiscs.some(isOurRoot);
}

/** True when an fq carries every option of LEAF_FQ_OPTIONS. */
export function isOurFq(qdisc: ObservedQdisc): boolean {
  const wanted: FqOptions = LEAF_FQ_OPTIONS;
  const { fq } = qdisc;
  if (qdisc.kind !== 'fq' || fq === undefined) return false;
  return (Object.keys(wanted) as (keyof FqOptions)[]).every((name) => fq[name] === wanted[name]);
}

/**
 * The qdisc of an exit that holds a policy of somebody's: a shaper, or an fq with options of its
 * own.
 */
function foreignQdiscOf(exit: ObservedExit): ObservedQdisc | undefined {
  const root = rootOf(exit);
  if (root === undefined || root.handle === ROOT_HANDLE) return undefined;
  const leaves = exit.qdiscs.filter(
    ({ parent, handle }) => parent >>> 16 === root.handle >>> 16 && handle !== 0,
  );
  return [root, ...leaves].find(
    // With handle 0 it is the kernel's own, of whatever kind net.core.default_qdisc is.
    ({ handle, kind, isTuned }) =>
      handle !== 0 && (!REPLACEABLE_ROOTS.has(kind) || isTuned === true),
  );
}

function leafParents(exit: ObservedExit): number[] {
  return Array.from({ length: exit.numTxQueues }, (_, queue) => ROOT_HANDLE + queue + 1);
}

/** Leaves of our `mq` that are not fq as it has to be. */
function wrongLeaves(exit: ObservedExit): number[] {
  const good = new Set(exit.qdiscs.filter(isOurFq).map(({ parent }) => parent));
  return leafParents(exit).filter((parent) => !good.has(parent));
}

/**
 * What to remember of an exit before it is changed. Qdiscs with handle 0 are the kernel's own
 * defaults.
 */
function formerQdiscsOf(exit: ObservedExit): FormerQdisc[] {
  const root = rootOf(exit);
  // A shaper cannot be read back whole, with its classes, filters and tables: after it the default
  // is put back.
  if (root === undefined || !REPLACEABLE_ROOTS.has(root.kind)) return [];
  const leaves = exit.qdiscs.filter(
    ({ parent, handle }) => parent >>> 16 === root.handle >>> 16 && handle !== 0,
  );
  if (root.handle === 0 && leaves.length === 0) return [];
  return [root, ...leaves].map(({ kind, handle, parent, options }) => ({
    kind,
    handle,
    parent,
    options,
  }));
}

function foreignProblem(
  { name }: ObservedExit,
  { kind, parent }: ObservedQdisc,
  policy: QdiscPolicy,
): string {
  const what = `${name} has a ${kind} ${parent === TC_H_ROOT ? 'root' : 'leaf'} qdisc`;
  return policy === 'former'
    ? `${what}, by which the CNI bandwidth plugin shapes the pod: ${remedies.formerPlugin}`
    : `${what} that somebody configured: ${remedies.foreignQdisc(name)}`;
}

/**
 * Steps that give an exit its qdiscs; none when it has them. `isRecorded`: its former qdiscs are
 * known already.
 */
export function planExitQdiscs(
  exit: ObservedExit,
  isRecorded: boolean,
  policy: QdiscPolicy,
): QdiscPlan {
  const root = rootOf(exit);
  const wantedRoot = exit.numTxQueues > 1 ? 'mq' : 'fq';
  const isOurs = root?.handle === ROOT_HANDLE && root.kind === wantedRoot;
  const foreign = policy === 'replace' ? undefined : foreignQdiscOf(exit);
  if (foreign !== undefined) return { steps: [], problem: foreignProblem(exit, foreign, policy) };
  const steps: QdiscStep[] = [];
  if (!isOurs && !isRecorded) {
    const exitRecord = {
      ifindex: exit.ifindex,
      name: exit.name,
      formerQdiscs: formerQdiscsOf(exit),
    };
    steps.push({ kind: 'record-exit', exit: exitRecord });
  }
  const isWhole = isOurs && (wantedRoot === 'mq' || isOurFq(root));
  if (!isWhole) steps.push({ kind: 'set-root', ifindex: exit.ifindex, qdisc: wantedRoot });
  if (wantedRoot === 'mq') {
    const parents = isOurs ? wrongLeaves(exit) : leafParents(exit);
    const leaves = parents.map((parent) => {
      return { kind: 'set-leaf', ifindex: exit.ifindex, parent } as const;
    });
    if (leaves.length > 1)
      steps.push(...leaves.map((leaf) => ({ ...leaf, isDraft: true }) as const));
    steps.push(...leaves);
  }
  return { steps };
}

/** What is missing of an exit's qdiscs, for CHECK and `status`; empty when whole. */
export function qdiscProblems(exit: ObservedExit, policy: QdiscPolicy): string[] {
  const plan = planExitQdiscs(exit, true, policy);
  if (plan.problem !== undefined) return [plan.problem];
  const root = rootOf(exit);
  return plan.steps.flatMap((step) => {
    if (step.kind === 'set-root') {
      return [
        `${exit.name} has the root qdisc ${root?.kind ?? 'none'} instead of podpace's ${step.qdisc}`,
      ];
    }
    if (step.kind !== 'set-leaf' || step.isDraft === true) return [];
    const queue = step.parent - ROOT_HANDLE;
    const found = exit.qdiscs.find(({ parent }) => parent === step.parent)?.kind ?? 'none';
    return [`${exit.name} queue ${queue} has the leaf qdisc ${found} instead of podpace's fq`];
  });
}
