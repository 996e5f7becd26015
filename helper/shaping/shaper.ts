// The control of the datapath: attachments come and go, and each time the kernel is brought from what it holds to
// what it should hold. The records are the desired state; nothing else is remembered between calls, so a restart,
// a crash between two steps or a hand that changed something are all the same case: plan again, apply again.

import { findLink, type Link } from '../kernel/links.ts';
import {
  keyOf,
  type AttachmentKey,
  type AttachParams,
  type CountersParams,
  type CountersResult,
  type GcParams,
  type ListParams,
  type ListResult,
  type SetParams,
  type SetResult,
} from '../protocol/messages.ts';
import { Aggregates, hasSameAggregates } from './aggregates.ts';
import { applyStep } from './apply.ts';
import { applySet, effectiveCapIn, nameOf } from './effective.ts';
import { qdiscFailure, ShapingError } from './failure.ts';
import { limitGso } from './gso.ts';
import { observeMaps } from './observe.ts';
import { desiredConfigs, planMaps, type Observed, type ObservedMaps, type Step } from './plan.ts';
import { isSameAttachment, type AttachmentRecord } from './records.ts';
import { repairOf } from './repairs.ts';
import { countersPage, knownAttachment, listPage, statusOf, type NodeStatus } from './reports.ts';
import { takeView, viewProblems, type Node } from './view.ts';

export interface ShaperOptions extends Node {
  readonly log: (level: 'info' | 'warn' | 'error', message: string) => void;
}

export class Shaper {
  readonly #options: ShaperOptions;
  readonly #aggregates: Aggregates;
  /** The first time round, the maps may rightly be of another configuration. */
  #hasReconciled = false;
  /** Tail of the queue of operations: they run one after the other. */
  #queue: Promise<unknown> = Promise.resolve();

  constructor(options: ShaperOptions) {
    this.#options = options;
    this.#aggregates = new Aggregates(options);
  }

