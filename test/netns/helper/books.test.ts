// What vanishes between a pod and the exits is counted, and alarms nobody while nothing else tells
// that it has left.

import { spawnSync } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { inNetns } from '../../../helper/kernel/netns.ts';
import { writeSysctl } from '../../../helper/kernel/sysctl.ts';
import {
  addDevice,
  BOOKS_CAP,
  booksOf,
  leaks,
  makeBooksScene,
  PEER,
  ELSEWHERE,
  redirect,
  requireNamed,
  startSending,
  TOLD_MS,
  untilLeaks,
  wayBy,
  type BooksPod,
  type BooksScene,
} from '../../kit/books-scene.ts';
import { putXdp, verdictCode } from '../../kit/foreign-programs.ts';
import { FRAME_BYTES, sendAll } from '../../kit/udp-load.ts';

const XDP_DROP = 1;
/** Longer than the watch compares over, and the time before. */
const LOAD_MS = 24_000;
/** More than the helper's looks are apart. */
const LOOK_MS = 2500;
/**
 * By then the helper has followed what the scene is made of, and told of a kernel without sch_fq.
 */
const SETTLED_MS = 5000;
/** What a pod's kernel tells the node itself: neighbour discovery. */
const CHATTER = { frames: 5, bytes: 500 };
/** Of what a pod sends: ARP and what its kernel says besides. */
const TOLERANCE = 0.01;

const hasSchFq =
  spawnSync('unshare', ['--net', 'tc', 'qdisc', 'add', 'dev', 'lo', 'root', 'fq']).status === 0;

interface Row {
  readonly why: string;
  readonly to?: string;
  readonly make: (scene: BooksScene, pod: BooksPod, t: ExecutionContext) => void;
}

const ROWS: readonly Row[] = [
  {
    why: "a firewall's drop",
    make: ({ node }, { address }) => {
      const rules = `add table ip t; add chain ip t f { type filter hook forward priority 0; }; add rule ip t f ip saddr ${address} drop`;
      const ended = spawnSync('ip', ['netns', 'exec', node.name, 'nft', rules], {
        encoding: 'utf8',
      });
      if (ended.status !== 0) throw new Error(ended.stderr);
    },
  },
  {
    why: 'no route',
    to: '192.0.2.1',
    make: ({ node }) => void node.ip('route', 'add', 'unreachable', '192.0.2.0/24'),
  },
  { why: 'a TTL of 1', make: (_, { socket }) => socket.setTTL(1) },
  {
    why: 'strict rp_filter',
    make: ({ node }, { hostInterface, sandbox }) => {
      inNetns(node.netns, () => writeSysctl(`net/ipv4/conf/${hostInterface}/rp_filter`, '1'));
      // Its packets say that they come from where the node's routes lead to the uplink.
      sandbox.ip('address', 'add', '203.0.113.9/32', 'dev', 'eth0');
      sandbox.ip('route', 'add', PEER, 'via', '10.86.3.1', 'src', '203.0.113.9');
    },
  },
  {
    // The classifier sees nothing of it.
    why: 'an XDP program that drops',
    make: ({ node }, { hostInterface }, t) => {
      t.teardown(putXdp(t, node, hostInterface, verdictCode(XDP_DROP)));
    },
  },
];

