// The node as it should be beside the node as it is: what every operation of the shaper begins with.

import type { Link } from '../kernel/links.ts';
import type { ExitStatus } from '../protocol/messages.ts';
import { TC_H_ROOT } from '../wire/tc-message.ts';
import type { Datapath } from './datapath.ts';
import { qdiscProblems } from './exit-qdiscs.ts';
import { findUplinks, observe } from './observe.ts';
import { placeOf, plan, shapedDevices, type Desired, type Observed, type Plan } from './plan.ts';
import { problemsOf } from './problems.ts';
import type { NodeDefaults } from './rates.ts';
import type { AttachmentRecord } from './records.ts';
import type { Store } from './store.ts';

/** What a view is taken of. */
export interface Node {
  readonly datapath: Datapath;
  readonly store: Store;
  /** Names of uplinks; `auto` stands for the devices of the default routes. */
  readonly uplinks: readonly string[];
  readonly defaults: NodeDefaults;
}

export interface View {
  readonly desired: Desired;
  readonly observed: Observed;
  readonly plan: Plan;
  readonly shaped: ReadonlySet<number>;
  readonly missingUplinks: readonly string[];
}

/**
 * Desired and observed state of some attachments and of the exits, which always answer for all attachments.
 * With all attachments in it, the view also takes in every device where something of ours was ever left.
 */
export async function takeView(
  { datapath, store, uplinks: names, defaults }: Node,
  scope: readonly AttachmentRecord[],
  alsoIndexes: readonly number[] = [],
): Promise<View> {
  const all = store.readAttachments();
  const needsExits = all.some(({ egressAggregateId }) => egressAggregateId !== undefined);
  const { uplinks, missing } = await findUplinks(datapath.rt, names);
  const exitIndexes = needsExits ? uplinks.map(({ index }) => index) : [];
  const desired: Desired = { attachments: scope, exitIndexes, defaults };
  const exitRecords = store.readExits();
  const indexes = new Set([
    ...exitIndexes,
    ...scope.map((record) => record.hostInterfaceIndex),
    ...alsoIndexes,
  ]);
  const elsewhere = new Set(all.map(({ hostInterfaceIndex }) => hostInterfaceIndex));
  for (const { ifindex } of exitRecords) if (!elsewhere.has(ifindex)) indexes.add(ifindex);
  if (scope.length === all.length) {
    for (const { ifindex } of datapath.hooks.knownPlaces()) indexes.add(ifindex);
    for (const ifindex of datapath.hostInterfaceIndexes()) indexes.add(ifindex);
  }
  const observed = await observe(datapath, desired, indexes, exitRecords);
  const shaped = shapedDevices(desired);
  return { desired, observed, plan: plan(desired, observed), shaped, missingUplinks: missing };
}

/** Every reason why a cap in the view is not enforced as it should be. */
export function viewProblems(view: View): string[] {
  const problems = problemsOf(view.plan, view.observed, view.shaped);
  for (const name of view.missingUplinks) problems.push(`The uplink "${name}" is not there`);
  const needsExit = view.desired.attachments.some(({ egressAggregateId }) => egressAggregateId !== undefined);
  if (needsExit && view.desired.exitIndexes.length === 0) problems.push('The node has no uplink');
  for (const { hostInterface, hostInterfaceIndex } of view.desired.attachments) {
    if (!view.observed.devices.has(hostInterfaceIndex)) problems.push(`${hostInterface} is gone`);
  }
  return problems;
}

/** An exit as `status` reports it. */
export function exitStatus(uplink: Link, { observed, desired }: View): ExitStatus {
  const device = observed.devices.get(uplink.index);
  const isUsed = desired.exitIndexes.includes(uplink.index);
  const qdiscs = device?.qdiscs ?? [];
  const root = qdiscs.find(({ parent }) => parent === TC_H_ROOT);
  const leaves = qdiscs.filter(
    ({ parent }) => parent !== TC_H_ROOT && parent >>> 16 === (root?.handle ?? 0) >>> 16,
  );
  return {
    name: uplink.name,
    ifindex: uplink.index,
    queues: uplink.numTxQueues,
    rootQdisc: root?.kind ?? 'none',
    leafQdiscs: leaves.map(({ kind }) => kind),
    departureProgram: observed.programs.get(placeOf({ ifindex: uplink.index, hook: 'egress' })) === 'depart',
    problems: isUsed && device !== undefined ? qdiscProblems(device) : [],
  };
}
