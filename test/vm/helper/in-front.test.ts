// Others at the hooks where podpace's programs stand: what would end or redirect a packet's way
// before them is passed, and the cap holds; what cannot be passed, or takes packets away behind
// them, is reported by name. Frames are counted at the peer.
//
// Each is first tried while the helper is stopped: then more than the cap comes through, or the
// case shows nothing.

import fs from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { ensureClsact, replaceBpfFilter, type TcHook } from '../../../helper/kernel/filters.ts';
import { inNetns } from '../../../helper/kernel/netns.ts';
import { writeSysctl } from '../../../helper/kernel/sysctl.ts';
import { createTcxLink, isTcxSupported } from '../../../helper/kernel/tcx.ts';
import { attachCounter, compileCounter, type Counter } from '../../bed/counter.ts';
import { COUNTED_INTERVAL_MS } from '../../bed/series.ts';
import { indexOf, load, putXdp, redirectCode, verdictCode } from '../../kit/foreign-programs.ts';
import {
  addUplink,
  makeHelperDirectories,
  paramsOf,
  startOwnHelper,
  wirePod,
  type TestHelper,
} from '../../kit/helper.ts';
import { makeNetns, runBatch, type TestNetns } from '../../kit/netns.ts';
import { FRAME_BYTES, openSender, sendAll, type Flow } from '../../kit/udp-load.ts';
import { wholeFile } from '../../kit/whole-file.ts';

const CAP_MBIT = 10;
const OFFERED_MBIT = 20;
const LOAD_MS = 2000;
/** How far from its cap a pod may be. */
const TOLERANCE = 0.01;
/** More than this is no cap. */
const UNCAPPED_MBIT = 1.5 * CAP_MBIT;
/** How long it may take until podpace is in front again, and until it is told that it cannot be. */
const FIRST_MS = 3000;
const REPORT_MS = 5000;
/** Each look at it is work of the helper's, which an emulated processor is long at. */
const POLL_MS = 200;
/** What has left past the exits is told of for as long as the books look back, and a look. */
const BOOKS_MS = 15_000;

const POD = { name: 'pod0', address: '10.86.1.2', gateway: '10.86.1.1' };
const PEER = '198.51.100.2';
const IS_TCX = isTcxSupported();

/** One for all tests: a helper that starts is most of what it costs. */
interface SharedNode {
  readonly node: TestNetns;
  readonly sandbox: TestNetns;
  readonly helper: TestHelper;
  /** At the peer. */
  readonly counter: Counter;
}

interface Scene extends SharedNode {
  readonly flow: Flow;
  readonly indexes: { readonly pod: number; readonly uplink: number };
}

let shared: SharedNode | undefined;
const untilEnd = wholeFile(test, () => {
  shared = undefined;
});

/** A node with a helper that only does what it does every two seconds. */
async function makeNode(): Promise<SharedNode> {
  compileCounter();
  const [node, peer, sandbox] = [makeNetns(untilEnd), makeNetns(untilEnd), makeNetns(untilEnd)];
  addUplink(node, peer, 'uplink', 1);
  await runBatch(peer, ['route add 10.86.0.0/16 via 198.51.100.1']);
  inNetns(node.netns, () => writeSysctl('net/ipv4/ip_forward', '1'));
  const helper = await startOwnHelper(untilEnd, node, makeHelperDirectories(untilEnd), [
    '--reconcile-seconds',
    '3600',
  ]);
  const counter = await attachCounter(
    { netns: `/run/netns/${peer.name}`, device: 'uplink' },
    untilEnd,
  );
  return { node, sandbox, helper, counter };
}

