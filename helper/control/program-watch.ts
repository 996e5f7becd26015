// Programs that somebody takes off their hooks, or steps in front of: the kernel tells nobody of
// it, so they are looked at in turns.

import type { Datapath } from './datapath.ts';
import { placeNamed } from '../wire/hook-place.ts';
import type { ProgramName } from '../wire/datapath-names.ts';
import type { Precedence } from '../shaping/precedence.ts';

/**
 * Places that are looked at in one turn. A hook of tcx tells of itself in some 10 us. Filters take
 * ten times as long to list, but whoever changes one is heard of at once.
 */
const PLACES_PER_TURN = { tcx: 500, clsact: 40 } as const;
/** Turns of one look; all of a node with more places are seen when it is reconciled. */
export const PROGRAM_TURNS = 2;

export class ProgramWatch {
  readonly #datapath: Datapath;
  readonly #precedence: Precedence;
  /** The place that the next look begins behind. */
  #position = 0;
  #isRound = false;
  /**
   * Places where nothing may be put, by a reason that a plan has: not looked at until all is looked
   * at anew.
   */
  readonly #excepted = new Set<string>();

  constructor(datapath: Datapath, precedence: Precedence) {
    this.#datapath = datapath;
    this.#precedence = precedence;
  }

  /** Whether the last look has come to the last of all places. */
  get isRound(): boolean {
    return this.#isRound;
  }

  /**
   * Those of the next places whose program is not the one that has to stand there, or can step in
   * front of others.
   */
  async look(wanted: ReadonlyMap<string, ProgramName>): Promise<string[]> {
    const places = [...wanted].filter(([place]) => !this.#excepted.has(place));
    const begin = this.#position < places.length ? this.#position : 0;
    const seen = places.slice(begin, begin + PLACES_PER_TURN[this.#datapath.hooks.kind]);
    this.#position = begin + seen.length;
    this.#isRound = this.#position >= places.length;
    const standings = await this.#datapath.hooks.standings(
      seen.map(([place]) => placeNamed(place)),
    );
    const contested = this.#precedence.contested();
    return seen.flatMap(([place, program], index) => {
      const standing = standings[index];
      if (standing?.programId !== this.#datapath.program(program).id) return [place];
      return standing.inFront.length > 0 && standing.canPass && !contested.has(place)
        ? [place]
        : [];
    });
  }

  /** Leaves out what was lost and is so still. */
  async except(lost: readonly string[]): Promise<void> {
    for (const place of lost) {
      const id = await this.#datapath.hooks.attachedProgramId(placeNamed(place));
      if (id === undefined || this.#datapath.programNameOf(id) === undefined)
        this.#excepted.add(place);
    }
  }

  /** Leaves nothing out any more. */
  reset(): void {
    this.#excepted.clear();
  }
}
