// `set`: one direction of a running attachment, or of a pod that was added without a cap, which
// becomes an attachment with its first one and is none without any.

import { setTimeout as sleep } from 'node:timers/promises';
import { findLink, listLinks } from '../kernel/links.ts';
import type { AttachmentKey, Direction, SetParams, SetResult } from '../protocol/messages.ts';
import { nameOf, podNamesOf } from '../protocol/pod-names.ts';
import { openedFor } from '../shaping/draining.ts';
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

/** Other requests wait meanwhile. More may queue on the way into a pod below 6.3 Mbit/s. */
const MAX_DRAINING_MS = 500;

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

/** An attachment as it was, and as it is now. */
export interface Altered {
  readonly former: AttachmentRecord;
  readonly next: AttachmentRecord;
  /** What to know although it is as asked for. */
  readonly notices: readonly string[];
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
    const { defaults } = node;
    wishes.look();
    const isUnreadable = node.store.badnessOf(params) !== undefined;
    const isKnown = node.store.readAttachment(params) !== undefined || isUnreadable;
    const pod = isKnown ? undefined : await this.#uncappedPod(params);
    const of = pod === undefined ? { attachment: knownAttachment(node, params) } : { pod };
    const { former, next, notices } = await this.alter(of, (record) =>
      applySet(record, params, defaults),
    );
    const result = setResultOf(params.direction, defaults, former, next);
    return { ...result, ...(notices.length > 0 && { notices }) };
  }

  /**
   * Changes the record of an attachment, or of a pod that was added without a cap, and has it
   * enforced, or changes nothing at all when that fails. An attachment that is for nothing becomes a
   * pod without a cap again, if it was added as one.
   */
  async alter(
    of: { readonly attachment: AttachmentRecord } | { readonly pod: UncappedRecord },
    change: (record: AttachmentRecord) => AttachmentRecord,
  ): Promise<Altered> {
    return 'pod' in of ? this.#alterFirst(of.pod, change) : this.#alterKnown(of.attachment, change);
  }

  async #alterKnown(
    former: AttachmentRecord,
    change: (record: AttachmentRecord) => AttachmentRecord,
  ): Promise<Altered> {
    const { node, enforcement, removal } = this.#machinery;
    const links = await Promise.all(
      hostInterfaceIndexesOf(former).map((index) => findLink(node.datapath.rt, { index })),
    );
    if (links.every((link) => link === undefined))
      throw new ShapingError('not-found', `${former.hostInterface} of ${nameOf(former)} is gone`);
    const next = change(former);
    await this.#drain(former, next);
    if (isForNothing(next) && (await this.#uncappedPod(former)) !== undefined) {
      await removal.remove([former]);
      return { former, next, notices: [] };
    }
    await this.#attaching.replace(former, next, async (staying) => {
      if (hasSameAggregates(former, staying.next)) await enforcement.writeMaps(staying);
      else await enforcement.enforce(staying);
    });
    return { former, next, notices: [] };
  }

  /** Has what waits by a cap that is to go leave before it goes. No record tells of that state. */
  async #drain(former: AttachmentRecord, next: AttachmentRecord): Promise<void> {
    const { node, enforcement } = this.#machinery;
    const opened = openedFor(former, next, node.defaults);
    if (opened === undefined) return;
    await enforcement.writeMaps({ former, next: opened.record });
    const backlogsNs = opened.aggregateIds.map((id) => node.datapath.readAhead(id).backlogNs);
    const drainingMs = Math.ceil(Math.max(...backlogsNs) / 1e6);
    if (drainingMs > 0) await sleep(Math.min(drainingMs, MAX_DRAINING_MS));
  }

  /** Caps a pod as ADD would have. */
  async #alterFirst(
    pod: UncappedRecord,
    change: (record: AttachmentRecord) => AttachmentRecord,
  ): Promise<Altered> {
    const { node, enforcement } = this.#machinery;
    const { datapath, store } = node;
    const isKnown = (key: AttachmentKey): boolean => store.readAttachment(key) !== undefined;
    const enrolment = await this.#uncapped.enrolment(datapath.rt, pod, isKnown);
    const { params: asked, link, notices } = enrolment;
    const former = await this.#attaching.recordOf(asked, link, pod.addedAt);
    const next = change(former);
    if (isForNothing(next)) return { former, next, notices: [] };
    await this.#attaching.makeRoom(link.index, undefined);
    await this.#attaching.replace(undefined, next, (staying) => enforcement.enforce(staying));
    return { former, next, notices: [...unheldSentences(next), ...notices] };
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