/** The node with one pod, which has no cap yet. */
async function makeScene(t: ExecutionContext): Promise<Scene> {
  t.timeout(600_000);
  shared ??= await makeNode();
  const { node, sandbox, helper } = shared;
  const isAlone = async (): Promise<boolean> =>
    (await helper.ask('list', {})).attachments.length === 0;
  t.not(await waitFor(isAlone, FIRST_MS), undefined, 'the pod of the test before is known');
  t.teardown(() => void node.ip('link', 'delete', POD.name));
  wirePod(node, sandbox, POD.name);
  await runBatch(node, [`address add ${POD.gateway}/24 dev ${POD.name}`]);
  const [link] = node.ipJson('link', 'show', 'dev', POD.name);
  await runBatch(sandbox, [
    `address add ${POD.address}/24 dev eth0`,
    `route add default via ${POD.gateway}`,
    // What takes all of the pod's frames away takes its ARP requests, too.
    `neigh add ${POD.gateway} lladdr ${String(link?.['address'])} dev eth0 nud permanent`,
  ]);
  const socket = openSender(t, sandbox.netns);
  return {
    ...shared,
    flow: { socket, to: PEER, bitsPerSec: OFFERED_MBIT * 1e6 },
    indexes: { pod: indexOf(node, POD.name), uplink: indexOf(node, 'uplink') },
  };
}

async function capPod({ helper, sandbox }: Scene): Promise<void> {
  const cap = { rateBitsPerSec: CAP_MBIT * 1e6 };
  await helper.ask('attach', paramsOf(POD.name, sandbox, { egress: cap }));
}

/** Mbit/s of the pod's frames at the peer while it sends. */
async function measure({ counter, flow }: Scene): Promise<number> {
  counter.reset();
  await sendAll([flow], LOAD_MS);
  await sleep(100);
  const intervals = counter.readWire(COUNTED_INTERVAL_MS).get(POD.address) ?? [];
  const bytes = intervals.reduce((sum, each) => sum + each, 0);
  // From the first frame to the last: what the first one takes has passed before.
  const ms = Math.max(intervals.length * COUNTED_INTERVAL_MS, LOAD_MS);
  return ((bytes - FRAME_BYTES) * 8) / ms / 1000;
}

function isHeld(mbit: number): boolean {
  return Math.abs(mbit / CAP_MBIT - 1) <= TOLERANCE;
}

/** What status and list say of the pod. */
async function told({ helper }: Scene): Promise<{ state: string; status: string; list: string }> {
  const [{ state, problems, notices }, { attachments }] = await Promise.all([
    helper.ask('status', {}),
    helper.ask('list', {}),
  ] as const);
  const [pod] = attachments;
  const list = [...(pod?.problems ?? []), ...(pod?.notes ?? [])].join('; ');
  return { state, status: [...problems, ...notices].join('; '), list };
}

/**
 * Waits until something is so, at most so long, and gives how long it took; undefined when it never
 * was.
 */
async function waitFor(
  isSo: () => Promise<boolean>,
  deadlineMs: number,
): Promise<number | undefined> {
  const beginMs = performance.now();
  for (;;) {
    const isNow = await isSo();
    const tookMs = performance.now() - beginMs;
    if (isNow) return tookMs;
    if (tookMs > deadlineMs) return undefined;
    await sleep(POLL_MS);
  }
}

/** What another program leaves behind when it goes. */
type Leave = () => void;

/** Handles of filters. */
let filters = 0;

/** Puts a program in front of all others at a hook, as others do it on this kernel. */
async function stepInFront(
  scene: Scene,
  fd: number,
  ifindex: number,
  hook: TcHook,
): Promise<Leave> {
  const { node } = scene;
  if (IS_TCX) {
    const link = inNetns(node.netns, () => createTcxLink({ programFd: fd, ifindex, hook }));
    return () => fs.closeSync(link);
  }
  filters += 1;
  const filter = { ifindex, hook, priority: 1, handle: filters, programFd: fd, name: 'other' };
  await ensureClsact(node.rt, ifindex);
  await replaceBpfFilter(node.rt, filter);
  const device = ifindex === scene.indexes.pod ? POD.name : 'uplink';
  const one = [
    'dev',
    device,
    hook,
    'pref',
    '1',
    'protocol',
    'all',
    'handle',
    `0x${filters.toString(16)}`,
    'bpf',
  ];
  return () => void node.tc('filter', 'delete', ...one);
}

