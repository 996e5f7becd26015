// Long work in pieces: between them the event loop answers whoever it can.

import { setImmediate as immediate } from 'node:timers/promises';

/** Work goes on for so long at a stretch, ms: its last piece comes on top. */
const STRETCH_MS = 20;

/** The breaks of one piece of work. */
export class Breaks {
  #sinceMs = performance.now();

  /** Call between two pieces: gives the event loop its turn, if it had none for a while. */
  async mayCome(): Promise<void> {
    if (performance.now() - this.#sinceMs < STRETCH_MS) return;
    await immediate();
    this.#sinceMs = performance.now();
  }
}
