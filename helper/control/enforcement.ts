// Plans carried out. Changes of the kernel that are no steps of a plan come before the first one,
// and after the last: maps and programs are loaded, a former layout is upgraded (change-over.ts,
// carry-over.ts), pins are removed. Of one attachment the caps are put in force, or refused.

import { Breaks } from '../kernel/breaks.ts';
import type { KernelError } from '../wire/errors.ts';
import { applyStep } from './apply.ts';
import { observeOffload } from './gso.ts';
import { observeMaps } from './observe.ts';
import { isUnknownQdisc, qdiscFailure, ShapingError } from '../shaping/failure.ts';
import { desiredOffload, type OffloadStep, type PodEnd } from '../shaping/gso.ts';
import { plan, type Observed, type Step } from '../shaping/plan.ts';
import type { Looked } from '../shaping/problems.ts';
import { nameOfOccupants } from '../shaping/in-front.ts';
import { MAX_MOVES, PAUSE_MS } from '../shaping/precedence.ts';
import { formatDuration } from '../shaping/units.ts';
import {
  hostInterfaceIndexesOf,
  isSameAttachment,
  ownerOf,
  type AttachmentRecord,
  type Change,
} from '../shaping/records.ts';
import type { AttachmentKey } from '../protocol/messages.ts';
import { nameOf } from '../protocol/pod-names.ts';
import { remedies } from '../protocol/remedies.ts';
import { desiredMaps, hasUplink, takeView, type Node, type View } from './view.ts';

/** A node, and where to tell of it. */
export interface LoggingNode extends Node {
  readonly log: (level: 'info' | 'warn' | 'error', message: string) => void;
}

/** Devices without which a cap is refused: the ways off the node, and the pod's own interfaces. */
function neededDevices({ desired }: View, record: AttachmentRecord): Set<number> {
  const uplinks = desired.exits.filter(({ role }) => role === 'uplink');
  const ways = uplinks.flatMap(({ ifindex, holders }) => [ifindex, ...holders]);
  return new Set([...hostInterfaceIndexesOf(record), ...ways]);
}

/**
 * Whether a step is about what others send to the pod on this node. A pod with a cap on what it
 * sends has that without.
 */
function isForOthers(step: Step, record: AttachmentRecord): boolean {
  return (
    step.kind === 'attach' &&
    step.hook === 'egress' &&
    record.ingressAggregateId === undefined &&
    hostInterfaceIndexesOf(record).includes(step.ifindex)
  );
}

/** What takes away what names an aggregate. */
function isUnbinding({ kind }: Step): boolean {
  return kind === 'detach' || kind === 'remove-host-interface';
}

/** An attachment that stays, perhaps another than it was. */
export type Staying = Change & { readonly next: AttachmentRecord };

/** Called with each step of a plan that could not be carried out; what it throws ends the plan. */
type OnFailure = (error: Error, step: Step) => void;

function rethrow(error: Error): never {
  throw error;
}

export class Enforcement {
  readonly #node: LoggingNode;

  constructor(node: LoggingNode) {
    this.#node = node;
  }

