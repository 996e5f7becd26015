// Attachments that go: asked for, or with their device. Also what a crash left of it is finished
// here.

import { isDeepStrictEqual } from 'node:util';
import type { Link } from '../kernel/links.ts';
import { nameOf } from '../protocol/pod-names.ts';
import type { Enforcement, LoggingNode } from './enforcement.ts';
import {
  hostInterfaceIndexesOf,
  hostInterfacesOf,
  ownerOf,
  withoutGone,
  type AttachmentRecord,
  type HostInterfaceRecord,
} from '../shaping/records.ts';
import type { Step } from '../shaping/plan.ts';
import type { Exclusively } from './turns.ts';
import { hasEgressCap, takeView } from './view.ts';

/**
 * Attachments that are forgotten in one go: whoever waits has a turn before the next. A go takes
 * some 50 ms, and a tenth of a second more for what it has to know of the node.
 */
const REMOVALS_PER_TURN = 150;

/** What has come of removals so far. */
interface Outcome {
  readonly removed: AttachmentRecord[];
  readonly failures: unknown[];
}

/** The ways of a record that are gone when `left` is what is left of it. */
function goneOf(
  record: AttachmentRecord,
  left: AttachmentRecord | undefined,
): readonly HostInterfaceRecord[] {
  const staying = new Set(left === undefined ? [] : hostInterfaceIndexesOf(left));
  return hostInterfacesOf(record).filter(
    ({ hostInterfaceIndex }) => !staying.has(hostInterfaceIndex),
  );
}

function namesOf(ways: readonly HostInterfaceRecord[]): string {
  return ways.map(({ hostInterface }) => hostInterface).join(' and ');
}

/** Whose host interface a step is about. */
function ownerAt(step: Step, records: readonly AttachmentRecord[]): AttachmentRecord | undefined {
  return 'ifindex' in step ? ownerOf(records, step.ifindex) : undefined;
}

/** What takes something away: a pod is not forgotten before all of its own is gone. */
function isTakingAway({ kind }: Step): boolean {
  return ['detach', 'drop-pin', 'restore-root'].includes(kind) || kind.startsWith('remove-');
}

export class Removal {
  readonly #node: LoggingNode;
  readonly #enforcement: Enforcement;

  constructor(node: LoggingNode, enforcement: Enforcement) {
    this.#node = node;
    this.#enforcement = enforcement;
  }

  /**
   * Forgets attachments first, then takes away what the rest does not need: with one plan, however
   * many they are. Their records say so until all is gone: what is left after a crash would
   * otherwise be taken for that of a lost record. What can be taken away is, before it rejects for
   * what cannot. `links`: all devices, if they have just been listed.
   */
  async remove(records: readonly AttachmentRecord[], links?: readonly Link[]): Promise<void> {
    for (const record of records) this.#node.store.startRemoval(record);
    const others = this.#node.store.readAttachments();
    // With the last egress cap all exits go, also those that are known by nothing but their
    // program.
    const isLast = !hasEgressCap(others, this.#node.orphans);
    const devices = new Set(records.flatMap(hostInterfaceIndexesOf));
    const changes = records.map((former) => ({ former, next: undefined }));
    const scope = { changes, hasOtherPods: isLast, ...(links !== undefined && { links }) };
    const view = await takeView(this.#node, isLast ? others : [], scope);
    const failures = new Map<number | undefined, Error>();
    await this.#enforcement.carryOut(view, (error, step) => {
      // What others still lack is no reason to keep a pod: reconciling tries again.
      if (isTakingAway(step)) failures.set('ifindex' in step ? step.ifindex : undefined, error);
      else this.#enforcement.tellOfFailure(error, ownerAt(step, others));
    });
    // What failed elsewhere than at the interface of one of them is left of all.
    const isShared = [...failures.keys()].some(
      (ifindex) => ifindex === undefined || !devices.has(ifindex),
    );
    for (const record of records) {
      const own = hostInterfaceIndexesOf(record);
      if (isShared || own.some((ifindex) => failures.has(ifindex))) continue;
      this.#node.store.finishRemoval(record);
    }
    const [failure] = failures.values();
    if (failure !== undefined) throw failure;
  }

