// A node that speaks BGP: 20,000 and 80,000 routes, of which a quarter come and go.

import { spawn } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { cpuSec } from '../../kit/helper-process.ts';
import {
  addUplink,
  leaveRecord,
  makeHelperDirectories,
  paramsOf,
  startOwnHelper,
  wirePod,
  type TestHelper,
} from '../../kit/helper.ts';
import { makeNetns, runBatch, type TestNetns } from '../../kit/netns.ts';

const CAPS = { egress: { rateBitsPerSec: 10_000_000 } };
const FEWER = 20_000;
const MORE = 80_000;
/** Each route that flaps goes and comes once in this time. */
const FLAP_SEC = 10;
const FLAP_STEP_MS = 50;
const ASKED = 20;
const REST_SEC = 10;
const FOLLOW_MS = 2000;
const ANSWER_MS = 2000;

/** Half of them lead over the uplink, and half over a device that has no default route. */
function routeAt(at: number): string {
  const gateway = at % 2 === 0 ? '198.51.100.2' : '192.0.2.2';
  return `10.${at >>> 12}.${(at >>> 4) & 255}.${(at & 15) << 4}/28 via ${gateway}`;
}

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, at) => from + at);
}

/** The first quarter of so many routes goes and comes until it is stopped. */
function startFlapping(t: ExecutionContext, node: TestNetns, count: number): () => Promise<void> {
  const batch = spawn('ip', ['-n', node.name, '-batch', '-'], {
    stdio: ['pipe', 'ignore', 'inherit'],
  });
  const ended = new Promise((resolve) => batch.on('close', resolve));
  const flapping = count / 4;
  const perStep = Math.ceil((flapping * FLAP_STEP_MS) / 1000 / FLAP_SEC);
  let at = 0;
  const timer = setInterval(() => {
    const step = range(at, at + perStep).map((index) => routeAt(index % flapping));
    at += perStep;
    const lines = ['del', 'add'].flatMap((verb) => step.map((route) => `route ${verb} ${route}\n`));
    batch.stdin.write(lines.join(''));
  }, FLAP_STEP_MS);
  const stop = async (): Promise<void> => {
    clearInterval(timer);
    batch.stdin.end();
    await ended;
  };
  t.teardown(stop);
  return stop;
}

async function timed(answer: Promise<unknown>): Promise<number> {
  const startMs = performance.now();
  await answer.catch(() => undefined);
  return performance.now() - startMs;
}

/** How long answers take while routes flap, in milliseconds, in ascending order. */
async function askMuch(
  helper: TestHelper,
  sandbox: TestNetns,
): Promise<{ attach: number[]; status: number[] }> {
  const [attach, status]: [number[], number[]] = [[], []];
  for (let turn = 0; turn < ASKED; turn++) {
    // A kernel without sch_fq refuses it, after the same look at the node.
    attach.push(await timed(helper.ask('attach', paramsOf('pod1', sandbox, CAPS))));
    status.push(await timed(helper.ask('status', {})));
    await sleep(100);
  }
  const inOrder = (times: number[]): number[] => times.toSorted((a, b) => a - b);
  return { attach: inOrder(attach), status: inOrder(status) };
}

const longest = (times: readonly number[]): number => times.at(-1) ?? Infinity;
const median = (times: readonly number[]): number => times[times.length >>> 1] ?? Infinity;

/**
 * Gives the node another way off it, and takes it away again; how long the helper took to find it,
 * in milliseconds.
 */
async function findSecond(helper: TestHelper, node: TestNetns, far: TestNetns): Promise<number> {
  await runBatch(node, [
    `link add second type veth peer name second netns ${far.name}`,
    'address add 203.0.113.1/24 dev second',
    'link set second up',
    'route del 203.0.113.0/24 dev second',
  ]);
  await sleep(FOLLOW_MS);
  const startMs = performance.now();
  node.ip('route', 'add', 'default', 'dev', 'second', 'metric', '50');
  while (performance.now() - startMs < 3 * FOLLOW_MS) {
    const { exits } = await helper.ask('status', {});
    if (exits.find(({ name }) => name === 'second')?.departureProgram === true) break;
    await sleep(20);
  }
  const foundMs = performance.now() - startMs;
  node.ip('link', 'delete', 'second');
  return foundMs;
}

test.serial(
  '80,000 routes, a quarter of them flapping, make no answer late and cost little',
  async (t) => {
    t.timeout(300_000);
    const [node, peer, mesh, sandbox, other, far] = [
      ...[makeNetns(t), makeNetns(t), makeNetns(t)],
      ...[makeNetns(t), makeNetns(t), makeNetns(t)],
    ] as [TestNetns, TestNetns, TestNetns, TestNetns, TestNetns, TestNetns];
    addUplink(node, peer, 'uplink', 1);
    wirePod(node, mesh, 'mesh');
    node.ip('address', 'add', '192.0.2.1/24', 'dev', 'mesh');
    for (const [name, pod] of [
      ['pod0', sandbox],
      ['pod1', other],
    ] as const)
      wirePod(node, pod, name);
    const directories = makeHelperDirectories(t);
    leaveRecord(node, directories, paramsOf('pod0', sandbox, CAPS));
    const helper = await startOwnHelper(t, node, directories);
    const { pid } = helper;

    const measured = [];
    let before = 0;
    for (const count of [FEWER, MORE]) {
      await runBatch(
        node,
        range(before, count).map((at) => `route add ${routeAt(at)}`),
      );
      before = count;
      await sleep(1000);
      const restSec = cpuSec(pid);
      await sleep(REST_SEC * 1000);
      const rest = (cpuSec(pid) - restSec) / REST_SEC;
      const stop = startFlapping(t, node, count);
      await sleep(1000);
      const [startSec, startMs] = [cpuSec(pid), performance.now()];
      const foundMs = await findSecond(helper, node, far);
      const busy = (cpuSec(pid) - startSec) / ((performance.now() - startMs) / 1000);
      const answers = await askMuch(helper, other);
      await stop();
      measured.push({ rest, foundMs, ...answers });
      t.log(
        `${count} routes: at rest ${(rest * 100).toFixed(1)} % of a core, with ${count / 4 / FLAP_SEC} a second that go and come`,
        `${(busy * 100).toFixed(0)} %; attach ${median(answers.attach).toFixed(0)} to ${longest(answers.attach).toFixed(0)} ms,`,
        `status to ${longest(answers.status).toFixed(0)} ms; a default route found after ${foundMs.toFixed(0)} ms`,
      );
    }
    for (const { rest, foundMs, attach, status } of measured) {
      t.true(rest < 0.1);
      t.true(foundMs < FOLLOW_MS);
      t.true(longest(attach) < ANSWER_MS);
      t.true(longest(status) < ANSWER_MS);
    }
    const [fewer, more] = measured.map(({ attach }) => median(attach));
    t.true((more ?? Infinity) <= 6 * (fewer ?? 0));
    t.is((await helper.ask('list', {})).attachments.length, 1, helper.log());
  },
);