  /**
   * Puts the caps of a record in force in place of those of the former one. Throws ShapingError
   * `unenforceable` when they do not hold on the ways off the node; on the ways that stay on it,
   * that is logged and a problem in `status`. Returns the view that was gone by.
   */
  async enforce(change: Staying): Promise<View> {
    const { next: record } = change;
    // The first egress cap of the node needs every way to other pods; after that they are followed
    // as they come.
    const isFirst = !this.#node.store
      .readAttachments()
      .some((other) => other.egressAggregateId !== undefined && !isSameAttachment(other, record));
    const view = await takeView(this.#node, [record], {
      ...{ hasOtherPods: isFirst, changes: [change] },
    });
    const needed = neededDevices(view, record);
    const [, problem] = [...view.plan.problems].find(([ifindex]) => needed.has(ifindex)) ?? [];
    if (problem !== undefined)
      throw new ShapingError('unenforceable', `Cannot enforce the cap: ${problem}`);
    if (record.egressAggregateId !== undefined && !hasUplink(view)) {
      const reasons = view.uplinkNames.unusable.map((reason) => `: ${reason}`).join('');
      throw new ShapingError(
        'unenforceable',
        `Cannot enforce an egress cap: the node has no uplink${reasons}`,
        remedies.noUplink,
      );
    }
    await this.carryOut(view, (error, step) => {
      const isNeeded = !('ifindex' in step) || needed.has(step.ifindex);
      if (isNeeded && !isForOthers(step, record)) throw error;
      this.tellOfFailure(error, record);
    });
    return view;
  }

  /** All that a change of numbers needs: devices, programs, clocks and flows are left alone. */
  async writeMaps(change: Staying, onFailure?: OnFailure): Promise<void> {
    const { datapath } = this.#node;
    const { next } = change;
    const offload = desiredOffload(this.#node, change);
    const desired = { ...desiredMaps(this.#node, [next], []), offload };
    const digests = datapath.knownExemptionDigests();
    const observed = {
      ...observeMaps(datapath, desired, hostInterfaceIndexesOf(next), digests),
      offload: await observeOffload(offload, [next]),
    };
    await this.carryOut({ desired, observed, plan: plan(desired, observed) }, onFailure);
  }

  /**
   * Carries out a plan as far as that can be done; returns the steps that were. An aggregate goes
   * only when all that names it has gone: if not, with a later plan.
   */
  async carryOut(
    { desired, observed, plan: { steps } }: Looked,
    onFailure: OnFailure = rethrow,
  ): Promise<Step[]> {
    for (const { key, ...end } of desired.offload ?? []) {
      const found = observed.offload?.get(end.hostInterfaceIndex);
      if (found instanceof Error && key !== undefined) this.#tellOfOffload(key, end, found);
    }
    const done: Step[] = [];
    let isNamed = false;
    const apply = this.applier(observed);
    const breaks = new Breaks();
    for (const step of steps) {
      if (isNamed && step.kind === 'clear-aggregate') continue;
      await breaks.mayCome();
      try {
        await apply(step);
        done.push(step);
      } catch (error) {
        isNamed ||= isUnbinding(step);
        onFailure(error as Error, step);
      }
    }
    return done;
  }

  /** What a pod is not refused for; of no pod where it is not known whose cap it is. */
  tellOfFailure({ message }: Error, record: AttachmentRecord | undefined): void {
    const what = record === undefined ? 'A cap' : `The cap of ${nameOf(record)}`;
    this.#node.log('error', `${what} is not enforced everywhere on this node: ${message}`);
  }

  /**
   * Carries out the steps of one plan, each of which rejects with KernelError, or with ShapingError
   * for a qdisc that this kernel does not have. That is asked once in a plan: the kernel looks for
   * a module each time, tens of milliseconds in which nothing else is done here.
   */
  applier(observed: Observed): (step: Step) => Promise<void> {
    const { datapath, store } = this.#node;
    const refusals = new Map<string, KernelError>();
    return async (step) => {
      if (step.kind === 'keep-offload' || step.kind === 'limit-offload')
        return this.#limitOffload(step);
      if (step.kind !== 'set-root' && step.kind !== 'set-leaf') {
        await applyStep(datapath, store, step);
        if (step.kind === 'come-first') this.#noteMove(step, observed);
        return;
      }
      const qdisc = step.kind === 'set-root' ? step.qdisc : 'fq';
      const failure = (refusal: KernelError): ShapingError =>
        qdiscFailure(
          refusal,
          observed.devices.get(step.ifindex)?.name ?? String(step.ifindex),
          qdisc,
        );
      const refusal = refusals.get(qdisc);
      if (refusal !== undefined) throw failure(refusal);
      try {
        await applyStep(datapath, store, step);
      } catch (error) {
        if (!isUnknownQdisc(error)) throw error;
        refusals.set(qdisc, error);
        throw failure(error);
      }
    };
  }

  /** Best effort: a pod's cap holds without. With a pod that goes, so may its interface. */
  async #limitOffload(step: OffloadStep): Promise<void> {
    try {
      await applyStep(this.#node.datapath, this.#node.store, step);
    } catch (error) {
      if (step.key !== undefined) this.#tellOfOffload(step.key, step.end, error as Error);
    }
  }

  #tellOfOffload(key: AttachmentKey, { podInterface, sandbox }: PodEnd, { message }: Error): void {
    const whose = nameOf(this.#node.store.readAttachment(key) ?? key);
    const what = `Cannot limit segment offload of ${whose}, at ${podInterface} in ${sandbox}`;
    this.#node.log('warn', `${what}: ${message}; the cap holds, in larger steps`);
  }

  #noteMove(step: Step & { readonly kind: 'come-first' }, observed: Observed): void {
    const { log, precedence, store } = this.#node;
    const owner = ownerOf(store.readAttachments(), step.ifindex);
    const whose = owner === undefined ? '' : ` of ${nameOf(owner)}`;
    const device = observed.devices.get(step.ifindex)?.name ?? step.ifindex;
    const place = `${device} (${step.hook})${whose}`;
    const others = nameOfOccupants(step.passed);
    log('warn', `Stepped in front of ${others} on ${place}`);
    if (!precedence.note(step)) return;
    const [times, pause] = [MAX_MOVES, formatDuration(PAUSE_MS * 1e6)];
    log(
      'warn',
      `Others stepped in front on ${place} ${times} times in a minute: whoever does now stays for ${pause}`,
    );
  }
}
