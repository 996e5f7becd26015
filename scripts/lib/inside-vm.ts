// What a VM runs of ./scripts/test, bundled as the tests are: to strip the types of the script and
// of all that it imports is seconds of an emulated processor.

import fs from 'node:fs';
import { release } from 'node:os';
import path from 'node:path';
import { addTallies, type Tally } from './ava.ts';
import { newComplaints, readKernelLog } from './kernel-log.ts';
import { say } from './progress.ts';
import { runHere } from './run-here.ts';

/** What a VM is told, in a file beside the bundles. */
export interface GuestJob {
  /** Stands before each line about these tests. */
  readonly label: string;
  /** Bundles of test files, by their names there. */
  readonly files: readonly string[];
  /** Whether its clock counts instructions, and passes over waiting. */
  readonly isTimed: boolean;
  /** Every crossing of test/kit/crossings.ts, and not one of each kind. */
  readonly hasAllCrossings: boolean;
}

/** What it says of them, in another. */
export interface GuestResult {
  readonly tally: Tally;
  /** What `uname -r` says there. */
  readonly ranOn: string;
}

export const JOB_FILE = 'job.json';
export const RESULT_FILE = 'result.json';

/** By a clock that passes over waiting, reading a file takes the guest any time. */
const AVA_TIMEOUT_TIMED = '24h';
/** What the guest's processor may work until the next test ends: none needs half of it. */
const STALL_MS = 120_000;
/**
 * By time: a busy machine is minutes at compiling and verifying all programs for the first test.
 */
const AVA_TIMEOUT = '900s';

/** Does the job that stands in the directory, and leaves its result there. */
export async function runGuestJob(directory: string): Promise<void> {
  const job = JSON.parse(fs.readFileSync(path.join(directory, JOB_FILE), 'utf8')) as GuestJob;
  const { label, isTimed } = job;
  if (job.hasAllCrossings) process.env['PODPACE_CROSSINGS'] = 'all';
  const before = await readKernelLog();
  const tally = await runHere(job.files, {
    ...{ label, directory, concurrency: 1, hasFreeWaits: isTimed },
    // What goes by that clock can be tested on every kernel.
    allowSkips: !isTimed,
    ...(isTimed ? { timeout: AVA_TIMEOUT_TIMED, stallMs: STALL_MS } : { timeout: AVA_TIMEOUT }),
    // Who ends this early ends the VM.
    signal: new AbortController().signal,
  });
  const complaints = newComplaints(before, await readKernelLog());
  for (const line of complaints) say(`${label}: the kernel says: ${line}`);
  const ofKernel = { passed: 0, failed: complaints.length, skipped: 0 };
  const result: GuestResult = { tally: addTallies(tally, ofKernel), ranOn: release() };
  fs.writeFileSync(path.join(directory, RESULT_FILE), JSON.stringify(result));
}
