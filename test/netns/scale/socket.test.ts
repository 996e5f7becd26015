// The helper's socket under callers who want more than their share, on the built executable.

import fs from 'node:fs';
import net from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { makeHelperDirectories, startOwnHelper, type TestHelper } from '../../kit/helper.ts';
import { rssMib } from '../../kit/helper-process.ts';
import { makeNetns } from '../../kit/netns.ts';

const STATUS = '{"version":2,"method":"status","params":{}}\n';
/**
 * The answers that the kernel gives to a status are freed when the collector comes by: tens of MiB
 * of them at most.
 */
const RSS_GROWTH_MIB = 64;
const LONGEST_ANSWER_MS = 1000;

async function start(t: ExecutionContext): Promise<TestHelper> {
  return startOwnHelper(t, makeNetns(t), makeHelperDirectories(t));
}

function connect(t: ExecutionContext, { socket }: TestHelper): net.Socket {
  const client = net.connect(socket);
  client.on('error', () => undefined);
  t.teardown(() => client.destroy());
  return client;
}

/** Processor time, ms: fields 14 and 15 of proc_pid_stat(5), in ticks of 10 ms. */
function cpuMs(pid: number): number {
  const fields = fs
    .readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /, '')
    .split(' ');
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

/** Asks for the status over and over; returns how long the longest answer took. */
async function askFor(helper: TestHelper, durationMs: number): Promise<number> {
  let longestMs = 0;
  const endMs = performance.now() + durationMs;
  while (performance.now() < endMs) {
    const startMs = performance.now();
    await helper.ask('status', {});
    longestMs = Math.max(longestMs, performance.now() - startMs);
    await sleep(100);
  }
  return longestMs;
}

test.serial(
  '200,000 requests on one connection keep nobody waiting, take no memory, and end with it',
  async (t) => {
    const helper = await start(t);
    const { pid } = helper;
    await askFor(helper, 500);
    const before = rssMib(pid);
    const greedy = connect(t, helper);
    greedy.resume();
    greedy.write(STATUS.repeat(200_000));
    const longestMs = await askFor(helper, 3000);
    const growth = rssMib(pid) - before;
    t.log(`longest answer ${longestMs.toFixed(0)} ms, ${growth.toFixed(1)} MiB more`);
    t.true(longestMs < LONGEST_ANSWER_MS);
    t.true(growth < RSS_GROWTH_MIB);
    greedy.destroy();
    await sleep(300);
    const workedMs = cpuMs(pid);
    await sleep(1000);
    t.true(cpuMs(pid) - workedMs < 200, 'it goes on working for a caller that is gone');
  },
);

const BAD_LINES = {
  'no JSON': 'hello',
  'half of an object': '{',
  'a request that there is not': '{"version":2,"method":"reboot","params":{}}',
} as const;

for (const [what, line] of Object.entries(BAD_LINES)) {
  test.serial(`40,000 bad lines keep nobody waiting: ${what}`, async (t) => {
    const helper = await start(t);
    const bad = connect(t, helper);
    bad.resume();
    bad.write(`${line}\n`.repeat(40_000));
    const longestMs = await askFor(helper, 2000);
    t.log(`longest answer ${longestMs.toFixed(0)} ms`);
    t.true(longestMs < LONGEST_ANSWER_MS);
  });
}

test.serial('300 idle connections keep nobody waiting', async (t) => {
  const helper = await start(t);
  const idle = Array.from({ length: 300 }, () => connect(t, helper));
  await sleep(300);
  t.true(idle.some(({ destroyed }) => !destroyed));
  t.true((await askFor(helper, 500)) < LONGEST_ANSWER_MS);
});
