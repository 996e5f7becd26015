// The last hour of every capped direction: counters read a page at a time, every 10 s. It begins
// with the helper, whose memory it is in: 5.6 KiB a direction.

import { setImmediate as nextTurn } from 'node:timers/promises';
import {
  keyOf,
  type AttachmentKey,
  type AttachmentStatus,
  type HistoryResult,
} from '../protocol/messages.ts';
import { podNamesOf } from '../protocol/pod-names.ts';
import { HISTORY_STEP_SECONDS, HISTORY_STEPS, type HistoryParams } from '../protocol/requests.ts';
import { aggregateIdOf, DIRECTIONS, effectiveCapsOf } from '../shaping/effective.ts';
import { History } from '../shaping/history.ts';
import type { NodeDefaults } from '../shaping/rates.ts';
import type { AttachmentRecord } from '../shaping/records.ts';
import { aggregatePage } from '../wire/aggregate.ts';
import type { Datapath } from './datapath.ts';

const STEP_MS = HISTORY_STEP_SECONDS * 1000;

/** Aggregates of these records by their pages, each with the attachment whose it is. */
function ownersByPage(records: readonly AttachmentRecord[]): Map<number, Map<number, string>> {
  const pages = new Map<number, Map<number, string>>();
  for (const record of records)
    for (const direction of DIRECTIONS) {
      const id = aggregateIdOf(record, direction);
      if (id === undefined) continue;
      const page = aggregatePage(id);
      const owners = pages.get(page) ?? new Map<number, string>();
      pages.set(page, owners.set(id, `${keyOf(record)} ${direction}`));
    }
  return pages;
}

export class Histories {
  readonly #datapath: Pick<Datapath, 'readPageOfCounters'>;
  /** By aggregate. */
  #histories = new Map<number, History>();
  #step = 0;
  /** When the latest step has ended, by performance.now(). */
  #endedMs: number | undefined;

  constructor(datapath: Pick<Datapath, 'readPageOfCounters'>) {
    this.#datapath = datapath;
  }

  /**
   * Ends a step with what the counters of these attachments say now. A step that was missed stays
   * unknown. Others have their turn between pages.
   */
  async take(records: readonly AttachmentRecord[]): Promise<void> {
    const nowMs = performance.now();
    const sinceMs = nowMs - (this.#endedMs ?? nowMs - STEP_MS);
    this.#step += Math.max(1, Math.round(sinceMs / STEP_MS));
    this.#endedMs = nowMs;
    const kept = new Map<number, History>();
    for (const [page, owners] of ownersByPage(records)) {
      const sums = this.#datapath.readPageOfCounters(page, [...owners.keys()]);
      const atNs = performance.now() * 1e6;
      for (const [id, owner] of owners) {
        const history = this.#histories.get(id) ?? new History();
        kept.set(id, history);
        const counted = sums.get(id);
        if (counted !== undefined) history.add({ step: this.#step, atNs, owner, ...counted });
      }
      await nextTurn();
    }
    this.#histories = kept;
  }

  /** What the directions of an attachment did in the latest step. */
  recentOf(record: AttachmentRecord): NonNullable<AttachmentStatus['recent']> {
    const figures = DIRECTIONS.flatMap((direction) => {
      const history = this.#histories.get(aggregateIdOf(record, direction) ?? -1);
      const recent = history?.recent(HISTORY_STEP_SECONDS);
      return recent === undefined ? [] : [[direction, recent] as const];
    });
    return Object.fromEntries(figures);
  }

  /** What is known of an attachment. */
  of(
    record: AttachmentRecord,
    { steps = HISTORY_STEPS }: Pick<HistoryParams, 'steps'>,
    defaults: NodeDefaults,
  ): HistoryResult {
    const { containerId, ifname }: AttachmentKey = record;
    const directions = DIRECTIONS.flatMap((direction) => {
      const history = this.#histories.get(aggregateIdOf(record, direction) ?? -1);
      return history === undefined ? [] : [[direction, history.last(steps, this.#step)] as const];
    });
    return {
      ...{ containerId, ifname, ...podNamesOf(record), stepSeconds: HISTORY_STEP_SECONDS },
      ...(this.#endedMs !== undefined && {
        endedMsAgo: Math.round(performance.now() - this.#endedMs),
      }),
      effective: effectiveCapsOf(record, defaults),
      ...Object.fromEntries(directions),
    };
  }
}
