// What iperf3 reports at the end of a run (its JSON of version 3.12). Pure.

/** One run of iperf3 between a sender and a receiver. */
export interface IperfResult {
  /** Segments that the sender's TCP sent again. */
  readonly retransmits: number;
  /** Congestion control of the sender, for instance `cubic`. */
  readonly congestionControl: string;
}

function property(value: unknown, ...path: string[]): unknown {
  let current = value;
  for (const name of path) {
    if (typeof current !== 'object' || current === null) return undefined;
    current = (current as Record<string, unknown>)[name];
  }
  return current;
}

/**
 * Reads the JSON of `iperf3 --json`.
 * @throws Error with iperf3's own words when the run failed, or naming the figure that is missing.
 */
export function parseIperf(json: string): IperfResult {
  let report: unknown;
  try {
    report = JSON.parse(json);
  } catch {
    throw new Error(
      `Cannot read iperf3's report: ${JSON.stringify(json.slice(0, 200))} is not JSON`,
    );
  }
  const failure = property(report, 'error');
  if (typeof failure === 'string') throw new Error(`Cannot measure: iperf3 says: ${failure}`);
  const retransmits = property(report, 'end', 'sum_sent', 'retransmits');
  const congestionControl = property(report, 'end', 'sender_tcp_congestion');
  if (typeof retransmits !== 'number')
    throw new Error("Cannot read iperf3's report: it has no end.sum_sent.retransmits");
  return {
    retransmits,
    congestionControl: typeof congestionControl === 'string' ? congestionControl : 'unknown',
  };
}
