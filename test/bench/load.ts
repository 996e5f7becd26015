// Bulk of a pod with something else going on beside it.

import { runIperf } from './bulk.ts';
import type { Target } from './network.ts';
import { asBulk } from './processors.ts';
import { watchingStalls } from './stalls.ts';

/** Bulk towards the peer. */
export interface Bulk {
  readonly seconds: number;
  /** More options of iperf3. */
  readonly options?: readonly string[];
}

/**
 * Does `work` while a pod sends in bulk, both ends on bulk's processor. Returns what came of it,
 * iperf3's report, and for how long the machine stood still at most. When `work` fails bulk ends
 * early.
 */
export async function besideBulk<T>(
  { node, signal }: Target,
  { seconds, options = [] }: Bulk,
  work: () => Promise<T>,
): Promise<{ readonly done: T; readonly report: string; readonly stallMs: number }> {
  const ended = new AbortController();
  const either = AbortSignal.any([signal, ended.signal]);
  const { result, stallMs } = await watchingStalls(() =>
    Promise.all([
      work().catch((error: unknown) => {
        ended.abort();
        throw error;
      }),
      node.withBulkApart(() => runIperf(node.pod, seconds, options, either, asBulk)),
    ]),
  );
  const [done, report] = result;
  return { done, report, stallMs };
}
