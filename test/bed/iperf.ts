// Bulk between namespaces by iperf3 3.12, and what its report says of it.

import { execFile } from 'node:child_process';
import { BackgroundProcess } from './background.ts';
import { inNamespace } from './testbed.ts';
import type { UndoStack } from './undo.ts';
import { PEER_ADDRESS } from './uplink.ts';

const PORT = 5201;
const MAX_REPORT_BYTES = 64 * 1024 * 1024;
/** How often iperf3 looks at its sockets: often enough for a mean of the round-trip time. */
const SAMPLE_SECONDS = '0.2';

/** Starts iperf3's server in a namespace and waits until it listens. */
export async function startServer(
  netns: string,
  undo: UndoStack,
  signal: AbortSignal,
  port: number = PORT,
): Promise<BackgroundProcess> {
  const flags = ['--server', '--forceflush', '--port', String(port)];
  const server = await BackgroundProcess.start(...inNamespace(netns, 'iperf3', ...flags));
  undo.defer(`end the iperf3 server in ${netns}`, () => server.stop());
  await server.ready((output) => output.includes('Server listening'), signal);
  return server;
}

/** How a client runs: what it connects to, and where it runs in its namespace. */
interface ClientOptions {
  readonly to?: string;
  readonly place?: (command: string, ...args: readonly string[]) => [string, ...string[]];
}

/**
 * Runs an iperf3 client in a namespace, towards the peer unless told otherwise; returns its report.
 * `signal` ends it early.
 */
export async function runIperf(
  netns: string,
  seconds: number,
  options: readonly string[],
  signal: AbortSignal,
  { to = PEER_ADDRESS, place = (...command) => command }: ClientOptions = {},
): Promise<string> {
  const client = ['--client', to, '--port', String(PORT), '--time', String(seconds)];
  const report = ['--json', '--interval', SAMPLE_SECONDS, '--connect-timeout', '5000'];
  const [command, args] = inNamespace(netns, ...place('iperf3', ...client, ...report, ...options));
  return await new Promise<string>((resolve, reject) => {
    execFile(command, args, { signal, maxBuffer: MAX_REPORT_BYTES }, (error, stdout) => {
      // iperf3 puts the reason of a failure into its report.
      if (error !== null && stdout === '') reject(error);
      else resolve(stdout);
    });
  });
}

/**
 * Lets the pod at `address`, where a server is, send to the peer for a time; `signal` ends it
 * early. Throws Error with iperf3's words.
 */
export async function receive(
  peer: string,
  address: string,
  seconds: number,
  signal: AbortSignal,
): Promise<IperfResult> {
  return parseIperf(await runIperf(peer, seconds, ['--reverse'], signal, { to: address }));
}

function property(value: unknown, ...path: readonly string[]): unknown {
  let current = value;
  for (const name of path) {
    if (typeof current !== 'object' || current === null) return undefined;
    current = (current as Record<string, unknown>)[name];
  }
  return current;
}

/** Throws Error with iperf3's own words when the run has failed. */
function readReport(json: string): unknown {
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
  return report;
}

/** A figure at the end of a report. Throws Error that names it when it is missing. */
function figureOf(report: unknown, sum: string, figure: string): number {
  const value = property(report, 'end', sum, figure);
  if (typeof value !== 'number')
    throw new Error(`Cannot read iperf3's report: it has no end.${sum}.${figure}`);
  return value;
}

/** One run of iperf3 between a sender and a receiver. */
export interface IperfResult {
  /** Segments that the sender's TCP sent again. */
  readonly retransmits: number;
  /** Congestion control of the sender, for instance `cubic`. */
  readonly congestionControl: string;
}

/**
 * Reads the JSON of `iperf3 --json`. Throws Error with iperf3's own words when the run failed, or
 * naming the figure that is missing.
 */
export function parseIperf(json: string): IperfResult {
  const report = readReport(json);
  const congestionControl = property(report, 'end', 'sender_tcp_congestion');
  return {
    retransmits: figureOf(report, 'sum_sent', 'retransmits'),
    congestionControl: typeof congestionControl === 'string' ? congestionControl : 'unknown',
  };
}

/** What the other end received of TCP flows, payload in Mbit/s. Throws as parseIperf does. */
export function parseReceived(json: string): number {
  return figureOf(readReport(json), 'sum_received', 'bits_per_second') / 1e6;
}

/** What a client sent as datagrams, payload in Mbit/s. Throws as parseIperf does. */
export function parseOffered(json: string): number {
  return figureOf(readReport(json), 'sum', 'bits_per_second') / 1e6;
}

/** Datagrams of one flow, as the receiving end of `--udp --reverse` counts them. */
export interface ReceivedDatagrams {
  /** That were sent, as far as their numbers tell. */
  readonly sent: number;
  /** That came after a later one. */
  readonly outOfOrder: number;
}

/** Throws as parseIperf does. */
export function parseDatagrams(json: string): ReceivedDatagrams {
  const report = property(readReport(json), 'end', 'streams', '0', 'udp');
  const [sent, outOfOrder] = [property(report, 'packets'), property(report, 'out_of_order')];
  if (typeof sent !== 'number' || typeof outOfOrder !== 'number')
    throw new Error(`Cannot read iperf3's report: it counts no datagrams`);
  return { sent, outOfOrder };
}

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

/**
 * Reads a report on TCP flows without the first `warmUpSeconds`. Throws Error with iperf3's words.
 */
export function parseBulk(json: string, warmUpSeconds: number): BulkReport {
  const { intervals = [] } = readReport(json) as {
    readonly intervals?: readonly { readonly streams?: readonly IperfSample[] }[];
  };
  const samples = intervals
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
