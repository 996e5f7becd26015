// How often podpace steps in front of others at a place: two who both insist on being first would
// go on for ever.

import { nameOfPlace, type Place } from '../wire/hook-place.ts';

/**
 * So often in this time a place is taken back; then whoever is in front stays there for the pause.
 */
export const MAX_MOVES = 3;
const MOVES_WITHIN_MS = 60_000;
export const PAUSE_MS = 600_000;

interface Moves {
  /** Of the latest ones, in ms of the clock. */
  readonly atMs: readonly number[];
  /** Until when podpace's program stays where it is. */
  readonly staysUntilMs: number;
}

export class Precedence {
  readonly #moves = new Map<string, Moves>();
  readonly #now: () => number;

  /** `now` tells the time in ms, by a clock that nobody sets. */
  constructor(now: () => number) {
    this.#now = now;
  }

  /**
   * Takes note that podpace's program has stepped in front at a place; true when it will not do so
   * again for a while.
   */
  note(point: Place): boolean {
    const nowMs = this.#now();
    const place = nameOfPlace(point);
    const former = (this.#moves.get(place)?.atMs ?? []).filter(
      (atMs) => nowMs - atMs < MOVES_WITHIN_MS,
    );
    const atMs = [...former, nowMs];
    const isLast = atMs.length >= MAX_MOVES;
    this.#moves.set(place, { atMs, staysUntilMs: isLast ? nowMs + PAUSE_MS : 0 });
    return isLast;
  }

  /** Places where podpace's program stays where it is. */
  contested(): ReadonlySet<string> {
    const nowMs = this.#now();
    for (const [place, { atMs, staysUntilMs }] of this.#moves) {
      const latestMs = atMs.at(-1) ?? 0;
      if (nowMs >= staysUntilMs && nowMs - latestMs >= MOVES_WITHIN_MS) this.#moves.delete(place);
    }
    return new Set(
      [...this.#moves].flatMap(([place, { staysUntilMs }]) =>
        staysUntilMs > nowMs ? [place] : [],
      ),
    );
  }
}