test('ten times the cap into nowhere is counted, and alarms nobody', async (t) => {
  t.timeout(120_000);
  const scene = await makeBooksScene(t, { pods: ROWS.length });
  const { helper, pods } = scene;
  for (const [index, { make }] of ROWS.entries()) make(scene, pods[index]!, t);
  await sleep(SETTLED_MS);
  const linesBefore = helper.log().split('\n').length;
  const flows = ROWS.map(({ to = PEER }, index) => ({
    socket: pods[index]!.socket,
    to,
    bitsPerSec: 10 * BOOKS_CAP,
  }));
  const sending = sendAll(flows, LOAD_MS);
  const told: string[] = [];
  for (let looks = 0; looks < LOAD_MS / 1000; looks += 1) {
    told.push(...(await leaks(helper)));
    await sleep(1000);
  }
  await sending;
  t.deepEqual(told, []);
  // What the classifier has not seen is known by the next look.
  await sleep(LOOK_MS);
  const { state, problems } = await helper.ask('status', {});
  if (hasSchFq) t.is(state, 'ok', problems.join('; '));
  t.true(helper.log().split('\n').length - linesBefore <= 1, helper.log());
  const { attachments } = await helper.ask('list', {});
  const offered = Math.floor((LOAD_MS * 10 * BOOKS_CAP) / 8000 / FRAME_BYTES) * FRAME_BYTES;
  for (const [index, { why }] of ROWS.entries()) {
    const pod = pods[index]!;
    const { seenBytes, settledBytes, unaccountedBytes } = await booksOf(helper, pod);
    const share = unaccountedBytes / offered;
    t.log(`${why}: ${unaccountedBytes} of ${seenBytes} bytes unaccounted`);
    t.true(Math.abs(share - 1) <= TOLERANCE, `${why}: ${share}, settled ${settledBytes}`);
    const item = attachments.find(({ hostInterface }) => hostInterface === pod.hostInterface);
    t.is(item?.unaccountedBytes, unaccountedBytes);
  }
});

test('what a cap holds is settled, also what its departure step drops', async (t) => {
  const scene = await makeBooksScene(t, { pods: 1 });
  const [pod] = scene.pods;
  await sendAll([{ socket: pod!.socket, to: PEER, bitsPerSec: 10 * BOOKS_CAP }], 2000);
  await sleep(100);
  const books = await booksOf(scene.helper, pod!);
  t.true(books.droppedBytes > books.seenBytes / 2, JSON.stringify(books));
  t.true(books.seenFrames - books.settledFrames <= CHATTER.frames, JSON.stringify(books));
  t.true(books.unaccountedBytes <= CHATTER.bytes, JSON.stringify(books));
});

/** So that there is a time before. */
const QUIET_MS = 22_000;
/** A helper that has just begun knows none. */
const TOLD_AGAIN_MS = 20_000;

test('what leaves past every exit is told of while it does, also by the next helper', async (t) => {
  t.timeout(180_000);
  const scene = await makeBooksScene(t, { pods: 3, flags: ['--uplink', 'uplink'] });
  const { pods } = scene;
  addDevice(scene, 'leak0');
  wayBy(scene, 'eth1');
  startSending(t, pods[2]!, PEER);
  await sleep(QUIET_MS);
  t.deepEqual(await leaks(scene.helper), []);

  const leave = await redirect(t, scene, pods[0]!, 'leak0');
  startSending(t, pods[0]!, PEER);
  const toldMs = await untilLeaks(scene.helper, true, TOLD_MS);
  t.log(`a redirect: told after ${toldMs?.toFixed(0)} ms`);
  await requireNamed(t, scene.helper, pods[0]!, 'leak0');

  await scene.helper.end('SIGTERM');
  const next = await scene.startAgain();
  const againMs = await untilLeaks(next, true, TOLD_AGAIN_MS);
  t.log(`the same by a helper that is started then: after ${againMs?.toFixed(0)} ms`);
  await requireNamed(t, next, pods[0]!, 'leak0');

  await leave();
  const solvedMs = await untilLeaks(next, false, TOLD_MS);
  t.log(`without it: well after ${solvedMs?.toFixed(0)} ms`);
  t.not(solvedMs, undefined);
  t.regex(next.log(), /Solved: what c-pod0\/eth0 sends leaves by the exits again/);

  startSending(t, pods[1]!, ELSEWHERE);
  const routedMs = await untilLeaks(next, true, TOLD_MS);
  t.log(`--uplink uplink, and a route by eth1: told after ${routedMs?.toFixed(0)} ms`);
  await requireNamed(t, next, pods[1]!, 'eth1');
});
