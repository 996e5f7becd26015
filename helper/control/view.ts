// The node as it should be beside the node as it is: what every operation of the shaper begins
// with.

import type { Link } from '../kernel/links.ts';
import { isReversePathStrict } from '../kernel/sysctl.ts';
import { keyOf, type ExitStatus } from '../protocol/messages.ts';
import { addedBytes, AGGREGATE_ID_NONE } from '../wire/aggregate.ts';
import { nameOfPlace } from '../wire/hook-place.ts';
import { remedies } from '../protocol/remedies.ts';
import { TC_H_ROOT } from '../wire/tc-message.ts';
import { aggregateIdsInUse, type Orphan } from '../shaping/aggregate-ids.ts';
import { aggregatesOf } from '../shaping/aggregates.ts';
import type { Datapath } from './datapath.ts';
import {
  planExitQdiscs,
  qdiscProblems,
  type ForeignQdisc,
  type ObservedExit,
  type QdiscPolicy,
} from '../shaping/holder-qdiscs.ts';
import { policyAt } from '../shaping/former-plugin.ts';
import { isUpper, type Exit, type UplinkNames } from '../shaping/exits.ts';
import { desiredOffload } from '../shaping/gso.ts';
import { isArrival } from '../shaping/host-routing.ts';
import { orphanProblem } from './orphans.ts';
import { observe, observeExits, type ObservedExits } from './observe.ts';
import type { DesiredPolicing, NodeTraffic } from '../shaping/policing.ts';
import { Judgement, nodeProblem, type Problem } from '../shaping/judgement.ts';
import { plan, type Desired } from '../shaping/plan.ts';
import { problemsOf, type Looked } from '../shaping/problems.ts';
import type { Precedence } from '../shaping/precedence.ts';
import type { CapRule } from '../shaping/cap-rules.ts';
import type { NodeSettings } from '../shaping/rates.ts';
import {
  hostInterfaceIndexesOf,
  type AttachmentRecord,
  type Change,
  type Wish,
} from '../shaping/records.ts';
import type { Store } from './store.ts';

/** What a view is taken of. */
export interface Node extends NodeSettings {
  readonly datapath: Datapath;
  readonly store: Store;
  /** Names of uplinks; `auto` stands for the devices of the default routes. */
  readonly uplinks: readonly string[];
  readonly foreignQdisc: ForeignQdisc;
  /** Whether what pods send to the node itself belongs to their caps. */
  readonly nodeTraffic: NodeTraffic;
  /** Charged for each packet that a process reads from a tun or tap. */
  readonly tunOverheadBytes: number;
  /** What the operator says of caps by namespace; absent: nothing. */
  readonly capRules?: readonly CapRule[];
  /** What is wrong for another reason than the state of devices and maps. */
  readonly standingProblems?: () => readonly Problem[];
  /** As they were when the whole node was last looked at. */
  readonly orphans: readonly Orphan[];
  /** Attachments that have no cap and are to have one, in the order of their keys. */
  readonly wishes: readonly Wish[];
  /** Where podpace has stepped in front of others. */
  readonly precedence: Precedence;
}

export interface View extends Looked {
  /** All exits that must hold caps, also those that the view says nothing else of. */
  readonly exits: readonly Exit[];
  /** All exits that there are, whether or not a cap needs them. */
  readonly nodeExits: readonly Exit[];
  readonly hasHostRouting: boolean;
  /**
   * Uplinks on which packets to pods with host routing come in by the stack: it checks where they
   * come from.
   */
  readonly strictUplinks: readonly Exit[];
  /** What there is to say of the uplinks that were named. */
  readonly uplinkNames: UplinkNames;
}

/** How much of the node a view takes in besides its attachments. */
export interface ViewScope {
  /** Further devices. */
  readonly devices?: readonly number[];
  /**
   * Exits into pods that are not of the view's attachments: a thousand, perhaps, on which nothing
   * has changed. Without them a view says nothing about those.
   */
  readonly hasOtherPods: boolean;
  /**
   * Ways off the node; true when absent. Without them too, a view is of `devices` and of what is
   * new.
   */
  readonly hasUplinks?: boolean;
  /** Exits that no cap needs are looked at too: `status` tells of them. */
  readonly hasIdleExits?: boolean;
  /** What is about to change: what attachments had and nobody has now is to go. */
  readonly changes?: readonly Change[];
  /** All devices of the node, where they have just been listed for another reason. */
  readonly links?: readonly Link[];
  /**
   * A view of the whole node takes the devices and qdiscs that the kernel's events have told of,
   * where others have them listed anew.
   */
  readonly isTold?: boolean;
}

