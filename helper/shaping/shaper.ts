// The control of the datapath: attachments come and go, and each time the kernel is brought from what it holds to
// what it should hold. The records are the desired state; nothing else is remembered between calls, so a restart,
// a crash between two steps or a hand that changed something are all the same case: plan again, apply again.

import { findLink, type Link } from '../kernel/links.ts';
import {
  keyOf,
  type AttachmentKey,
  type AttachParams,
  type Cap,
  type ExitStatus,
  type GcParams,
  type ListParams,
  type ListResult,
} from '../protocol/messages.ts';
import { nextAggregateId, aggregateIdsInUse } from './aggregate-ids.ts';
import { TC_H_ROOT } from '../wire/tc-message.ts';
import { applyStep } from './apply.ts';
import type { Datapath } from './datapath.ts';
import { qdiscProblems } from './exit-qdiscs.ts';
import { qdiscFailure, ShapingError } from './failure.ts';
import { limitGso } from './gso.ts';
import { findUplinks, observe } from './observe.ts';
import { placeOf, plan, shapedDevices, type Desired, type Observed, type Plan, type Step } from './plan.ts';
import { problemsOf } from './problems.ts';
import { isSameAttachment, type AttachmentRecord } from './records.ts';
import type { Store } from './store.ts';

/** Attachments in one answer of `list`: each takes some hundred bytes of a message's 64 KiB. */
const LIST_PAGE_LENGTH = 50;

export interface ShaperOptions {
  /** Names of uplinks; `auto` stands for the devices of the default routes. */
  readonly uplinks: readonly string[];
  readonly horizonNs: number;
  readonly log: (level: 'info' | 'warn' | 'error', message: string) => void;
}

interface View {
  readonly desired: Desired;
  readonly observed: Observed;
  readonly plan: Plan;
  readonly shaped: ReadonlySet<number>;
  readonly missingUplinks: readonly string[];
}

export class Shaper {
  readonly #datapath: Datapath;
  readonly #store: Store;
  readonly #options: ShaperOptions;
  #lastAggregateId: number | undefined;
  /** Tail of the queue of operations: they run one after the other. */
  #queue: Promise<unknown> = Promise.resolve();

  constructor(datapath: Datapath, store: Store, options: ShaperOptions) {
    this.#datapath = datapath;
    this.#store = store;
    this.#options = options;
  }

