// Which aggregates an attachment has, and which pages there are for them.

import { aggregateIdsInUse, nextAggregateId, pagesToHave } from '../shaping/aggregate-ids.ts';
import { aggregateIdOf, DIRECTIONS, effectiveCapIn } from '../shaping/effective.ts';
import { ShapingError } from '../shaping/failure.ts';
import { applyStep } from './apply.ts';
import { planPages } from '../shaping/plan.ts';
import type { AttachmentRecord } from '../shaping/records.ts';
import type { Exclusively } from './turns.ts';
import type { Node } from './view.ts';

/** True when both directions have the same aggregate, or none, in both records. */
export function hasSameAggregates(a: AttachmentRecord, b: AttachmentRecord): boolean {
  return DIRECTIONS.every(
    (direction) => aggregateIdOf(a, direction) === aggregateIdOf(b, direction),
  );
}

export class Aggregates {
  readonly #node: Node;
  #lastId: number | undefined;

  constructor(node: Node) {
    this.#node = node;
  }

  /**
   * The record with an aggregate for each direction that has a cap, those of the former record
   * where it had any. Throws ShapingError `unenforceable` when there are no more.
   */
  assign(wanted: AttachmentRecord, former: AttachmentRecord | undefined): AttachmentRecord {
    const { store, defaults, orphans } = this.#node;
    const inUse = aggregateIdsInUse(store.readAttachments(), orphans);
    const ids = DIRECTIONS.flatMap((direction) => {
      if (effectiveCapIn(wanted, direction, defaults) === undefined) return [];
      const formerId = former === undefined ? undefined : aggregateIdOf(former, direction);
      const id = formerId ?? this.#take(inUse);
      return [[`${direction}AggregateId`, id] as const];
    });
    const { egressAggregateId: _egress, ingressAggregateId: _ingress, ...rest } = wanted;
    return { ...rest, ...Object.fromEntries(ids) };
  }

  /**
   * Has those pages there that are in use and next, and gives back the memory of all others. Each
   * takes two grace periods of the kernel, in which nothing else is done here: so each has its
   * turn, and what is wanted is asked again in it. A plan is carried out in one turn, so these
   * steps come of no whole plan.
   */
  async keepPages(inTurn: Exclusively): Promise<void> {
    const { datapath, store } = this.#node;
    const kept = this.#pagesToHave();
    const left = [...datapath.knownPages].filter((page) => !kept.has(page));
    const there = [...kept].filter((page) => datapath.hasPage(page));
    for (const step of planPages(kept, new Set([...there, ...left])))
      await inTurn(async () => {
        const isWanted = this.#pagesToHave().has(step.page);
        if (isWanted === (step.kind === 'make-page')) await applyStep(datapath, store, step);
      });
  }

  #pagesToHave(): Set<number> {
    const { store, orphans } = this.#node;
    return pagesToHave(aggregateIdsInUse(store.readAttachments(), orphans));
  }

  #take(inUse: Set<number>): number {
    const id = nextAggregateId(inUse, this.#lastId);
    if (id === undefined)
      throw new ShapingError('unenforceable', `All ${inUse.size} aggregates are in use`);
    inUse.add(id);
    this.#lastId = id;
    return id;
  }
}
