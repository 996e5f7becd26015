// Which aggregates an attachment has, and which pages there are for them.

import { aggregateIdsInUse, nextAggregateId, pagesToHave } from '../shaping/aggregate-ids.ts';
import { aggregateIdOf, DIRECTIONS, effectiveCapIn } from '../shaping/effective.ts';
import { ShapingError } from '../shaping/failure.ts';
import { applyStep } from './apply.ts';
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
   * where it had any, and which of them are new. Throws ShapingError `unenforceable` when there are
   * no more.
   */
  assign(
    wanted: AttachmentRecord,
    former: AttachmentRecord | undefined,
  ): { readonly record: AttachmentRecord; readonly newAggregates: ReadonlySet<number> } {
    const { store, defaults, orphans } = this.#node;
    const inUse = aggregateIdsInUse(store.readAttachments(), orphans);
    const newAggregates = new Set<number>();
    const ids = DIRECTIONS.flatMap((direction) => {
      if (effectiveCapIn(wanted, direction, defaults) === undefined) return [];
      const formerId = former === undefined ? undefined : aggregateIdOf(former, direction);
      const id = formerId ?? this.#take(inUse);
      if (formerId === undefined) newAggregates.add(id);
      return [[`${direction}AggregateId`, id] as const];
    });
    const { egressAggregateId: _egress, ingressAggregateId: _ingress, ...rest } = wanted;
    return { record: { ...rest, ...Object.fromEntries(ids) }, newAggregates };
  }

  /**
   * Has those pages there that are in use and next, and gives back the memory of all others. Each
   * takes two grace periods of the kernel, in which nothing else is done here: so each has its
   * turn.
   */
  async keepPages(inTurn: Exclusively): Promise<void> {
    const { datapath, store } = this.#node;
    const kept = this.#pagesToHave();
    for (const page of kept)
      if (!datapath.hasPage(page))
        await inTurn(() => applyStep(datapath, store, { kind: 'make-page', page }));
    for (const page of datapath.knownPages) {
      if (kept.has(page)) continue;
      await inTurn(async () => {
        if (!this.#pagesToHave().has(page))
          await applyStep(datapath, store, { kind: 'remove-page', page });
      });
    }
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