  /** Caps an attachment; called again for the same one it changes its caps. Undoes itself when it fails. */
  attach(params: AttachParams): Promise<void> {
    return this.#exclusively(async () => {
      const link = await this.#hostInterface(params);
      const before = this.#store.readAttachments();
      const former = before.find((record) => isSameAttachment(record, params));
      const others = before.filter((record) => record !== former);
      // An index belongs to one device: whoever else claims it is gone.
      for (const stale of others.filter(({ hostInterfaceIndex }) => hostInterfaceIndex === link.index)) {
        await this.#remove(stale);
      }
      const record = this.#newRecord(params, link, former, before);
      this.#store.writeAttachment(record);
      try {
        await this.#enforce(record, former);
        await limitGso(record, link.mtu, this.#options.log);
      } catch (error) {
        await this.#undoAttach(record, former);
        throw error;
      }
    });
  }

  /** Takes an attachment's caps away. Succeeds for one that is not known. */
  detach(key: AttachmentKey): Promise<void> {
    return this.#exclusively(async () => {
      const record = this.#store.readAttachments().find((candidate) => isSameAttachment(candidate, key));
      if (record !== undefined) await this.#remove(record);
    });
  }

  /** Throws `check-failed` with everything that is missing for an attachment. */
  check(params: AttachParams): Promise<void> {
    return this.#exclusively(async () => {
      const record = this.#store.readAttachments().find((candidate) => isSameAttachment(candidate, params));
      const name = `${params.containerId}/${params.ifname}`;
      if (record === undefined) {
        throw new ShapingError('check-failed', `No cap is known for ${name}`, 'add the pod again');
      }
      const problems = this.#problemsOf(await this.#view([record]));
      if (problems.length === 0) return;
      const remedy = 'podpaced repairs this at its next reconciliation; see podpaced status';
      throw new ShapingError(
        'check-failed',
        `The cap of ${name} is not enforced: ${problems.join('; ')}`,
        remedy,
      );
    });
  }

  /** Removes the attachments of a network that are not to stay, as GcParams says; returns those removed. */
  gc({ network, valid, from, to }: GcParams): Promise<AttachmentKey[]> {
    return this.#exclusively(async () => {
      const staying = new Set(valid.map(keyOf));
      const stale = this.#store.readAttachments().filter((record) => {
        const key = keyOf(record);
        const isAskedFor = (from === undefined || key >= from) && (to === undefined || key < to);
        return record.network === network && isAskedFor && !staying.has(key);
      });
      for (const record of stale) await this.#remove(record);
      return stale.map(({ containerId, ifname }) => ({ containerId, ifname }));
    });
  }

  /** Brings the whole node to its desired state; returns what could not be done. */
  reconcile(): Promise<string[]> {
    return this.#exclusively(async () => {
      await this.#dropVanished();
      const view = await this.#view(this.#store.readAttachments());
      const failures: string[] = [];
      for (const step of view.plan.steps) {
        try {
          await this.#apply(step, view.observed);
        } catch (error) {
          failures.push((error as Error).message);
        }
      }
      return [...failures, ...view.plan.problems.values()];
    });
  }

  /** Exits and outstanding problems, as they are now. */
  status(): Promise<{ exits: ExitStatus[]; problems: string[]; attachments: number }> {
    return this.#exclusively(async () => {
      const attachments = this.#store.readAttachments();
      const { uplinks } = await findUplinks(this.#datapath.rt, this.#options.uplinks);
      const uplinkIndexes = uplinks.map(({ index }) => index);
      const view = await this.#view(attachments, uplinkIndexes);
      const problems = attachments.length === 0 ? [] : this.#problemsOf(view);
      const exits = uplinks.map((uplink) => exitStatus(uplink, view));
      return { exits, problems, attachments: attachments.length };
    });
  }

  /** A page of attachments, each with what is wrong with it. */
  list({ after }: ListParams): Promise<ListResult> {
    return this.#exclusively(async () => {
      const rest = this.#store
        .readAttachments()
        .filter((record) => after === undefined || keyOf(record) > after);
      const page = rest.slice(0, LIST_PAGE_LENGTH);
      const view = await this.#view(page);
      const attachments = page.map((record) => {
        const desired = { ...view.desired, attachments: [record] };
        const own = { desired, plan: plan(desired, view.observed), shaped: shapedDevices(desired) };
        return { ...record, problems: this.#problemsOf({ ...view, ...own }) };
      });
      const last = page.at(-1);
      return rest.length === page.length || last === undefined
        ? { attachments }
        : { attachments, next: keyOf(last) };
    });
  }

  /** Takes everything of podpace off the node and puts back what stood there. */
  uninstall(): Promise<{ restoredExits: string[]; detached: number }> {
    return this.#exclusively(async () => {
      const attachments = this.#store.readAttachments();
      const restoredExits = this.#store.readExits().map(({ name }) => name);
      for (const { containerId, ifname } of attachments)
        this.#store.removeAttachment({ containerId, ifname });
      const view = await this.#view([]);
      for (const step of view.plan.steps) await this.#apply(step, view.observed);
      return { restoredExits, detached: attachments.length };
    });
  }

  #exclusively<T>(operation: () => Promise<T>): Promise<T> {
    const result = this.#queue.then(operation);
    this.#queue = result.catch(() => undefined);
    return result;
  }

  async #hostInterface({ hostInterface }: AttachParams): Promise<Link> {
    const link = await findLink(this.#datapath.rt, { name: hostInterface });
    if (link !== undefined) return link;
    const remedy = 'podpaced must run in the network namespace of the node';
    throw new ShapingError('not-found', `No interface "${hostInterface}" on this node`, remedy);
  }

  #newRecord(
    params: AttachParams,
    link: Link,
    former: AttachmentRecord | undefined,
    all: readonly AttachmentRecord[],
  ): AttachmentRecord {
    const inUse = aggregateIdsInUse(all);
    const idFor = (cap: Cap | undefined, formerId: number | undefined): number | undefined => {
      if (cap === undefined) return undefined;
      if (formerId !== undefined) return formerId;
      const id = nextAggregateId(inUse, this.#lastAggregateId);
      if (id === undefined)
        throw new ShapingError('unenforceable', `All ${inUse.size} aggregates are in use`);
      inUse.add(id);
      this.#lastAggregateId = id;
      this.#datapath.clearAggregate(id);
      return id;
    };
    const egressAggregateId = idFor(params.caps.egress, former?.egressAggregateId);
    const ingressAggregateId = idFor(params.caps.ingress, former?.ingressAggregateId);
    const { containerId, ifname, network, hostInterface, sandbox, caps } = params;
    return {
      ...{ containerId, ifname, network, hostInterface, sandbox, caps },
      hostInterfaceIndex: link.index,
      ...(egressAggregateId === undefined ? {} : { egressAggregateId }),
      ...(ingressAggregateId === undefined ? {} : { ingressAggregateId }),
    };
  }

  async #enforce(record: AttachmentRecord, former: AttachmentRecord | undefined): Promise<void> {
    const formerIndex = former === undefined ? [] : [former.hostInterfaceIndex];
    const view = await this.#view([record], formerIndex);
    const [problem] = view.plan.problems.values();
    if (problem !== undefined) throw new ShapingError('unenforceable', `Cannot enforce the cap: ${problem}`);
    if (record.caps.egress !== undefined && view.desired.exitIndexes.length === 0) {
      const names = view.missingUplinks.length === 0 ? '' : ` (no device ${view.missingUplinks.join(', ')})`;
      throw new ShapingError(
        'unenforceable',
        `Cannot enforce an egress cap: the node has no uplink${names}`,
        'add a default route, or name the uplink with --uplink',
      );
    }
    for (const step of view.plan.steps) await this.#apply(step, view.observed);
  }

  async #undoAttach(record: AttachmentRecord, former: AttachmentRecord | undefined): Promise<void> {
    try {
      if (former === undefined) return await this.#remove(record);
      this.#store.writeAttachment(former);
      await this.#enforce(former, record);
    } catch (error) {
      this.#options.log('error', `Cannot undo a failed attach: ${(error as Error).message}`);
    }
  }

  /** Forgets an attachment first, then takes away what the rest does not need. */
  async #remove(record: AttachmentRecord): Promise<void> {
    this.#store.removeAttachment(record);
    const view = await this.#view([], [record.hostInterfaceIndex]);
    for (const step of view.plan.steps) await this.#apply(step, view.observed);
    for (const id of [record.egressAggregateId, record.ingressAggregateId]) {
      if (id !== undefined) this.#datapath.clearAggregate(id);
    }
  }

  /** Attachments whose host interface is gone have lost everything that could be capped. */
  async #dropVanished(): Promise<void> {
    for (const record of this.#store.readAttachments()) {
      const link = await findLink(this.#datapath.rt, { index: record.hostInterfaceIndex });
      if (link !== undefined) continue;
      this.#options.log(
        'info',
        `${record.hostInterface} is gone: forgetting ${record.containerId}/${record.ifname}`,
      );
      await this.#remove(record);
    }
  }

  /**
   * Desired and observed state of some attachments and of the exits, which always answer for all attachments.
   * With all attachments in it, the view also takes in every device where something of ours was ever left.
   */
  async #view(scope: readonly AttachmentRecord[], alsoIndexes: readonly number[] = []): Promise<View> {
    const all = this.#store.readAttachments();
    const needsExits = all.some(({ egressAggregateId }) => egressAggregateId !== undefined);
    const { uplinks, missing } = await findUplinks(this.#datapath.rt, this.#options.uplinks);
    const exitIndexes = needsExits ? uplinks.map(({ index }) => index) : [];
    const desired: Desired = { attachments: scope, exitIndexes, horizonNs: this.#options.horizonNs };
    const exitRecords = this.#store.readExits();
    const indexes = new Set([
      ...exitIndexes,
      ...scope.map((record) => record.hostInterfaceIndex),
      ...alsoIndexes,
    ]);
    const elsewhere = new Set(all.map(({ hostInterfaceIndex }) => hostInterfaceIndex));
    for (const { ifindex } of exitRecords) if (!elsewhere.has(ifindex)) indexes.add(ifindex);
    if (scope.length === all.length) {
      for (const { ifindex } of this.#datapath.hooks.knownPlaces()) indexes.add(ifindex);
      for (const ifindex of this.#datapath.hostInterfaceIndexes()) indexes.add(ifindex);
    }
    const observed = await observe(this.#datapath, desired, indexes, exitRecords);
    const shaped = shapedDevices(desired);
    return { desired, observed, plan: plan(desired, observed), shaped, missingUplinks: missing };
  }

  #problemsOf(view: View): string[] {
    const problems = problemsOf(view.plan, view.observed, view.shaped);
    for (const name of view.missingUplinks) problems.push(`The uplink "${name}" is not there`);
    const needsExit = view.desired.attachments.some(
      ({ egressAggregateId }) => egressAggregateId !== undefined,
    );
    if (needsExit && view.desired.exitIndexes.length === 0) problems.push('The node has no uplink');
    for (const { hostInterface, hostInterfaceIndex } of view.desired.attachments) {
      if (!view.observed.devices.has(hostInterfaceIndex)) problems.push(`${hostInterface} is gone`);
    }
    return problems;
  }

  async #apply(step: Step, observed: Observed): Promise<void> {
    try {
      await applyStep(this.#datapath, this.#store, step);
    } catch (error) {
      if (step.kind !== 'set-root' && step.kind !== 'set-leaf') throw error;
      const qdisc = step.kind === 'set-root' ? step.qdisc : 'fq';
      throw qdiscFailure(error, observed.devices.get(step.ifindex)?.name ?? String(step.ifindex), qdisc);
    }
  }
}

function exitStatus(uplink: Link, { observed, desired }: View): ExitStatus {
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
