// A node with capped pods and a helper, for tests of what becomes of packets between a pod's
// interface and the exits.

import { setTimeout as sleep } from 'node:timers/promises';
import type { ExecutionContext } from 'ava';
import { inNetns } from '../../helper/kernel/netns.ts';
import { writeSysctl } from '../../helper/kernel/sysctl.ts';
import type { Books } from '../../helper/protocol/messages.ts';
import { indexOf, putProgram, redirectCode } from './foreign-programs.ts';
import {
  addUplink,
  leaveRecord,
  makeHelperDirectories,
  paramsOf,
  startOwnHelper,
  wirePod,
  type HelperDirectories,
  type TestHelper,
} from './helper.ts';
import { makeNetns, runBatch, type TestNetns } from './netns.ts';
import { openSender, sendAll } from './udp-load.ts';
import type { UdpSender } from './udp-sender.ts';

/** What the watch compares over is ten seconds, and two looks have to agree. */
export const TOLD_MS = 15_000;

/** Of each pod, bit/s. */
export const BOOKS_CAP = 1e6;

/** Where the pods' packets lead: by the uplink, and where `wayBy` says. */
export const PEER = '198.51.100.2';
export const ELSEWHERE = '203.0.113.7';

/** What a helper says that tells of a way past a cap. */
export const LEAK = /vanish between/;

export interface BooksPod {
  readonly hostInterface: string;
  readonly hostInterfaceIndex: number;
  readonly sandbox: TestNetns;
  readonly address: string;
  readonly socket: UdpSender;
}

export interface BooksScene {
  readonly node: TestNetns;
  readonly peer: TestNetns;
  readonly pods: readonly BooksPod[];
  readonly helper: TestHelper;
  readonly directories: HelperDirectories;
  /** Starts another helper on the same node; the former one has to be ended. */
  readonly startAgain: () => Promise<TestHelper>;
}

/** So many pods with an egress cap, on a node that forwards. */
export async function makeBooksScene(
  t: ExecutionContext,
  { pods: count, flags = [] }: { pods: number; flags?: readonly string[] },
): Promise<BooksScene> {
  const [node, peer] = [makeNetns(t), makeNetns(t)];
  addUplink(node, peer, 'uplink', 1);
  inNetns(node.netns, () => writeSysctl('net/ipv4/ip_forward', '1'));
  const directories = makeHelperDirectories(t);
  const pods: BooksPod[] = [];
  for (let number = 0; number < count; number += 1) {
    const [sandbox, hostInterface, network] = [makeNetns(t), `pod${number}`, `10.86.${number}`];
    wirePod(node, sandbox, hostInterface);
    await runBatch(node, [`address add ${network}.1/24 dev ${hostInterface}`]);
    const [link] = node.ipJson('link', 'show', 'dev', hostInterface);
    await runBatch(sandbox, [
      `address add ${network}.2/24 dev eth0`,
      `route add default via ${network}.1`,
      // What takes all frames away takes ARP requests, too.
      `neigh add ${network}.1 lladdr ${String(link?.['address'])} dev eth0 nud permanent`,
    ]);
    // In force without sch_fq, too, which the books need not.
    const params = paramsOf(hostInterface, sandbox, { egress: { rateBitsPerSec: BOOKS_CAP } });
    const hostInterfaceIndex = leaveRecord(node, directories, params);
    const socket = openSender(t, sandbox.netns);
    pods.push({
      ...{ hostInterface, hostInterfaceIndex, sandbox, address: `${network}.2`, socket },
    });
  }
  await runBatch(peer, ['route add 10.86.0.0/16 via 198.51.100.1']);
  const start = (): Promise<TestHelper> =>
    startOwnHelper(t, node, directories, ['--reconcile-seconds', '3600', ...flags]);
  return { node, peer, pods, directories, helper: await start(), startAgain: start };
}

