// What the helper counts of its own work, for its metrics.

export class Tallies {
  /** Requests on the socket, by method and outcome: `ok`, or the error's code. */
  readonly requests = new Map<string, Map<string, number>>();
  /** Times that events were lost. */
  lostEvents = 0;
  /** Looks at the whole node. */
  repairs = 0;
  repairSeconds = 0;

  countRequest(method: string, outcome: string): void {
    const byOutcome = this.requests.get(method) ?? new Map<string, number>();
    byOutcome.set(outcome, (byOutcome.get(outcome) ?? 0) + 1);
    this.requests.set(method, byOutcome);
  }

  /** Counts a look that began at this moment of performance.now(). */
  countRepair(beginMs: number): void {
    this.repairs += 1;
    this.repairSeconds += (performance.now() - beginMs) / 1000;
  }
}