interface Case {
  readonly what: string;
  readonly make: (t: ExecutionContext, scene: Scene) => Leave | Promise<Leave>;
  /**
   * What status and list say, and whether it is a fault; absent: the cap holds, for podpace steps
   * in front.
   */
  readonly reported?: { readonly as: RegExp; readonly isFault: boolean };
  /** The cap holds all the time. */
  readonly isHarmless?: true;
  /** Which kernels have it: those with tcx, or those without; all when absent. */
  readonly on?: 'tcx' | 'clsact';
}

function inFront(what: string, at: 'pod' | 'uplink', code: (scene: Scene) => Buffer): Case {
  const hook = at === 'pod' ? 'ingress' : 'egress';
  return {
    what: `${what} in front at the ${at === 'pod' ? 'host interface' : 'uplink'}`,
    make: (t, scene) => stepInFront(scene, load(t, code(scene)).fd, scene.indexes[at], hook),
  };
}

function filterOf(what: string, device: string, [hook, words]: [TcHook, string]): Case['make'] {
  return (t, { node }) => {
    node.ip('link', 'add', 'ifb0', 'type', 'ifb');
    node.ip('link', 'set', 'ifb0', 'up');
    const hasQdisc = /clsact/.test(node.tc('qdisc', 'show', 'dev', device));
    if (!hasQdisc) node.tc('qdisc', 'add', 'dev', device, ...what.split(' '));
    node.tc(
      'filter',
      'add',
      'dev',
      device,
      ...(what === 'ingress' ? ['parent', 'ffff:'] : [hook]),
      ...words.split(' '),
    );
    return () => {
      if (!hasQdisc) node.tc('qdisc', 'delete', 'dev', device, ...what.split(' '));
      else node.tc('filter', 'delete', 'dev', device, hook, 'pref', '500');
      node.ip('link', 'delete', 'ifb0');
    };
  };
}

const TO_IFB = 'protocol all pref 500 u32 match u32 0 0 action mirred egress redirect dev ifb0';

const TC_ACT_OK = 0;

const XDP_PASS = 2;
const XDP_NOTE = /XDP program "other\d+" \(id \d+\) on pod0 may redirect packets past the cap/;

const CASES: readonly Case[] = [
  inFront('a program that returns TCX_PASS', 'pod', () => verdictCode(TC_ACT_OK)),
  inFront('a program that returns TCX_PASS', 'uplink', () => verdictCode(TC_ACT_OK)),
  inFront('a program that redirects to the uplink', 'pod', ({ indexes }) =>
    redirectCode(indexes.uplink),
  ),
  {
    what: 'a clsact filter behind that redirects to an ifb and back',
    make: filterOf('clsact', POD.name, ['ingress', TO_IFB]),
    reported: {
      as: /filter "u32" \(priority 500\) on pod0 \(ingress\) redirects packets to ifb0 and back/,
      isFault: false,
    },
    isHarmless: true,
  },
  {
    what: 'the ingress qdisc of the bandwidth plugin, to an ifb and back',
    make: filterOf('ingress', POD.name, ['ingress', TO_IFB]),
    reported: {
      as: /filter "u32" \(priority 500\) on pod0 \(ingress\) redirects packets to ifb0 and back/,
      isFault: false,
    },
    isHarmless: true,
    on: 'tcx',
  },
  {
    what: 'a clsact filter at the uplink that redirects to an ifb and back',
    make: filterOf('clsact', 'uplink', ['egress', TO_IFB]),
    reported: { as: /on uplink \(egress\) redirects packets to ifb0 and back/, isFault: false },
    isHarmless: true,
  },
  {
    what: 'a clsact filter behind that redirects to the uplink',
    make: filterOf('clsact', POD.name, ['ingress', TO_IFB.replace('ifb0', 'uplink')]),
    isHarmless: true,
  },
  {
    what: 'an XDP program on the host interface that redirects to the uplink',
    make: (t, scene) => putXdp(t, scene.node, POD.name, redirectCode(scene.indexes.uplink)),
    reported: { as: XDP_NOTE, isFault: false },
  },
  {
    what: 'an XDP program on the host interface that passes',
    make: (t, scene) => putXdp(t, scene.node, POD.name, verdictCode(XDP_PASS)),
    reported: { as: XDP_NOTE, isFault: false },
    isHarmless: true,
  },
];

