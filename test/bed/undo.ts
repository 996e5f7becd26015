// What a run makes on the machine, it takes away again: on success, on failure and when it is
// interrupted.

import { say } from '../../scripts/lib/progress.ts';

/** What is given steps to take when it is over, the last one first: a test, an undo stack. */
export interface Teardown {
  teardown(step: () => Promise<void> | void): void;
}

interface Entry {
  readonly what: string;
  readonly undo: () => Promise<void> | void;
}

/**
 * Things to undo, in the reverse order of their making. Register before making: an undo must bear a
 * half-made thing.
 */
export class UndoStack {
  readonly #entries: Entry[] = [];

  /** One that is run when a test is over. */
  static of(t: Teardown): UndoStack {
    const undo = new UndoStack();
    t.teardown(() => undo.run());
    return undo;
  }

  /** Adds a step. `what` names it for the message in case it fails: `delete the namespace "x"`. */
  defer(what: string, undo: () => Promise<void> | void): void {
    this.#entries.push({ what, undo });
  }

  /** Adds a step that needs no name of its own. */
  teardown(step: () => Promise<void> | void): void {
    this.defer('take away what was made', step);
  }

  /**
   * Undoes everything, once; a step that fails is reported and does not keep the others from being
   * done.
   */
  async run(): Promise<void> {
    for (let entry = this.#entries.pop(); entry !== undefined; entry = this.#entries.pop()) {
      try {
        await entry.undo();
      } catch (error) {
        say(`Cannot ${entry.what}: ${error instanceof Error ? error.message : String(error)}`);
      }
    }
  }
}