/** The books of what a pod sends. */
export async function booksOf(
  helper: TestHelper,
  { hostInterface }: Pick<BooksPod, 'hostInterface'>,
): Promise<Books> {
  const { attachments } = await helper.ask('counters', {});
  const books = attachments.find((each) => each.hostInterface === hostInterface)?.egress?.books;
  if (books === undefined) throw new Error(`no books of ${hostInterface}`);
  return books;
}

/** What `status` says of ways past caps. */
export async function leaks(helper: TestHelper): Promise<string[]> {
  const { problems } = await helper.ask('status', {});
  return problems.filter((problem) => LEAK.test(problem));
}

/**
 * Waits until there is one, or there is none any more, at most so long; gives how long it took in
 * ms, undefined for never.
 */
export async function untilLeaks(
  helper: TestHelper,
  isThere: boolean,
  deadlineMs: number,
): Promise<number | undefined> {
  const beginMs = performance.now();
  for (;;) {
    const isSo = (await leaks(helper)).length > 0 === isThere;
    const tookMs = performance.now() - beginMs;
    if (isSo) return tookMs;
    if (tookMs > deadlineMs) return undefined;
    await sleep(200);
  }
}

export type Leave = () => void | Promise<void>;

/** A program behind podpace's that sends all that comes up from a pod to a device. */
export function redirect(
  t: ExecutionContext,
  { node }: BooksScene,
  pod: BooksPod,
  to: string,
): Promise<Leave> {
  const place = { device: pod.hostInterface, hook: 'ingress', isFirst: false } as const;
  return putProgram(t, node, place, redirectCode(indexOf(node, to)));
}

/** A pair that leads to the peer, and that nothing of the node leads to. */
export function addDevice({ node, peer }: BooksScene, name: string): void {
  node.ip('link', 'add', name, 'type', 'veth', 'peer', 'name', name, 'netns', peer.name);
  for (const side of [node, peer]) side.ip('link', 'set', name, 'up');
}

/** Another device, which the routes to ELSEWHERE lead to. */
export function wayBy(scene: BooksScene, name: string): void {
  const { node, peer } = scene;
  addDevice(scene, name);
  node.ip('address', 'add', '192.0.2.1/24', 'dev', name);
  peer.ip('address', 'add', '192.0.2.2/24', 'dev', name);
  node.ip('route', 'add', '203.0.113.0/24', 'via', '192.0.2.2');
}

/** Sends 1.5 times the cap until told to stop. */
export function startSending(
  t: ExecutionContext,
  { socket }: BooksPod,
  to: string,
): () => Promise<void> {
  const over = new AbortController();
  const sending = (async () => {
    while (!over.signal.aborted) await sendAll([{ socket, to, bitsPerSec: 1.5 * BOOKS_CAP }], 500);
  })();
  const stop = (): Promise<void> => {
    over.abort();
    return sending;
  };
  t.teardown(stop);
  return stop;
}

/** Status, list and CHECK name the pod that leaks and the device, and no other pod. */
export async function requireNamed(
  t: ExecutionContext,
  helper: TestHelper,
  pod: BooksPod,
  device: string,
): Promise<void> {
  const { state } = await helper.ask('status', {});
  t.is(state, 'degraded');
  const texts = await leaks(helper);
  t.is(texts.length, 1);
  t.regex(
    texts[0]!,
    new RegExp(`c-${pod.hostInterface}/eth0.*${device}, without a program of podpace`),
  );
  const { attachments } = await helper.ask('list', {});
  for (const { hostInterface, problemsByDirection = {} } of attachments)
    t.is(LEAK.test((problemsByDirection.egress ?? []).join()), hostInterface === pod.hostInterface);
  const params = paramsOf(pod.hostInterface, pod.sandbox, {
    egress: { rateBitsPerSec: BOOKS_CAP },
  });
  await t.throwsAsync(helper.ask('check', params), { message: LEAK });
}
