// Pods that go by the hundred: a drain, or a node that was away.

import { setTimeout as sleep } from 'node:timers/promises';
import test from 'ava';
import {
  addUplink,
  leaveRecords,
  makeHelperDirectories,
  paramsOf,
  startOwnHelper,
  type HelperDirectories,
} from '../../kit/helper.ts';
import { makeNetns, runBatch, type TestNetns } from '../../kit/netns.ts';

const CAPS = { egress: { rateBitsPerSec: 10_000_000 }, ingress: { rateBitsPerSec: 10_000_000 } };
const FORGET_MS = 5000;
const ANSWER_MS = 1000;
const ASK_EVERY_MS = 100;
const START_MS = 2000;
/** With their programs in place, also on a kernel that refuses each of them its qdisc. */
const RESTART_MS = 3000;

function range(count: number): number[] {
  return Array.from({ length: count }, (_, index) => index);
}

/** Pods with their records; what is named last lives in the sandbox. */
async function leavePods(
  node: TestNetns,
  sandbox: TestNetns,
  directories: HelperDirectories,
  count: number,
): Promise<void> {
  await runBatch(
    node,
    range(count).flatMap((pod) => [
      `link add p${pod} type veth peer name e${pod} netns ${sandbox.name}`,
      `link set p${pod} up group 7`,
    ]),
  );
  const attachments = range(count).map((pod) => paramsOf(`p${pod}`, sandbox, CAPS));
  leaveRecords(node, directories, attachments);
}

test.serial(
  '900 attachments gone at once are forgotten within 5 s, and every status asked meanwhile is answered within 1 s',
  async (t) => {
    t.timeout(300_000);
    const [node, sandbox, peer] = [makeNetns(t), makeNetns(t), makeNetns(t)];
    const directories = makeHelperDirectories(t);
    addUplink(node, peer, 'uplink', 1);
    await leavePods(node, sandbox, directories, 900);
    await (await startOwnHelper(t, node, directories)).end('SIGTERM');
    const startMs = performance.now();
    const helper = await startOwnHelper(t, node, directories);
    const restartMs = performance.now() - startMs;
    t.is((await helper.ask('status', {})).attachments, 900);

    const deletion = runBatch(
      node,
      range(900).map((pod) => `link del p${pod}`),
    );
    let goneMs = performance.now();
    let isGone = false;
    void deletion.then(() => {
      isGone = true;
      goneMs = performance.now();
    });
    let longestMs = 0;
    for (;;) {
      const askedMs = performance.now();
      const { attachments } = await helper.ask('status', {});
      longestMs = Math.max(longestMs, performance.now() - askedMs);
      if (isGone && attachments === 0) break;
      if (isGone && performance.now() - goneMs > 10 * FORGET_MS)
        return t.fail(`${attachments} are left`);
      await sleep(ASK_EVERY_MS);
    }
    const forgottenMs = performance.now() - goneMs;
    t.log(`started again in ${restartMs.toFixed(0)} ms`);
    t.log(
      `forgotten ${forgottenMs.toFixed(0)} ms later, longest answer ${longestMs.toFixed(0)} ms`,
    );
    t.true(restartMs < RESTART_MS);
    t.true(forgottenMs < FORGET_MS);
    t.true(longestMs < ANSWER_MS);
  },
);

test.serial(
  'a start with 150 attachments gone is 2 s longer than an empty one at most',
  async (t) => {
    t.timeout(300_000);
    const [node, sandbox, peer] = [makeNetns(t), makeNetns(t), makeNetns(t)];
    addUplink(node, peer, 'uplink', 1);
    const tookMs: number[] = [];
    for (const count of [0, 150]) {
      const directories = makeHelperDirectories(t);
      await leavePods(node, sandbox, directories, count);
      if (count > 0) await runBatch(node, ['link del group 7']);
      const startMs = performance.now();
      const helper = await startOwnHelper(t, node, directories);
      tookMs.push(performance.now() - startMs);
      t.is((await helper.ask('status', {})).attachments, 0);
      await helper.end('SIGTERM');
    }
    const [emptyMs = 0, goneMs = 0] = tookMs;
    t.log(`${emptyMs.toFixed(0)} ms empty, ${goneMs.toFixed(0)} ms with 150 gone`);
    t.true(goneMs - emptyMs < START_MS);
  },
);
