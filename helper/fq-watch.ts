// Whether this kernel can hold packets at all, looked at now and then: a module may be loaded or forbidden while the helper
// runs, and whoever asks `status` must not wait for a try each time.

import { hasErrno } from './kernel/errors.ts';
import { nodeProblem, type Problem } from './shaping/judgement.ts';
import { remedies } from './protocol/remedies.ts';

/** What was there is seldom taken away. */
const LOOK_AGAIN_MS = 60_000;

function problemOf(error: unknown): Problem {
  const what = hasErrno(error, 'ENOENT') ? 'this kernel has no sch_fq' : 'fq cannot be tried here';
  return nodeProblem(
    `Every cap would be refused: ${what} (${(error as Error).message}); ` + remedies.missingQdisc('fq'),
  );
}

export class FqWatch {
  readonly #tryFq: () => Promise<void>;
  readonly #nowMs: () => number;
  #problem: Problem | undefined;
  #goodUntilMs = 0;

  /** `tryFq` rejects when the kernel refuses fq. */
  constructor(tryFq: () => Promise<void>, nowMs = () => performance.now()) {
    this.#tryFq = tryFq;
    this.#nowMs = nowMs;
  }

  /** Tries again where fq was missing, or was last tried a while ago. */
  async look(): Promise<void> {
    if (this.#nowMs() < this.#goodUntilMs) return;
    try {
      await this.#tryFq();
      this.#problem = undefined;
      this.#goodUntilMs = this.#nowMs() + LOOK_AGAIN_MS;
    } catch (error) {
      this.#problem = problemOf(error);
      this.#goodUntilMs = 0;
    }
  }

  /** As they were at the last look. */
  problems(): Problem[] {
    return this.#problem === undefined ? [] : [this.#problem];
  }
}
