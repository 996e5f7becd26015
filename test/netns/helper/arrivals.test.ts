// What comes into a pod past its cap, by a program of somebody's that redirects to the other end of
// the pair, or by XDP to the host interface, is told of; what comes by the cap is not.

import { setTimeout as sleep } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import {
  indexOf,
  putProgram,
  putXdp,
  redirectCode,
  redirectPeerCode,
} from '../../kit/foreign-programs.ts';
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
import { openSender, sendAll } from '../../kit/udp-load.ts';

const CAP = 1e6;
const TOLD_MS = 15_000;
/** Longer than the watch looks back, and a look. */
const GONE_MS = 15_000;
const PAST = /of what c-pod0\/eth0 receives come past pod0, and so past the cap/;
const UNSEEN = /of what c-pod0\/eth0 receives are sent by pod0 and not seen by the program/;

interface Scene {
  readonly node: TestNetns;
  readonly pod: TestNetns;
  readonly helper: TestHelper;
  readonly over: AbortController;
}

/** A node with a pod whose ingress has a cap, one without, and a peer that sends to the first. */
async function makeScene(t: ExecutionContext): Promise<Scene> {
  t.timeout(120_000);
  const [node, pod, other, peer] = [makeNetns(t), makeNetns(t), makeNetns(t), makeNetns(t)];
  addUplink(node, peer, 'uplink', 1);
  wirePod(node, pod, 'pod0');
  wirePod(node, other, 'pod1');
  const [link] = node.ipJson('link', 'show', 'dev', 'uplink');
  peer.ip('neigh', 'replace', '198.51.100.1', 'lladdr', String(link?.['address']), 'dev', 'uplink');
  peer.ip('route', 'add', '10.86.0.0/24', 'via', '198.51.100.1');
  const directories = makeHelperDirectories(t);
  leaveRecord(node, directories, paramsOf('pod0', pod, { ingress: { rateBitsPerSec: CAP } }));
  leaveRecord(node, directories, paramsOf('pod1', other, { egress: { rateBitsPerSec: CAP } }));
  const helper = await startOwnHelper(t, node, directories);
  const [socket, over] = [openSender(t, peer.netns), new AbortController()];
  const sending = (async () => {
    const load = { socket, to: '10.86.0.2', bitsPerSec: 1.5 * CAP };
    while (!over.signal.aborted) await sendAll([load], 500);
  })();
  t.teardown(() => {
    over.abort();
    return sending;
  });
  return { node, pod, helper, over };
}

/** Waits until something of that kind is told, or is not any more; gives whether that came. */
async function until(
  helper: TestHelper,
  as: RegExp,
  isTold: boolean,
  deadlineMs: number,
): Promise<boolean> {
  const endMs = performance.now() + deadlineMs;
  for (;;) {
    const { problems } = await helper.ask('status', {});
    if (problems.some((text) => as.test(text)) === isTold) return true;
    if (performance.now() > endMs) return false;
    await sleep(200);
  }
}

test('what is redirected to the pod’s end is told of, with the pod and the direction', async (t) => {
  const { node, helper, pod, over } = await makeScene(t);
  const place = { device: 'uplink', hook: 'ingress', isFirst: false } as const;
  await putProgram(t, node, place, redirectPeerCode(indexOf(node, 'pod0')));
  t.true(await until(helper, PAST, true, TOLD_MS), helper.log());
  const { attachments } = await helper.ask('list', {});
  for (const { hostInterface, problemsByDirection = {} } of attachments) {
    t.is(PAST.test((problemsByDirection.ingress ?? []).join()), hostInterface === 'pod0');
    t.false(PAST.test((problemsByDirection.egress ?? []).join()));
  }
  const params = paramsOf('pod0', pod, { ingress: { rateBitsPerSec: CAP } });
  await t.throwsAsync(helper.ask('check', params), { message: PAST });
  over.abort();
  t.true(await until(helper, PAST, false, GONE_MS), helper.log());
  t.regex(helper.log(), /Solved: what c-pod0\/eth0 receives comes by its cap again/);
});

test('what an XDP program redirects to the host interface is told of', async (t) => {
  const { node, helper, over } = await makeScene(t);
  const takeOff = putXdp(t, node, 'uplink', redirectCode(indexOf(node, 'pod0')));
  t.true(await until(helper, UNSEEN, true, TOLD_MS), helper.log());
  over.abort();
  t.true(await until(helper, UNSEEN, false, GONE_MS), helper.log());
  takeOff();
});

test('what is redirected to the host interface by tc alarms nobody', async (t) => {
  const { node, helper } = await makeScene(t);
  const place = { device: 'uplink', hook: 'ingress', isFirst: false } as const;
  await putProgram(t, node, place, redirectCode(indexOf(node, 'pod0')));
  t.false(await until(helper, /c-pod0\/eth0 receives/, true, TOLD_MS), helper.log());
});