/** All exits of the node as they are now, whether or not a cap needs them. */
function observeNodeExits(
  { datapath, store, uplinks, orphans, tunOverheadBytes }: Node,
  listed: readonly Link[],
): Promise<ObservedExits> {
  const attached = store.readAttachments().flatMap(hostInterfaceIndexesOf);
  const known = {
    uplinks,
    tunOverheadBytes,
    hostInterfaces: new Set([...attached, ...orphans.map(({ ifindex }) => ifindex)]),
    equipped: new Set(store.readExits().map(({ ifindex }) => ifindex)),
  };
  return observeExits(datapath, known, listed);
}

/**
 * Desired and observed state of some attachments, which must be in the store, and of the exits,
 * which always answer for all attachments.
 */
export async function takeView(
  node: Node,
  attachments: readonly AttachmentRecord[],
  scope: ViewScope,
): Promise<View> {
  const { hasOtherPods, hasUplinks = true, hasIdleExits = false, links: listed } = scope;
  const { devices = [], changes = [], isTold = false } = scope;
  const former = changes.flatMap((change) => change.former ?? []);
  const { datapath, store, foreignQdisc, exempt, orphans } = node;
  const all = store.readAttachments();
  const isWhole = hasOtherPods && attachments.length === all.length;
  const { devices: watch } = datapath;
  const isAnew = isWhole && !isTold;
  const present = listed ?? (isAnew ? await watch.listLinks() : await watch.links());
  const { exits, links, unusable, unnamed, unrouted } = await observeNodeExits(node, present);
  const needsExits = hasEgressCap(all, orphans);
  const idle = hasIdleExits ? exits.flatMap(({ ifindex, holders }) => [ifindex, ...holders]) : [];
  const own = new Set([
    ...[...attachments, ...former].flatMap(hostInterfaceIndexesOf),
    ...[...devices, ...idle],
  ]);
  const needed = needsExits ? exits : [];
  const exitRecords = store.readExits();
  const equipped = new Set(exitRecords.map(({ ifindex }) => ifindex));
  const chosen = needed.filter(({ role, ifindex, holders }) => {
    if (role === 'pod' ? hasOtherPods : hasUplinks) return true;
    const isNew = !holders.every((holder) => equipped.has(holder));
    return isNew || own.has(ifindex) || holders.some((holder) => own.has(holder));
  });
  const { arrivals, strictUplinks } = arrivalsOf(all, exits);
  const taken = arrivals.filter((ifindex) => hasUplinks || own.has(ifindex));
  const places = new Set([...own, ...taken, ...chosen.map(({ ifindex }) => ifindex)]);
  const holders = new Set(chosen.flatMap((exit) => exit.holders));
  const others = new Set([
    ...all.flatMap(hostInterfaceIndexesOf),
    ...needed.flatMap((exit) => exit.holders),
  ]);
  for (const { ifindex } of exitRecords) if (!others.has(ifindex)) places.add(ifindex);
  // With everything in it, it also takes in every device where something of ours was ever left.
  if (isWhole) {
    for (const { ifindex } of datapath.hooks.knownPlaces()) places.add(ifindex);
    for (const ifindex of datapath.maps.hostInterfaces.keys()) places.add(ifindex);
    for (const ifindex of datapath.maps.upperExits.keys()) places.add(ifindex);
  }
  // Whatever is said of a device is said of all that it is to anybody: an exit, and the host
  // interface of an attachment.
  const concerned = all.filter((record) =>
    hostInterfaceIndexesOf(record).some((ifindex) => places.has(ifindex)),
  );
  const desired: Desired = {
    ...{ attachments: concerned, exits: chosen, foreignQdisc, exempt, orphans },
    aggregates: aggregatesOf(sharing(all, [...concerned, ...former]), node, changes),
    arrivals: arrivals.filter((ifindex) => places.has(ifindex)),
    contested: node.precedence.contested(),
    offload: changes.flatMap((change) => desiredOffload(node, change)),
    ...desiredPolicing(node),
  };
  const observed = await observe(
    datapath,
    desired,
    { links, places, holders, isWhole, isTold, former },
    exitRecords,
  );
  return {
    ...{ desired, observed, plan: plan(desired, observed), exits: needed, nodeExits: exits },
    ...{ strictUplinks, uplinkNames: { unusable, unnamed, unrouted } },
    hasHostRouting: all.some(({ hostRouting }) => hostRouting !== undefined),
  };
}

