// Whether this kernel can hold packets at all, looked at now and then: a module may be loaded or
// forbidden while the helper runs, and whoever asks `status` must not wait for a try each time.

import type { Attempt } from '../wire/kernel-features.ts';
import { nodeProblem, type Problem } from '../shaping/judgement.ts';
import { remedies } from '../protocol/remedies.ts';

/** What was there is seldom taken away. */
const LOOK_AGAIN_MS = 60_000;
/** What was not there is tried again at every look, but not twice at the same time. */
const TRY_AGAIN_MS = 500;

function problemOf({ there, why }: Attempt): Problem {
  const what = there === false ? 'this kernel has no sch_fq' : 'fq cannot be tried here';
  const text = `Every cap would be refused: ${what} (${why}); ${remedies.missingQdisc('fq')}`;
  return { ...nodeProblem(text), code: 'fq-missing' };
}

export class FqWatch {
  readonly #tryFq: () => Promise<Attempt>;
  readonly #nowMs: () => number;
  #last: Attempt;
  /** Until then what was found last is taken for true. */
  #goodUntilMs: number;

  /** `first` is what was found just now. */
  constructor(tryFq: () => Promise<Attempt>, first: Attempt, nowMs = () => performance.now()) {
    this.#tryFq = tryFq;
    this.#nowMs = nowMs;
    this.#last = first;
    this.#goodUntilMs = this.#goodUntil();
  }

  #goodUntil(): number {
    return this.#nowMs() + (this.#last.there === true ? LOOK_AGAIN_MS : TRY_AGAIN_MS);
  }

  /** Tries again where fq was missing, or was last tried a while ago. */
  async look(): Promise<void> {
    if (this.#nowMs() < this.#goodUntilMs) return;
    this.#last = await this.#tryFq();
    this.#goodUntilMs = this.#goodUntil();
  }

  /** What was found last. */
  get last(): Attempt {
    return this.#last;
  }

  /** As they were at the last look. */
  problems(): Problem[] {
    return this.#last.there === true ? [] : [problemOf(this.#last)];
  }
}
