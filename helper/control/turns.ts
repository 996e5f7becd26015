// Operations one after the other, in the order in which they were asked for.

import { setImmediate as immediate } from 'node:timers/promises';

/** Runs an operation while no other one runs. */
export type Exclusively = (operation: () => Promise<void>) => Promise<void>;

export class Turns {
  /** Tail of the queue. */
  #queue: Promise<unknown> = Promise.resolve();

  /**
   * Runs an operation after those that were asked for before; a failure is its caller's and holds
   * up nobody.
   */
  run<T>(operation: () => Promise<T>): Promise<T> {
    const result = this.#queue.then(operation);
    this.#queue = result.catch(() => undefined);
    return result;
  }

  /**
   * The same for one of many that somebody has: what others have asked for meanwhile is heard, and
   * goes before it.
   */
  readonly runOneOfMany = async <T>(operation: () => Promise<T>): Promise<T> => {
    await immediate();
    return this.run(operation);
  };
}