/** Those that have an aggregate of some attachments. */
function sharing(
  all: readonly AttachmentRecord[],
  some: readonly AttachmentRecord[],
): AttachmentRecord[] {
  const ids = aggregateIdsInUse(some);
  return all.filter((record) => [...aggregateIdsInUse([record])].some((id) => ids.has(id)));
}

/** Whether something is capped on its way out, so that every exit has to hold packets. */
export function hasEgressCap(
  attachments: readonly AttachmentRecord[],
  orphans: readonly Orphan[],
): boolean {
  return (
    attachments.some(({ egressAggregateId }) => egressAggregateId !== undefined) ||
    orphans.some(({ egressId }) => egressId !== AGGREGATE_ID_NONE)
  );
}

/** What the maps are to hold of some attachments, as they are given, and exits. */
export function desiredMaps(
  node: Node,
  attachments: readonly AttachmentRecord[],
  exits: readonly Exit[],
): Desired {
  const { foreignQdisc, exempt, orphans } = node;
  const given = new Map(attachments.map((record) => [keyOf(record), record]));
  const all = node.store.readAttachments().map((record) => given.get(keyOf(record)) ?? record);
  return {
    ...{ attachments, exits, arrivals: [], foreignQdisc, exempt, orphans },
    aggregates: aggregatesOf(sharing(all, attachments), node),
    ...desiredPolicing(node),
  };
}

/** What is to be of what pods send to the node itself. */
export function desiredPolicing({ nodeTraffic, datapath, store, orphans }: Node): DesiredPolicing {
  if (nodeTraffic === 'free' || !hasEgressCap(store.readAttachments(), orphans)) return {};
  const { refusal } = datapath.policing;
  return refusal === undefined ? { policesNode: true } : { policingRefusal: refusal };
}

/**
 * Exits on which packets to pods are taken in: all that can be, once an attachment has host
 * routing.
 */
function arrivalsOf(
  attachments: readonly AttachmentRecord[],
  exits: readonly Exit[],
): { readonly arrivals: readonly number[]; readonly strictUplinks: readonly Exit[] } {
  if (!attachments.some(({ hostRouting }) => hostRouting !== undefined))
    return { arrivals: [], strictUplinks: [] };
  const able = exits.filter(isArrival);
  const strictUplinks = able.filter(({ name }) => isReversePathStrict(name));
  const arrivals = able
    .filter((exit) => !strictUplinks.includes(exit))
    .map(({ ifindex }) => ifindex);
  return { arrivals, strictUplinks };
}

/** Whether a view has a way off the node. */
export function hasUplink({ desired }: Pick<View, 'desired'>): boolean {
  return desired.exits.some(({ role }) => role === 'uplink');
}

/** Everything of the node: what `list`, `status` and CHECK judge by. */
export function takeWholeView(node: Node): Promise<View> {
  const scope = { hasOtherPods: true, hasIdleExits: true, isTold: true };
  return takeView(node, node.store.readAttachments(), scope);
}

/** Nothing is changed at a device that the operator has left out, and no cap holds there. */
function unnamedProblem(name: string): Problem {
  const text = `What pods send by ${name} is not held: routes lead there, and it is not among the uplinks that were named`;
  return { code: 'uplink-unnamed', text, place: name, scopes: [{ of: 'senders' }] };
}

