// What is done to the kernel for one attachment: its caps put in force, or refused; its exempt
// addresses and its numbers.

import type { KernelError } from '../wire/errors.ts';
import { applyStep } from './apply.ts';
import { observeMaps } from './observe.ts';
import { isUnknownQdisc, qdiscFailure, ShapingError } from '../shaping/failure.ts';
import { planMaps, type Observed, type Step } from '../shaping/plan.ts';
import { nameOfOccupants } from '../shaping/in-front.ts';
import { MAX_MOVES, PAUSE_MS } from '../shaping/precedence.ts';
import { formatDuration } from '../shaping/units.ts';
import {
  hostInterfaceIndexesOf,
  isSameAttachment,
  type AttachmentRecord,
} from '../shaping/records.ts';
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
  async enforce(
    record: AttachmentRecord,
    former: AttachmentRecord | undefined,
    newAggregates: ReadonlySet<number> = new Set(),
  ): Promise<View> {
    // The first egress cap of the node needs every way to other pods; after that they are followed
    // as they come.
    const isFirst = !this.#node.store
      .readAttachments()
      .some((other) => other.egressAggregateId !== undefined && !isSameAttachment(other, record));
    const view = await takeView(this.#node, [record], {
      ...{ hasOtherPods: isFirst, newAggregates },
      ...{ former: former === undefined ? [] : [former] },
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
    const apply = this.applier(view.observed);
    for (const step of view.plan.steps) {
      try {
        await apply(step);
      } catch (error) {
        const isNeeded = !('ifindex' in step) || needed.has(step.ifindex);
        if (isNeeded && !isForOthers(step, record)) throw error;
        this.#node.log(
          'error',
          `A cap is not enforced everywhere on this node: ${(error as Error).message}`,
        );
      }
    }
    return view;
  }

  /** All that a change of numbers needs: devices, programs, clocks and flows are left alone. */
  async writeMaps(record: AttachmentRecord): Promise<void> {
    const { datapath, store } = this.#node;
    const desired = desiredMaps(this.#node, [record], []);
    const digests = datapath.knownExemptionDigests();
    const observed = observeMaps(datapath, desired, hostInterfaceIndexesOf(record), digests);
    for (const step of planMaps(desired, observed)) await applyStep(datapath, store, step);
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

  #noteMove(step: Step & { readonly kind: 'come-first' }, observed: Observed): void {
    const { log, precedence } = this.#node;
    const place = `${observed.devices.get(step.ifindex)?.name ?? step.ifindex} (${step.hook})`;
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