  get #datapath(): Node['datapath'] {
    return this.#options.datapath;
  }

  get #store(): Node['store'] {
    return this.#options.store;
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
      const { containerId, ifname, network, hostInterface, sandbox, caps } = params;
      const asked = { containerId, ifname, network, hostInterface, sandbox, caps };
      const wanted = { ...asked, hostInterfaceIndex: link.index };
      const record = await this.#replace(former, wanted, (next) => this.#enforce(next, former));
      await this.#limitGso(former, record, link.mtu);
    });
  }

  /** Changes one direction of a running attachment, or nothing at all when it fails. */
  set(params: SetParams): Promise<SetResult> {
    return this.#exclusively(async () => {
      const former = knownAttachment(this.#store, params);
      const link = await findLink(this.#datapath.rt, { index: former.hostInterfaceIndex });
      if (link === undefined) throw new ShapingError('not-found', `${former.hostInterface} is gone`);
      const { defaults } = this.#options;
      const next = await this.#replace(former, applySet(former, params, defaults), (record) =>
        hasSameAggregates(former, record) ? this.#writeConfigs(record) : this.#enforce(record, former),
      );
      await this.#limitGso(former, next, link.mtu);
      const before = effectiveCapIn(former, params.direction, defaults);
      const after = effectiveCapIn(next, params.direction, defaults);
      return { ...(before === undefined ? {} : { before }), ...(after === undefined ? {} : { after }) };
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
      const name = nameOf(params);
      if (record === undefined) {
        throw new ShapingError('check-failed', `No cap is known for ${name}`, 'add the pod again');
      }
      const problems = viewProblems(await takeView(this.#options, [record]));
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
      this.#store.refresh();
      await this.#dropVanished();
      const attachments = this.#store.readAttachments();
      const view = await takeView(this.#options, attachments);
      const failures: string[] = [];
      for (const step of view.plan.steps) {
        try {
          await this.#apply(step, view.observed);
          this.#tellOfRepair(step, attachments, view.observed);
        } catch (error) {
          failures.push((error as Error).message);
        }
      }
      this.#hasReconciled = true;
      return [...failures, ...view.plan.problems.values()];
    });
  }

  /**
   * Puts right what somebody damaged in the maps: the part of reconciling that costs two system calls for each
   * attachment and direction, and so can be done often.
   */
  reconcileMaps(): Promise<void> {
    return this.#exclusively(async () => {
      const attachments = this.#store.readAttachments();
      const desired = { attachments, exitIndexes: [], defaults: this.#options.defaults };
      const indexes = attachments.map(({ hostInterfaceIndex }) => hostInterfaceIndex);
      const observed = observeMaps(this.#datapath, desired, indexes);
      for (const step of planMaps(desired, observed)) {
        await applyStep(this.#datapath, this.#store, step);
        this.#tellOfRepair(step, attachments, observed);
      }
    });
  }

  /** Exits and outstanding problems, as they are now. */
  status(): Promise<NodeStatus> {
    return this.#exclusively(() => statusOf(this.#options));
  }

  /** A page of attachments, each with what is wrong with it. */
  list(params: ListParams): Promise<ListResult> {
    return this.#exclusively(() => listPage(this.#options, params));
  }

  /** A page of attachments with their counters, or those of one. */
  counters(params: CountersParams): Promise<CountersResult> {
    return this.#exclusively(async () => countersPage(this.#options, params));
  }

  /** Takes everything of podpace off the node and puts back what stood there. */
  uninstall(): Promise<{ restoredExits: string[]; detached: number }> {
    return this.#exclusively(async () => {
      const attachments = this.#store.readAttachments();
      const restoredExits = this.#store.readExits().map(({ name }) => name);
      for (const { containerId, ifname } of attachments)
        this.#store.removeAttachment({ containerId, ifname });
      const view = await takeView(this.#options, []);
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

  /**
   * Puts a record in force in place of the former one of the same attachment, or leaves everything as it was.
   * Aggregates that it goes on using keep their clocks.
   */
  async #replace(
    former: AttachmentRecord | undefined,
    wanted: AttachmentRecord,
    enforce: (record: AttachmentRecord) => Promise<void>,
  ): Promise<AttachmentRecord> {
    const record = this.#aggregates.assign(wanted, former);
    this.#store.writeAttachment(record);
    try {
      await enforce(record);
    } catch (error) {
      await this.#undoReplace(record, former);
      throw error;
    }
    this.#aggregates.giveBack(former, record);
    return record;
  }

  async #limitGso(
    former: AttachmentRecord | undefined,
    record: AttachmentRecord,
    mtuBytes: number,
  ): Promise<void> {
    const { defaults, log } = this.#options;
    const rate = effectiveCapIn(record, 'egress', defaults)?.rateBitsPerSec;
    if (rate === undefined && former?.egressAggregateId === undefined) return;
    await limitGso(record, rate, mtuBytes, log);
  }

  async #enforce(record: AttachmentRecord, former: AttachmentRecord | undefined): Promise<void> {
    const formerIndex = former === undefined ? [] : [former.hostInterfaceIndex];
    const view = await takeView(this.#options, [record], formerIndex);
    const [problem] = view.plan.problems.values();
    if (problem !== undefined) throw new ShapingError('unenforceable', `Cannot enforce the cap: ${problem}`);
    if (record.egressAggregateId !== undefined && view.desired.exitIndexes.length === 0) {
      const names = view.missingUplinks.length === 0 ? '' : ` (no device ${view.missingUplinks.join(', ')})`;
      throw new ShapingError(
        'unenforceable',
        `Cannot enforce an egress cap: the node has no uplink${names}`,
        'add a default route, or name the uplink with --uplink',
      );
    }
    for (const step of view.plan.steps) await this.#apply(step, view.observed);
  }

  /** All that a change of numbers needs: devices, programs, clocks and flows are left alone. */
  async #writeConfigs(record: AttachmentRecord): Promise<void> {
    for (const [aggregateId, config] of desiredConfigs(record, this.#options.defaults)) {
      this.#datapath.writeConfig(aggregateId, config);
    }
  }

  async #undoReplace(record: AttachmentRecord, former: AttachmentRecord | undefined): Promise<void> {
    try {
      if (former === undefined) return await this.#remove(record);
      this.#store.writeAttachment(former);
      await this.#enforce(former, record);
      this.#aggregates.giveBack(record, former);
    } catch (error) {
      this.#options.log('error', `Cannot undo a failed change: ${(error as Error).message}`);
    }
  }

  /** Forgets an attachment first, then takes away what the rest does not need. */
  async #remove(record: AttachmentRecord): Promise<void> {
    this.#store.removeAttachment(record);
    const view = await takeView(this.#options, [], [record.hostInterfaceIndex]);
    for (const step of view.plan.steps) await this.#apply(step, view.observed);
    this.#aggregates.giveBack(record, undefined);
  }

  /** Attachments whose host interface is gone have lost everything that could be capped. */
  async #dropVanished(): Promise<void> {
    for (const record of this.#store.readAttachments()) {
      const link = await findLink(this.#datapath.rt, { index: record.hostInterfaceIndex });
      if (link !== undefined) continue;
      this.#options.log('info', `${record.hostInterface} is gone: forgetting ${nameOf(record)}`);
      await this.#remove(record);
    }
  }

  #tellOfRepair(step: Step, attachments: readonly AttachmentRecord[], observed: ObservedMaps): void {
    const repair = repairOf(step, attachments, observed);
    if (repair !== undefined && this.#hasReconciled) this.#options.log('warn', repair);
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