/** Nothing is wrong any more, and nothing is to be known. */
async function isWell(scene: Scene): Promise<boolean> {
  const { state, status } = await told(scene);
  return state === 'ok' && status === '';
}

async function tryCase(t: ExecutionContext, scene: Scene, one: Case): Promise<void> {
  const { what, make, reported, isHarmless = false } = one;
  const { pid } = scene.helper;
  process.kill(pid, 'SIGSTOP');
  const leave = await make(t, scene);
  const before = await measure(scene);
  process.kill(pid, 'SIGCONT');
  t.true(
    isHarmless ? isHeld(before) : before > UNCAPPED_MBIT,
    `${what}: ${before.toFixed(2)} unnoticed`,
  );
  if (reported === undefined) {
    const tookMs = await waitFor(() => isWell(scene), FIRST_MS);
    const after = await measure(scene);
    t.log(
      `${what}: ${before.toFixed(2)}, after ${tookMs?.toFixed(0)} ms ${after.toFixed(2)} Mbit/s`,
    );
    t.not(tookMs, undefined, `${what}: ${JSON.stringify(await told(scene))}`);
    t.true(isHeld(after), `${what}: ${after.toFixed(2)}`);
  } else {
    const isTold = async (): Promise<boolean> => {
      const { status, list } = await told(scene);
      return reported.as.test(status) && reported.as.test(list);
    };
    const tookMs = await waitFor(isTold, REPORT_MS);
    t.log(`${what}: ${before.toFixed(2)} Mbit/s, told after ${tookMs?.toFixed(0)} ms`);
    t.not(tookMs, undefined, `${what}: ${JSON.stringify(await told(scene))}`);
    t.is((await told(scene)).state, reported.isFault ? 'degraded' : 'ok', what);
  }
  leave();
  if (!isHarmless) await sleep(BOOKS_MS);
  t.not(
    await waitFor(() => isWell(scene), FIRST_MS),
    undefined,
    `${what}: not well when it has gone`,
  );
}

test.serial(
  'what stands in front of podpace, or takes packets away, is passed or told of',
  async (t) => {
    const scene = await makeScene(t);
    await capPod(scene);
    const plain = await measure(scene);
    t.true(isHeld(plain), `nobody else: ${plain.toFixed(2)}`);
    for (const each of CASES.filter(({ on }) => on === undefined || (on === 'tcx') === IS_TCX))
      await tryCase(t, scene, each);
  },
);

test.serial(
  'a filter of another kind that has the first priority keeps no pod from its cap, and is told of',
  async (t) => {
    const scene = await makeScene(t);
    const { node } = scene;
    node.tc('qdisc', 'add', 'dev', POD.name, 'clsact');
    const words = 'pref 1 protocol all u32 match u32 0 0 action pass';
    node.tc('filter', 'add', 'dev', POD.name, 'ingress', ...words.split(' '));
    await capPod(scene);
    const { state, status } = await told(scene);
    if (IS_TCX) {
      t.is(state, 'ok', status);
      t.true(isHeld(await measure(scene)));
      return;
    }
    t.regex(status, /classifier on pod0 \(ingress\) comes after filter "u32" \(priority 1\)/);
    node.tc('filter', 'delete', 'dev', POD.name, 'ingress', 'pref', '1');
    t.not(await waitFor(() => isWell(scene), FIRST_MS), undefined);
    t.true(isHeld(await measure(scene)));
  },
);
