// Bulk flows from the pod to the peer, by iperf3, and what its report says of them.

import { execFile } from 'node:child_process';
import { inNamespace } from '../bed/testbed.ts';
import { PEER_ADDRESS } from '../bed/uplink.ts';

const IPERF_PORT = '5201';
const MAX_REPORT_BYTES = 64 * 1024 * 1024;
/** How often iperf3 looks at its sockets: often enough for a mean of the round-trip time. */
const SAMPLE_SECONDS = '0.2';

/** What iperf3 says of TCP flows after their warm-up. */
export interface BulkReport {
  /** Segments sent again. */
  readonly retransmits: number;
  /** Smoothed round-trip time, mean over flows and samples. */
  readonly meanRttUs: number;
}

interface IperfSample {
  readonly start?: number;
  readonly rtt?: number;
  readonly retransmits?: number;
}

interface IperfReport {
  readonly error?: string;
  readonly intervals?: readonly { readonly streams?: readonly IperfSample[] }[];
  readonly end?: {
    readonly sum?: { readonly bits_per_second?: number };
    readonly sum_sent?: { readonly retransmits?: number };
    readonly sum_received?: { readonly bits_per_second?: number };
  };
}

function readReport(json: string): IperfReport {
  let report: IperfReport;
  try {
    report = JSON.parse(json) as IperfReport;
  } catch {
    throw new Error(
      `Cannot read iperf3's report: ${JSON.stringify(json.slice(0, 200))} is not JSON`,
    );
  }
  if (report.error !== undefined) throw new Error(`Cannot measure: iperf3 says: ${report.error}`);
  return report;
}

/**
 * Reads the report of `iperf3 --json` on TCP flows, without the first `warmUpSeconds`. Throws Error
 * with iperf3's words.
 */
export function parseBulk(json: string, warmUpSeconds: number): BulkReport {
  const samples = (readReport(json).intervals ?? [])
    .flatMap(({ streams }) => streams ?? [])
    .filter(({ start }) => start !== undefined && start >= warmUpSeconds);
  const rtts = samples.flatMap(({ rtt }) => (rtt === undefined ? [] : [rtt]));
  if (rtts.length === 0)
    throw new Error(
      `Cannot read iperf3's report: it has no round-trip time after ${warmUpSeconds} s`,
    );
  return {
    retransmits: samples.reduce((sum, { retransmits }) => sum + (retransmits ?? 0), 0),
    meanRttUs: rtts.reduce((sum, rtt) => sum + rtt, 0) / rtts.length,
  };
}

/**
 * Segments that the sender of TCP flows sent again, whichever end that was. Throws Error with
 * iperf3's words.
 */
export function parseRetransmits(json: string): number {
  const retransmits = readReport(json).end?.sum_sent?.retransmits;
  if (retransmits === undefined)
    throw new Error("Cannot read iperf3's report: it has no end.sum_sent.retransmits");
  return retransmits;
}

/**
 * What the other end received of TCP flows, payload in Mbit/s. Throws Error with iperf3's words.
 */
export function parseReceived(json: string): number {
  const rate = readReport(json).end?.sum_received?.bits_per_second;
  if (rate === undefined)
    throw new Error("Cannot read iperf3's report: it has no end.sum_received.bits_per_second");
  return rate / 1_000_000;
}

/** What an iperf3 client sent as datagrams, payload in Mbit/s. Throws Error with iperf3's words. */
export function parseOffered(json: string): number {
  const rate = readReport(json).end?.sum?.bits_per_second;
  if (rate === undefined)
    throw new Error("Cannot read iperf3's report: it has no end.sum.bits_per_second");
  return rate / 1_000_000;
}

/**
 * Runs an iperf3 client in a pod towards the peer; returns its report. `signal` ends it early;
 * `place` says where it runs.
 */
export async function runIperf(
  pod: string,
  seconds: number,
  options: readonly string[],
  signal: AbortSignal,
  place: (command: string, ...args: readonly string[]) => [string, ...string[]] = (...command) =>
    command,
): Promise<string> {
  const client = ['--client', PEER_ADDRESS, '--port', IPERF_PORT, '--time', String(seconds)];
  const report = ['--json', '--interval', SAMPLE_SECONDS, '--connect-timeout', '5000'];
  const [command, args] = inNamespace(pod, ...place('iperf3', ...client, ...report, ...options));
  return await new Promise<string>((resolve, reject) => {
    execFile(command, args, { signal, maxBuffer: MAX_REPORT_BYTES }, (error, stdout) => {
      // iperf3 puts the reason of a failure into its report.
      if (error !== null && stdout === '') reject(error);
      else resolve(stdout);
    });
  });
}
