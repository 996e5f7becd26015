// Attachments that go: asked for, or with their device. Also what a crash left of it is finished here.

import { isDeepStrictEqual } from 'node:util';
import { listLinks } from '../kernel/links.ts';
import { aggregateIdsInUse } from './aggregate-ids.ts';
import type { Aggregates } from './aggregates.ts';
import { nameOf } from './effective.ts';
import type { Enforcement, LoggingNode } from './enforcement.ts';
import { giveGsoBack } from './gso.ts';
import type { AttachmentRecord } from './records.ts';
import type { Exclusively } from './turns.ts';
import { hasEgressCap, takeView } from './view.ts';

/**
 * Attachments that are forgotten in one go: whoever waits has a turn before the next. A go takes some 50 ms, and a tenth of a
 * second more for what it has to know of the node.
 */
const REMOVALS_PER_TURN = 150;

export class Removal {
  readonly #node: LoggingNode;
  readonly #enforcement: Enforcement;
  readonly #aggregates: Aggregates;

  constructor(node: LoggingNode, enforcement: Enforcement, aggregates: Aggregates) {
    this.#node = node;
    this.#enforcement = enforcement;
    this.#aggregates = aggregates;
  }

  /**
   * Forgets attachments first, then takes away what the rest does not need: with one plan, however many they are. Their records
   * say so until all is gone: what is left after a crash would otherwise be taken for that of a lost record. What can be taken
   * away is, before it rejects for what cannot.
   */
  async remove(records: readonly AttachmentRecord[]): Promise<void> {
    for (const record of records) this.#node.store.startRemoval(record);
    const others = this.#node.store.readAttachments();
    // With the last egress cap all exits go, also those that are known by nothing but their program.
    const isLast = !hasEgressCap(others, this.#node.orphans);
    const devices = records.map(({ hostInterfaceIndex }) => hostInterfaceIndex);
    const view = await takeView(this.#node, isLast ? others : [], { devices, hasOtherPods: isLast });
    const failures = new Map<number | undefined, unknown>();
    const apply = this.#enforcement.applier(view.observed);
    for (const step of view.plan.steps) {
      try {
        await apply(step);
      } catch (error) {
        if (step.kind === 'detach' || step.kind === 'restore-root' || step.kind.startsWith('remove-')) {
          failures.set('ifindex' in step ? step.ifindex : undefined, error);
          continue;
        }
        // What others still lack is no reason to keep a pod: reconciling tries again.
        this.#node.log('error', `A cap is not enforced everywhere on this node: ${(error as Error).message}`);
      }
    }
    // What failed elsewhere than at the interface of one of them is left of all.
    const isShared = [...failures.keys()].some(
      (ifindex) => ifindex === undefined || !devices.includes(ifindex),
    );
    for (const record of records) {
      if (isShared || failures.has(record.hostInterfaceIndex)) continue;
      if (view.observed.devices.has(record.hostInterfaceIndex)) await giveGsoBack(this.#node, record);
      this.#enforcement.exempt(record, undefined);
      this.#aggregates.giveBack(record, undefined);
      this.#node.store.finishRemoval(record);
    }
    const [failure] = failures.values();
    if (failure !== undefined) throw failure;
  }

  /** What a crash had left of removals, or a step that failed. The entry of the host interface is what goes last. */
  finish(): void {
    const attachments = this.#node.store.readAttachments();
    const inUse = aggregateIdsInUse(attachments, this.#node.orphans);
    const owned = new Set(attachments.map(({ hostInterfaceIndex }) => hostInterfaceIndex));
    for (const record of this.#node.store.readRemoving()) {
      const ifindex = record.hostInterfaceIndex;
      if (!owned.has(ifindex) && this.#node.datapath.readHostInterface(ifindex) !== undefined) continue;
      for (const id of aggregateIdsInUse([record]))
        if (!inUse.has(id)) this.#node.datapath.clearAggregate(id);
      this.#node.store.finishRemoval(record);
    }
  }

  /** Forgets attachments whose host interface is gone, of those at `changed`, in turns of `exclusively`; returns them. */
  async dropVanished(
    exclusively: Exclusively,
    changed?: ReadonlySet<number>,
  ): Promise<readonly AttachmentRecord[]> {
    let vanished: readonly AttachmentRecord[] = [];
    await exclusively(async () => {
      vanished = await this.#findVanished(changed);
    });
    return this.removeInTurns(vanished, exclusively, (record) =>
      this.#node.log('info', `${record.hostInterface} is gone: forgetting ${nameOf(record)}`),
    );
  }

  /**
   * Forgets attachments, so many at a time that nobody waits for long who asks meanwhile, and returns them. One that was
   * changed meanwhile stays. Rejects when all that can be is done.
   */
  async removeInTurns(
    records: readonly AttachmentRecord[],
    exclusively: Exclusively,
    tell: (record: AttachmentRecord) => void = () => undefined,
  ): Promise<AttachmentRecord[]> {
    const failures: unknown[] = [];
    const removed: AttachmentRecord[] = [];
    for (let at = 0; at < records.length; at += REMOVALS_PER_TURN) {
      try {
        await exclusively(async () => {
          const current = records
            .slice(at, at + REMOVALS_PER_TURN)
            .filter((record) => isDeepStrictEqual(this.#node.store.readAttachment(record), record));
          current.forEach(tell);
          if (current.length > 0) await this.remove(current);
          removed.push(...current);
        });
      } catch (error) {
        failures.push(error);
      }
    }
    if (failures.length > 0) throw failures[0];
    return removed;
  }

  /** Attachments that have lost everything that could be capped. */
  async #findVanished(changed?: ReadonlySet<number>): Promise<readonly AttachmentRecord[]> {
    const records = this.#node.store
      .readAttachments()
      .filter(({ hostInterfaceIndex }) => changed === undefined || changed.has(hostInterfaceIndex));
    if (records.length === 0) return [];
    const links = new Set((await listLinks(this.#node.datapath.rt)).map(({ index }) => index));
    return records.filter(({ hostInterfaceIndex }) => !links.has(hostInterfaceIndex));
  }
}