  /**
   * What a crash had left of removals, or a step that failed: call when a plan for the whole node
   * was carried out. The entry of the host interface goes last of what names an attachment.
   */
  finish(): void {
    const { datapath, store } = this.#node;
    const owned = new Set(store.readAttachments().flatMap(hostInterfaceIndexesOf));
    for (const record of store.readRemoving()) {
      const isLeft = hostInterfaceIndexesOf(record).some(
        (ifindex) => !owned.has(ifindex) && datapath.maps.hostInterfaces.get(ifindex) !== undefined,
      );
      if (!isLeft) store.finishRemoval(record);
    }
  }

  /**
   * Forgets attachments whose host interfaces are gone, of those at `changed`, in turns of
   * `exclusively`; returns them. One that has others left goes on with these.
   */
  async dropVanished(
    exclusively: Exclusively,
    changed?: ReadonlySet<number>,
  ): Promise<readonly AttachmentRecord[]> {
    const outcome: Outcome = { removed: [], failures: [] };
    let rest: readonly AttachmentRecord[] = [];
    await exclusively(async () => {
      const candidates = this.#candidates(changed);
      if (candidates.length === 0) return;
      // To learn of devices takes its time while many go: the first turn does with one list.
      const links = await this.#node.datapath.devices.links();
      const present = new Set(links.map(({ index }) => index));
      const vanished: AttachmentRecord[] = [];
      for (const record of candidates) {
        const left = withoutGone(record, (ifindex) => !present.has(ifindex));
        if (left === record) continue;
        const rest = left === undefined ? [] : hostInterfacesOf(left);
        const next = left === undefined ? 'forgetting' : `by ${namesOf(rest)} goes on`;
        this.#node.log(
          'info',
          `${namesOf(goneOf(record, left))} is gone: ${next} ${nameOf(record)}`,
        );
        if (left === undefined) vanished.push(record);
        else this.#node.store.writeAttachment(left);
      }
      rest = vanished.slice(REMOVALS_PER_TURN);
      await this.#removeUnchanged(vanished.slice(0, REMOVALS_PER_TURN), outcome, links);
    });
    return this.#removeRest(rest, exclusively, outcome);
  }

  /**
   * Forgets attachments, so many at a time that nobody waits for long who asks meanwhile, and
   * returns them. One that was changed meanwhile stays. Rejects when all that can be is done.
   */
  removeInTurns(
    records: readonly AttachmentRecord[],
    exclusively: Exclusively,
  ): Promise<readonly AttachmentRecord[]> {
    return this.#removeRest(records, exclusively, { removed: [], failures: [] });
  }

  async #removeRest(
    records: readonly AttachmentRecord[],
    exclusively: Exclusively,
    outcome: Outcome,
  ): Promise<readonly AttachmentRecord[]> {
    for (let at = 0; at < records.length; at += REMOVALS_PER_TURN) {
      const some = records.slice(at, at + REMOVALS_PER_TURN);
      await exclusively(() => this.#removeUnchanged(some, outcome));
    }
    if (outcome.failures.length > 0) throw outcome.failures[0];
    return outcome.removed;
  }

  async #removeUnchanged(
    records: readonly AttachmentRecord[],
    { removed, failures }: Outcome,
    links?: readonly Link[],
  ): Promise<void> {
    const current = records.filter((record) =>
      isDeepStrictEqual(this.#node.store.readAttachment(record), record),
    );
    if (current.length === 0) return;
    try {
      await this.remove(current, links);
      removed.push(...current);
    } catch (error) {
      failures.push(error);
    }
  }

  #candidates(changed: ReadonlySet<number> | undefined): readonly AttachmentRecord[] {
    const all = this.#node.store.readAttachments();
    if (changed === undefined) return all;
    return all.filter((record) =>
      hostInterfaceIndexesOf(record).some((ifindex) => changed.has(ifindex)),
    );
  }
}
