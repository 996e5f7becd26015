// Request/response flows from the pod to the peer, by sockperf in its mode under-load: requests go
// out at a fixed pace, whether or not the answers to earlier ones have come, so that a stall is
// seen in every request that meets it.

import { execFile } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { BackgroundProcess } from '../bed/background.ts';
import { inNamespace } from '../bed/testbed.ts';
import type { UndoStack } from '../bed/undo.ts';
import { PEER_ADDRESS } from '../bed/uplink.ts';
import { besideNothing, firstOfAll, putSecondThreadFirst } from './processors.ts';

/** Payload of a request and of its answer. */
export const MESSAGE_BYTES = 256;

const FIRST_PORT = 11_111;
const MAX_FLOWS = 8;
/** The server need not wake up more often than once a second when it has nothing to do. */
const IDLE_WAKE_UP_MS = '1000';

/** What came of the requests. */
export interface RequestReport {
  readonly roundTripsUs: readonly number[];
  readonly sent: number;
  /** How long the requests that are counted took. */
  readonly seconds: number;
}

/**
 * Reads the file that `sockperf --full-log --full-rtt` writes. Without a single answer it sums up
 * the whole run only. Throws Error when it sums up nothing.
 */
export function parseFullLog(text: string): RequestReport {
  const roundTripsUs = text
    .split('\n')
    .filter((line) => /^\d+,/.test(line))
    .map((line) => Number(line.split(',')[3]));
  const summary =
    /\[Valid Duration\] RunTime=([\d.]+) sec;.* SentMessages=(\d+)/.exec(text) ??
    /\[Total Run\] RunTime=([\d.]+) sec;.* SentMessages=(\d+)/.exec(text);
  if (summary === null)
    throw new Error(
      `Cannot read sockperf's log: no summary in ${JSON.stringify(text.slice(0, 200))}`,
    );
  return { roundTripsUs, seconds: Number(summary[1]), sent: Number(summary[2]) };
}

/** sockperf's list of connections: one flow each, told apart by the server's port. */
export function feedFile(flows: number): string {
  const ports = Array.from({ length: flows }, (_, index) => FIRST_PORT + index);
  return ports.map((port) => `U:${PEER_ADDRESS}:${port}\n`).join('');
}

/** Into a pipe it would keep its messages to itself until it ends. */
export const SERVER = ['stdbuf', '--output=L', 'sockperf', 'server'] as const;

/** Starts a server of sockperf's in a namespace, and waits until it answers. */
export async function startSockperf(
  netns: string,
  command: readonly [string, ...string[]],
  undo: UndoStack,
  signal: AbortSignal,
): Promise<void> {
  const server = await BackgroundProcess.start(...inNamespace(netns, ...command));
  undo.defer('end the sockperf server', () => server.stop());
  await server.ready((output) => output.includes('to block on socket'), signal);
}

/**
 * Starts sockperf's server at the peer; it answers every flow. `folder` takes its list of ports.
 */
export async function startAnswering(
  peer: string,
  folder: string,
  undo: UndoStack,
  signal: AbortSignal,
): Promise<void> {
  const feed = path.join(folder, 'server-feed');
  fs.writeFileSync(feed, feedFile(MAX_FLOWS));
  const server = ['-f', feed, '-F', 'e', '--timeout', IDLE_WAKE_UP_MS];
  await startSockperf(peer, firstOfAll(...SERVER, ...server), undo, signal);
}

/**
 * Runs a client of sockperf's, which writes its log into a folder, and reads that. Throws Error
 * with sockperf's words.
 */
export async function runSockperf(
  [command, args]: readonly [string, readonly string[]],
  folder: string,
  signal: AbortSignal,
  onStart?: (pid: number, signal: AbortSignal) => Promise<void>,
): Promise<RequestReport> {
  const log = path.join(folder, 'requests.csv');
  const all = [...args, '--full-rtt', '--full-log', log];
  await new Promise<void>((resolve, reject) => {
    const sockperf = execFile(command, all, { signal }, (error, stdout, stderr) => {
      if (error === null) resolve();
      else
        reject(
          new Error(`Cannot measure: sockperf says: ${(stderr + stdout).trim()}`, { cause: error }),
        );
    });
    if (sockperf.pid !== undefined) onStart?.(sockperf.pid, signal).catch(reject);
  });
  const report = parseFullLog(fs.readFileSync(log, 'utf8'));
  fs.rmSync(log);
  return report;
}

/** Requests of a run. */
export interface Requests {
  readonly flows: number;
  /** Of each flow. */
  readonly perSec: number;
  /** How long they are sent. sockperf leaves out the first 400 ms and the last 50. */
  readonly seconds: number;
}

/**
 * Sends requests from a pod and collects the round-trip times. Throws Error with sockperf's words.
 */
export async function runRequests(
  pod: string,
  folder: string,
  { flows, perSec, seconds }: Requests,
  signal: AbortSignal,
): Promise<RequestReport> {
  const feed = path.join(folder, 'client-feed');
  fs.writeFileSync(feed, feedFile(flows));
  const load = [
    '--msg-size',
    String(MESSAGE_BYTES),
    '--mps',
    String(flows * perSec),
    '--reply-every',
    '1',
  ];
  // Never --no-rdtsc: sockperf 3.7 then counts nanoseconds as if they were ticks of the TSC, and
  // sends too seldom.
  const time = ['--time', String(seconds)];
  const client = ['under-load', '-f', feed, '-F', 'e', ...load, ...time];
  const command = inNamespace(pod, ...besideNothing('sockperf', ...client));
  return await runSockperf(command, folder, signal, putSecondThreadFirst);
}
