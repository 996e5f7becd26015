// `set`: one direction of a running attachment, or of a pod that was added without a cap, which
// becomes an attachment with its first one and is none without any.

import { findLink, listLinks } from '../kernel/links.ts';
import type { AttachmentKey, Direction, SetParams, SetResult } from '../protocol/messages.ts';
import { nameOf, podNamesOf } from '../protocol/pod-names.ts';
import { applySet, effectiveCapIn } from '../shaping/effective.ts';
import { ShapingError } from '../shaping/failure.ts';
import { unheldSentences } from '../shaping/problems.ts';
import type { NodeDefaults } from '../shaping/rates.ts';
import {
  hostInterfaceIndexesOf,
  type AttachmentRecord,
  type UncappedRecord,
} from '../shaping/records.ts';
import { hasSameAggregates } from './aggregates.ts';
import type { Attaching, Machinery } from './attaching.ts';
import { knownAttachment } from './reports.ts';
import type { Uncapped } from './uncapped.ts';

/** Nothing is asked for it: neither a cap nor a way past the IP stack. */
function isForNothing({ caps, changes, hostRouting }: AttachmentRecord): boolean {
  const isAsked = caps.egress !== undefined || caps.ingress !== undefined;
  return !isAsked && changes === undefined && hostRouting === undefined;
}

/** One direction before and after. */
function setResultOf(
  direction: Direction,
  defaults: NodeDefaults,
  former: AttachmentRecord,
  next: AttachmentRecord,
): SetResult {
  const before = effectiveCapIn(former, direction, defaults);
  const after = effectiveCapIn(next, direction, defaults);
  return {
    ...podNamesOf(former),
    ...(before !== undefined && { before }),
    ...(after !== undefined && { after }),
  };
}

export class Setting {
  readonly #machinery: Machinery;
  readonly #attaching: Attaching;
  readonly #uncapped: Uncapped;

  constructor(machinery: Machinery, attaching: Attaching, uncapped: Uncapped) {
    this.#machinery = machinery;
    this.#attaching = attaching;
    this.#uncapped = uncapped;
  }

  /** Changes what is asked for, or nothing at all when it fails. */
  async set(params: SetParams): Promise<SetResult> {
    const { node, wishes } = this.#machinery;
    wishes.look();
    const isUnreadable = node.store.badnessOf(params) !== undefined;
    if (node.store.readAttachment(params) === undefined && !isUnreadable) {
      const pod = await this.#uncappedPod(params);
      if (pod !== undefined) return this.#setFirst(pod, params);
    }
    return this.#change(knownAttachment(node, params), params);
  }

  async #change(former: AttachmentRecord, params: SetParams): Promise<SetResult> {
    const { node, enforcement, removal } = this.#machinery;
    const { defaults, datapath } = node;
    const links = await Promise.all(
      hostInterfaceIndexesOf(former).map((index) => findLink(datapath.rt, { index })),
    );
    if (links.every((link) => link === undefined))
      throw new ShapingError('not-found', `${former.hostInterface} of ${nameOf(former)} is gone`);
    const wanted = applySet(former, params, defaults);
    const result = setResultOf(params.direction, defaults, former, wanted);
    if (isForNothing(wanted) && (await this.#uncappedPod(params)) !== undefined) {
      await removal.remove([former]);
      return result;
    }
    await this.#attaching.replace(former, wanted, async (change) => {
      if (hasSameAggregates(former, change.next)) await enforcement.writeMaps(change);
      else await enforcement.enforce(change);
    });
    return result;
  }

  /** Caps a pod as ADD would have. */
  async #setFirst(pod: UncappedRecord, params: SetParams): Promise<SetResult> {
    const { node, enforcement } = this.#machinery;
    const { defaults, datapath, store } = node;
    const isKnown = (key: AttachmentKey): boolean => store.readAttachment(key) !== undefined;
    const enrolment = await this.#uncapped.enrolment(datapath.rt, pod, isKnown);
    const { params: asked, link, notices } = enrolment;
    const bare = await this.#attaching.recordOf(asked, link, pod.addedAt);
    const wanted = applySet(bare, params, defaults);
    const result = setResultOf(params.direction, defaults, bare, wanted);
    if (isForNothing(wanted)) return result;
    await this.#attaching.makeRoom(link.index, undefined);
    await this.#attaching.replace(undefined, wanted, (change) => enforcement.enforce(change));
    const told = [...unheldSentences(wanted), ...notices];
    return { ...result, ...(told.length > 0 && { notices: told }) };
  }

  /** The record of a pod that was added without a cap, if it is of one that runs. */
  async #uncappedPod(key: AttachmentKey): Promise<UncappedRecord | undefined> {
    const { node, wishes } = this.#machinery;
    if (wishes.find(key) !== undefined) return undefined;
    const { rt } = node.datapath;
    await this.#uncapped.look(rt, await listLinks(rt));
    return this.#uncapped.find(key);
  }
}
