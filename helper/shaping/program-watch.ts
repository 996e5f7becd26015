// Programs that somebody takes off their hooks: the kernel tells nobody of it, so they are looked at in turns.

import type { Datapath } from './datapath.ts';
import { attachpointOf, type ProgramName } from './plan.ts';

/** Places that one look takes in, at some 25 us each; all of a node with more are seen when it is reconciled. */
const PLACES_PER_LOOK = 200;

export class ProgramWatch {
  readonly #datapath: Datapath;
  /** The place that the next look begins behind. */
  #position = 0;
  /** Places where nothing may be put, by a reason that a plan has: not looked at until all is looked at anew. */
  readonly #excepted = new Set<string>();

  constructor(datapath: Datapath) {
    this.#datapath = datapath;
  }

  /** Those of the next places whose program is not the one that has to stand there. */
  async look(wanted: ReadonlyMap<string, ProgramName>): Promise<string[]> {
    const places = [...wanted].filter(([place]) => !this.#excepted.has(place));
    const begin = this.#position < places.length ? this.#position : 0;
    const seen = places.slice(begin, begin + PLACES_PER_LOOK);
    this.#position = begin + seen.length;
    const lost: string[] = [];
    for (const [place, program] of seen) {
      const id = await this.#datapath.hooks.attachedProgramId(attachpointOf(place));
      if (id !== this.#datapath.program(program).id) lost.push(place);
    }
    return lost;
  }

  /** Leaves out what was lost and is so still. */
  async except(lost: readonly string[]): Promise<void> {
    for (const place of lost) {
      const id = await this.#datapath.hooks.attachedProgramId(attachpointOf(place));
      if (id === undefined || this.#datapath.programNameOf(id) === undefined) this.#excepted.add(place);
    }
  }

  /** Leaves nothing out any more. */
  reset(): void {
    this.#excepted.clear();
  }
}
