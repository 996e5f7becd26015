// What ADD did, so that it can be taken back in reverse order.

import { note, type Edges } from './edges.ts';

interface Step {
  /** In words that follow "Cannot": `delete the pair`. */
  readonly what: string;
  readonly takeBack: () => Promise<unknown>;
}

export class Undo {
  readonly #edges: Edges;
  readonly #steps: Step[] = [];

  constructor(edges: Edges) {
    this.#edges = edges;
  }

  /** Registers how to take a step back; call it before the step, which may fail halfway. */
  push(what: string, takeBack: () => Promise<unknown>): void {
    this.#steps.push({ what, takeBack });
  }

  /** Nothing is taken back of what was registered until now. */
  forget(): void {
    this.#steps.length = 0;
  }

  /**
   * Takes every step back, last first. One that cannot be is noted on stderr, and the others go on.
   */
  async run(): Promise<void> {
    for (const { what, takeBack } of this.#steps.toReversed()) {
      try {
        await takeBack();
      } catch (error) {
        note(this.#edges, `Cannot ${what} while undoing ADD: ${(error as Error).message}`);
      }
    }
    this.forget();
  }
}
