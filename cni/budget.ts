// The time that ADD and CHECK may take beside a helper that hangs. Runtimes give ADD a minute or
// four, and start nothing else of the pod meanwhile: to fail soon and be called again is better
// than to wait.

/**
 * For all of a call since its process began, in milliseconds; what is left to 5 s is for the end of
 * IPAM, the kernel and whoever waits for the process.
 */
const CALL_MS = 4_500;

/** Of that for undoing, ms: a helper that only was slow must hear that the attachment is to go. */
const UNDO_MS = 1_000;

/**
 * What a helper gets that is asked late, since the node is busy or IPAM took its time; ms. It is
 * as busy then: attaching took 1.6 s on an emulated processor that did other work beside it.
 */
const LEAST_ATTACH_MS = 3_000;
const LEAST_CHECK_MS = 3_000;
const LEAST_DETACH_MS = 500;

export class CallBudget {
  readonly #now: () => number;

  /** `now`: milliseconds since the process began; performance.now() takes 2 ms to load. */
  constructor(now = () => process.uptime() * 1000) {
    this.#now = now;
  }

  /** How long to wait for the helper to attach, ms. */
  attachMs(): number {
    return Math.max(LEAST_ATTACH_MS, this.#leftMs() - UNDO_MS);
  }

  /** How long to wait for it to take that back, ms. */
  detachMs(): number {
    return Math.min(UNDO_MS, Math.max(LEAST_DETACH_MS, this.#leftMs()));
  }

  /** How long to wait for the helper to check, ms: nothing has to be undone. */
  checkMs(): number {
    return Math.max(LEAST_CHECK_MS, this.#leftMs());
  }

  #leftMs(): number {
    return Math.round(CALL_MS - this.#now());
  }
}
