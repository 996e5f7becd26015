// Two who both insist on being first: a helper, and a program that steps in front of podpace's
// again and again.

import fs from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { loadProgram, PROG_TYPE_SCHED_CLS, programInfo } from '../../../helper/kernel/bpf.ts';
import { bpfFilterOf, filtersAt, replaceBpfFilter } from '../../../helper/kernel/filters.ts';
import { inNetns } from '../../../helper/kernel/netns.ts';
import { createTcxLink, isTcxSupported, queryTcx } from '../../../helper/kernel/tcx.ts';
import {
  addUplink,
  leaveRecord,
  makeHelperDirectories,
  paramsOf,
  startOwnHelper,
  wirePod,
  type TestHelper,
} from '../../kit/helper.ts';
import { makeNetns, type TestNetns } from '../../kit/netns.ts';

const CAPS = { egress: { rateBitsPerSec: 10_000_000 } };
/** How long it may take until podpace is in front again. */
const FIRST_MS = 3000;
/** How often it takes its place back in a minute. */
const TIMES = 3;
/** Longer than the helper takes to look again, by far. */
const STAYS_MS = 7000;

interface Scene {
  readonly node: TestNetns;
  readonly helper: TestHelper;
  /** The host interface. */
  readonly ifindex: number;
}

async function makeScene(t: ExecutionContext): Promise<Scene> {
  const [node, peer, sandbox] = [makeNetns(t), makeNetns(t), makeNetns(t)];
  addUplink(node, peer, 'uplink', 1);
  wirePod(node, sandbox, 'pod0');
  const directories = makeHelperDirectories(t);
  const ifindex = leaveRecord(node, directories, paramsOf('pod0', sandbox, CAPS));
  const helper = await startOwnHelper(t, node, directories, ['--reconcile-seconds', '3600']);
  return { node, helper, ifindex };
}

/** Puts a program that lets every packet go on in front of all others; gives its id. */
async function stepInFront(
  t: ExecutionContext,
  { node, ifindex }: Scene,
  turn: number,
): Promise<number> {
  const instructions = Buffer.from('b7000000ffffffff9500000000000000', 'hex');
  const name = `insists${turn}`;
  const fd = loadProgram({ type: PROG_TYPE_SCHED_CLS, name, license: 'GPL', instructions });
  t.teardown(() => fs.closeSync(fd));
  if (isTcxSupported()) {
    const link = inNetns(node.netns, () =>
      createTcxLink({ programFd: fd, ifindex, hook: 'ingress' }),
    );
    t.teardown(() => fs.closeSync(link));
  } else {
    const place = { ifindex, hook: 'ingress', priority: 1, handle: turn + 1 } as const;
    await replaceBpfFilter(node.rt, { ...place, programFd: fd, name });
  }
  return programInfo(fd).id;
}

/** Id of the program that runs first. */
async function firstProgram({ node, ifindex }: Scene): Promise<number | undefined> {
  if (isTcxSupported()) return inNetns(node.netns, () => queryTcx(ifindex, 'ingress'))[0];
  const filters = await filtersAt(node.rt, ifindex, 'ingress');
  return filters.flatMap((filter) => bpfFilterOf(filter) ?? [])[0]?.programId;
}

/** How long it takes until podpace's program is first; undefined when it takes too long. */
async function untilFirst(scene: Scene, ours: number | undefined): Promise<number | undefined> {
  const beginMs = performance.now();
  while (performance.now() - beginMs < FIRST_MS) {
    if ((await firstProgram(scene)) === ours) return performance.now() - beginMs;
    await sleep(20);
  }
  return undefined;
}

test('whoever steps in front is passed within 3 s, three times in a minute, and then named', async (t) => {
  t.timeout(300_000);
  const scene = await makeScene(t);
  const ours = await firstProgram(scene);
  for (let turn = 0; turn < TIMES; turn += 1) {
    const other = await stepInFront(t, scene, turn);
    t.is(await firstProgram(scene), other);
    const tookMs = await untilFirst(scene, ours);
    t.not(tookMs, undefined, scene.helper.log());
    t.log(`passed after ${tookMs?.toFixed(0)} ms`);
    const told = `Stepped in front of program "insists${turn}" (id ${other}) on pod0 (ingress)`;
    for (let tries = 0; tries < 50 && !scene.helper.log().includes(told); tries += 1)
      await sleep(20);
    t.true(scene.helper.log().includes(told), scene.helper.log());
  }
  const last = await stepInFront(t, scene, TIMES);
  await sleep(STAYS_MS);
  t.is(await firstProgram(scene), last, 'it stays');
  const { problems, notEnforced } = await scene.helper.ask('status', {});
  const { attachments } = await scene.helper.ask('list', {});
  const named = `The classifier on pod0 (ingress) comes after program "insists${TIMES}" (id ${last})`;
  t.true(
    problems.some((problem) => problem.startsWith(named)),
    problems.join('; '),
  );
  t.true(attachments[0]?.problems.some((problem) => problem.startsWith(named)));
  t.is(notEnforced?.[0]?.containerId, 'c-pod0');
  t.regex(
    scene.helper.log(),
    /Others stepped in front on pod0 \(ingress\) of c-pod0\/eth0 3 times in a minute/,
  );
});
