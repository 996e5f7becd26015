// Which processor does what while round trips are measured: the requests' way has one to itself,
// bulk has the other. What is compared is how long packets queue, and not how long their programs
// wait for a processor.

import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { capture } from '../../scripts/lib/process.ts';
import { UPLINK } from '../bed/uplink.ts';

/** Numbers of processors as taskset wants them; with one only there is no choice. */
const REQUESTS_ON = '0';
const BULK_ON = String(Math.min(1, os.availableParallelism() - 1));
const ANY = `0-${os.availableParallelism() - 1}`;

/** A command turned into the one that runs it on the requests' processor. */
export function besideNothing(command: string, ...args: readonly string[]): [string, ...string[]] {
  return ['taskset', '-c', REQUESTS_ON, command, ...args];
}

/**
 * A command that waits for packets most of the time, and then goes first: sockperf's sender spins.
 */
export function firstOfAll(command: string, ...args: readonly string[]): [string, ...string[]] {
  return besideNothing('chrt', '--fifo', '1', command, ...args);
}

/** A command turned into the one that runs it on the processor of bulk. */
export function asBulk(command: string, ...args: readonly string[]): [string, ...string[]] {
  return ['taskset', '-c', BULK_ON, command, ...args];
}

/** Moves a running server to the processor of bulk while `work` runs. */
export async function servedAsBulk<T>(pid: number, work: () => Promise<T>): Promise<T> {
  const move = (processors: string): Promise<string> =>
    capture('taskset', ['-a', '-c', '-p', processors, String(pid)]);
  await move(BULK_ON);
  try {
    return await work();
  } finally {
    await move(ANY);
  }
}

const THREAD_POLL_MS = 20;

/**
 * Waits for a program's second thread and lets it go first. sockperf's reads the answers while the
 * first one spins.
 */
export async function putSecondThreadFirst(pid: number, signal: AbortSignal): Promise<void> {
  for (;;) {
    if (!fs.existsSync(`/proc/${pid}/task`)) return;
    const second = fs.readdirSync(`/proc/${pid}/task`).find((thread) => thread !== String(pid));
    if (second !== undefined) {
      execFileSync('chrt', ['--fifo', '--pid', '1', second]);
      return;
    }
    await delay(THREAD_POLL_MS, undefined, { signal });
  }
}

/**
 * Writes files of the uplink's queues, in a sysfs of the namespace that is there for this command
 * only.
 */
async function writeQueues(netns: string, lines: readonly string[]): Promise<void> {
  const script = ['mount -t sysfs sysfs /sys', `cd /sys/class/net/${UPLINK}/queues`, ...lines].join(
    '\n',
  );
  await capture('nsenter', [`--net=${netns}`, 'unshare', '--mount', 'sh', '-ec', script]);
}

/**
 * Gives each processor transmit queues of its own, as the drivers of NICs do
 * (Documentation/networking/scaling.rst, XPS).
 */
export async function spreadTransmitQueues(netns: string, queues: number): Promise<void> {
  const processors = os.availableParallelism();
  const lines = Array.from({ length: queues }, (_, queue) => {
    const mask = (1n << BigInt(queue % processors)).toString(16);
    return `echo ${mask} > tx-${queue}/xps_cpus`;
  });
  await writeQueues(netns, lines);
}

/**
 * Lets one processor receive all of a flow, as NICs do (the same document, RSS and RPS). A veth
 * pair leaves packets to the processor that sent them, and the timer of a departure may be another
 * one's than the sender's.
 */
export async function receiveByFlow(netns: string): Promise<void> {
  const mask = ((1n << BigInt(os.availableParallelism())) - 1n).toString(16);
  await writeQueues(netns, [`for queue in rx-*; do echo ${mask} > $queue/rps_cpus; done`]);
}