/** Why a cap would be refused that is asked for now, and what was asked for and cannot be. */
function nodeProblems({ nodeExits, observed, desired, uplinkNames }: View): Problem[] {
  const uplinks = nodeExits.filter(({ role }) => role === 'uplink');
  const problems = [
    ...uplinkNames.unusable.map((text) => ({
      ...nodeProblem(text),
      code: 'uplink-unusable' as const,
    })),
    ...uplinkNames.unnamed.map(unnamedProblem),
  ];
  if (uplinks.length === 0) {
    const text = `The node has no uplink: egress caps are neither enforced nor taken; ${remedies.noUplink}`;
    problems.push({
      ...nodeProblem(text),
      code: 'uplink-none',
      scopes: [{ of: 'senders' }, { of: 'node' }],
    });
  }
  const holders = new Set(uplinks.flatMap((uplink) => uplink.holders));
  for (const holder of holders) {
    const device = observed.devices.get(holder);
    const { problem } =
      device === undefined ? {} : planExitQdiscs(device, true, desired.foreignQdisc);
    if (problem !== undefined) problems.push({ ...nodeProblem(problem), code: 'qdisc-foreign' });
  }
  return problems;
}

/** What is wrong with the records, and what the kernel holds that none speaks of. */
export function recordProblems({ datapath, store, orphans }: Node): string[] {
  return [...store.problems(), ...orphans.map((orphan) => orphanProblem(datapath, orphan))];
}

/** What is wrong in a view of the whole node. */
export function judge(node: Pick<Node, 'standingProblems'>, view: View): Judgement {
  const standing = node.standingProblems?.() ?? [];
  return new Judgement(
    [...standing, ...nodeProblems(view), ...problemsOf(view)],
    view.desired.attachments,
  );
}

/**
 * Kinds of the qdiscs in which a device's packets wait: the leaves of its root, or the root itself.
 */
function waitingIn(device: ObservedExit | undefined): string[] {
  const root = device?.qdiscs.find(({ parent }) => parent === TC_H_ROOT);
  if (device === undefined || root === undefined) return ['none'];
  const leaves = device.qdiscs.filter(
    ({ parent }) => parent !== TC_H_ROOT && parent >>> 16 === root.handle >>> 16,
  );
  return leaves.length === 0 ? [] : leaves.map(({ kind }) => kind);
}

/** What keeps an exit from holding packets, or would as soon as a cap needs it. */
function exitProblems(
  holder: ObservedExit,
  isUsed: boolean,
  policy: QdiscPolicy,
): readonly string[] {
  if (isUsed) return qdiscProblems(holder, policy);
  const { problem } = planExitQdiscs(holder, true, policy);
  return problem === undefined ? [] : [problem];
}

/** All exits as `status` reports them. */
export function exitStatuses(view: View): ExitStatus[] {
  const used = new Set(view.desired.exits.map(({ ifindex }) => ifindex));
  return view.nodeExits.map((exit) => exitStatus(exit, view, used));
}

function exitStatus(exit: Exit, view: View, used: ReadonlySet<number>): ExitStatus {
  const { observed, desired, nodeExits } = view;
  const { ifindex, name, kind, role, holders, overhead, certainty = 'known' } = exit;
  const device = observed.devices.get(ifindex);
  const isUsed = used.has(ifindex);
  const below = holders.flatMap((holder) => observed.devices.get(holder) ?? []);
  const program = observed.programs.get(nameOfPlace({ ifindex, hook: 'egress' }));
  return {
    ...{ name, ifindex, kind, role },
    queues: device?.numTxQueues ?? 0,
    overhead: { bytes: overhead === undefined ? 0 : addedBytes(overhead), certainty },
    rootQdisc: device?.qdiscs.find(({ parent }) => parent === TC_H_ROOT)?.kind ?? 'none',
    leafQdiscs: below.flatMap(waitingIn),
    ...(isUpper(exit) && holders[0] !== ifindex && { below: below.map((holder) => holder.name) }),
    arrivalProgram:
      observed.programs.get(nameOfPlace({ ifindex, hook: 'ingressLast' })) === 'arrive',
    departureProgram: program !== undefined && program !== 'stale',
    problems: below.flatMap((holder) =>
      exitProblems(holder, isUsed, policyAt({ ...desired, exits: nodeExits }, holder)),
    ),
  };
}
