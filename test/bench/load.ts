// Bulk of a pod with something else going on beside it.

import { runIperf } from '../bed/iperf.ts';
import type { Target } from './network.ts';
import { asBulk } from './processors.ts';

/** Bulk towards the peer. */
export interface Bulk {
  readonly seconds: number;
  /** More options of iperf3. */
  readonly options?: readonly string[];
}

/**
 * Does `work` while a pod sends in bulk, both ends on bulk's processor. Returns what came of it,
 * and iperf3's report. When `work` fails bulk ends early.
 */
export async function besideBulk<T>(
  { node, signal }: Target,
  { seconds, options = [] }: Bulk,
  work: () => Promise<T>,
): Promise<{ readonly done: T; readonly report: string }> {
  const ended = new AbortController();
  const either = AbortSignal.any([signal, ended.signal]);
  const [done, report] = await Promise.all([
    work().catch((error: unknown) => {
      ended.abort();
      throw error;
    }),
    node.withBulkApart(() => runIperf(node.pod, seconds, options, either, { place: asBulk })),
  ]);
  return { done, report };
}
