// Operations one after the other: what somebody waits for, and the helper's own upkeep.

import { setImmediate as immediate } from 'node:timers/promises';

/** Runs an operation while no other one runs. */
export type Exclusively = (operation: () => Promise<void>) => Promise<void>;

/** One that waits for its turn; it never rejects. */
type Waiting = () => Promise<void>;

/**
 * Requests go in the order in which they came, and so does the upkeep. Where both wait they take
 * turns: a request waits for one operation of the upkeep at most, and no number of requests keeps
 * the upkeep from going on.
 */
export class Turns {
  readonly #requests: Waiting[] = [];
  readonly #upkeep: Waiting[] = [];
  #isRunning = false;

  /**
   * Runs an operation that somebody waits for. A failure is its caller's and holds up nobody; the
   * same goes for upkeep.
   */
  run<T>(operation: () => Promise<T>): Promise<T> {
    return this.#queue(this.#requests, operation);
  }

  /**
   * Runs an operation of the upkeep, or one of many that somebody has: short ones, since what is
   * asked for meanwhile waits for its end. What has come on sockets is heard of before it begins.
   */
  readonly runOneOfMany = <T>(operation: () => Promise<T>): Promise<T> =>
    this.#queue(this.#upkeep, operation);

  #queue<T>(lane: Waiting[], operation: () => Promise<T>): Promise<T> {
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    lane.push(async () => {
      try {
        resolve(await operation());
      } catch (error) {
        reject(error);
      }
    });
    if (!this.#isRunning) {
      this.#isRunning = true;
      queueMicrotask(() => void this.#runAll());
    }
    return promise;
  }

  async #runAll(): Promise<void> {
    let wasRequest = false;
    while (this.#requests.length + this.#upkeep.length > 0) {
      if (this.#upkeep.length > 0) await immediate();
      const hasPrecedence: boolean = this.#requests.length > 0 && !wasRequest;
      wasRequest = hasPrecedence || this.#upkeep.length === 0;
      await (wasRequest ? this.#requests : this.#upkeep).shift()?.();
    }
    this.#isRunning = false;
  }
}
