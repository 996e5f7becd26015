// What is said to be enforced is: a real node is damaged in many ways, `list`, `status` and CHECK
// have to name exactly what that breaks, and where they name nothing the frames on the wire keep to
// the cap.
//
// The helper repairs, so it is stopped while the node is damaged, asked as it goes on, and stopped
// again while the frames are counted. A round in which it has repaired something before it was
// stopped says nothing, and is played again.

import fs from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import { HelperError } from '../../../helper/protocol/client.ts';
import { writeSysctl } from '../../../helper/kernel/sysctl.ts';
import { inNetns } from '../../../helper/kernel/netns.ts';
import type {
  AttachParams,
  AttachmentStatus,
  Direction,
} from '../../../helper/protocol/messages.ts';
import { attachCounter, compileCounter, type Counter } from '../../bed/counter.ts';
import { PODPACED } from '../../bed/helper.ts';
import { COUNTED_INTERVAL_MS } from '../../bed/series.ts';
import { faultsOf, openMaps, type Fault, type Name } from '../../kit/damage.ts';
import {
  addUplink,
  makeHelperDirectories,
  paramsOf,
  startOwnHelper,
  wirePod,
  type TestHelper,
} from '../../kit/helper.ts';
import { makeNetns, runBatch, type TestNetns } from '../../kit/netns.ts';
import { runProgram } from '../../kit/run-program.ts';
import { FRAME_BYTES, openSender, sendAll, type Flow } from '../../kit/udp-load.ts';
import { wholeFile } from '../../kit/whole-file.ts';

const ROUNDS = Number(process.env['PODPACE_ROUNDS'] ?? 12);
/** Which faults come together, and in which order. */
const SEED = Number(process.env['PODPACE_SEED'] ?? 654_840_751);
/** Of one round, until the helper has repaired nothing meanwhile. It looks every 2 s. */
const ATTEMPTS = 8;

const LOAD_MS = 300;
/** So many times its cap each direction is sent. */
const EXCESS = 2;
const TOLERANCE = 1.005;
/** Less of a cap than this part is not used by whoever sends twice as much. */
const USED_PART = 0.7;
const SETTLE_DEADLINE_MS = 20_000;

const PEER = '198.51.100.2';
const EXEMPT = '192.0.2.0/26';
const PODS = [
  { name: 'pod0', address: '10.86.1.2', gateway: '10.86.1.1', mbit: { egress: 4, ingress: 8 } },
  { name: 'pod1', address: '10.86.2.2', gateway: '10.86.2.1', mbit: { egress: 8, ingress: 4 } },
] as const;

interface Scene {
  readonly node: TestNetns;
  readonly helper: TestHelper;
  readonly pid: number;
  readonly params: readonly AttachParams[];
  readonly attachments: readonly AttachmentStatus[];
  readonly sandboxes: readonly TestNetns[];
  readonly peer: TestNetns;
  /** At the peer, and at each pod's own end. */
  readonly counters: { readonly peer: Counter; readonly pods: readonly Counter[] };
}

async function wire(
  node: TestNetns,
  peer: TestNetns,
  sandboxes: readonly TestNetns[],
): Promise<void> {
  for (const [index, { name, gateway, address }] of PODS.entries()) {
    const sandbox = sandboxes[index];
    if (sandbox === undefined) continue;
    wirePod(node, sandbox, name);
    await runBatch(node, [`address add ${gateway}/24 dev ${name}`]);
    await runBatch(sandbox, [
      `address add ${address}/24 dev eth0`,
      `route add default via ${gateway}`,
    ]);
  }
  await runBatch(peer, ['route add 10.86.0.0/16 via 198.51.100.1']);
  inNetns(node.netns, () => writeSysctl('net/ipv4/ip_forward', '1'));
}

/** One scene for all tests: a helper that starts is most of what it costs. */
let shared: Scene | undefined;
const untilEnd = wholeFile(test, () => {
  shared = undefined;
});

/** The scene, of whose caps the helper says that they are held. */
async function useScene(): Promise<Scene> {
  shared ??= await makeScene();
  await settle(shared, []);
  return shared;
}

async function makeScene(): Promise<Scene> {
  compileCounter();
  const [node, peer] = [makeNetns(untilEnd), makeNetns(untilEnd)];
  const sandboxes = PODS.map(() => makeNetns(untilEnd));
  addUplink(node, peer, 'uplink', 2);
  await wire(node, peer, sandboxes);
  const directories = makeHelperDirectories(untilEnd);
  const flags = ['--reconcile-seconds', '3600', '--exempt', EXEMPT];
  const helper = await startOwnHelper(untilEnd, node, directories, flags);
  const params = PODS.map(({ name, mbit }, index): AttachParams => {
    const cap = (direction: Direction) => ({
      [direction]: { rateBitsPerSec: mbit[direction] * 1e6 },
    });
    const own = paramsOf(name, sandboxes[index] ?? node, { ...cap('egress'), ...cap('ingress') });
    return index === 0 ? { ...own, exempt: [EXEMPT] } : own;
  });
  for (const each of params) await helper.ask('attach', each);
  const { attachments } = await helper.ask('list', {});
  const count = (of: TestNetns, device: string) =>
    attachCounter({ netns: `/run/netns/${of.name}`, device }, untilEnd);
  const pods: Counter[] = [];
  for (const sandbox of sandboxes) pods.push(await count(sandbox, 'eth0'));
  const counters = { peer: await count(peer, 'uplink'), pods };
  const { pid } = helper;
  return { node, sandboxes, peer, helper, pid, params, attachments, counters };
}

/** What each pod and the peer send, by sockets that are closed after the test. */
function openFlows(t: ExecutionContext, { node, sandboxes, peer }: Scene): Flow[] {
  const fromPeer = openSender(t, peer.netns);
  return PODS.flatMap(({ address, mbit }, index): Flow[] => [
    {
      socket: openSender(t, (sandboxes[index] ?? node).netns),
      ...{ to: PEER, bitsPerSec: EXCESS * mbit.egress * 1e6 },
    },
    { socket: fromPeer, to: address, bitsPerSec: EXCESS * mbit.ingress * 1e6 },
  ]);
}

/** Takes the processor from the helper, and waits until it has none. */
async function stop({ pid }: Scene): Promise<void> {
  process.kill(pid, 'SIGSTOP');
  const state = () => fs.readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)?.[0];
  while (state() !== 'T') await sleep(1);
}

function goOn({ pid }: Scene): void {
  process.kill(pid, 'SIGCONT');
}

/** What is not enforced, as each of the three tells it. */
interface Told {
  readonly list: readonly Name[];
  readonly status: readonly Name[];
  readonly check: readonly Name[];
  readonly state: string;
}

async function checkOf({ helper }: Scene, params: AttachParams): Promise<Name[]> {
  try {
    await helper.ask('check', params);
    return [];
  } catch (error) {
    const message = error instanceof HelperError ? error.message : '';
    const directions = /\(((?:egress|ingress)(?: and ingress)?)\) is not enforced/.exec(
      message,
    )?.[1];
    if (directions === undefined) throw error;
    return directions
      .split(' and ')
      .map((direction) => `${params.containerId} ${direction}` as Name);
  }
}

async function ask(scene: Scene): Promise<Told> {
  const [{ attachments }, { notEnforced = [], state }, ...check] = await Promise.all([
    scene.helper.ask('list', {}),
    scene.helper.ask('status', {}),
    ...scene.params.map((params) => checkOf(scene, params)),
  ] as const);
  const names = (containerId: string, directions: readonly string[]): Name[] =>
    directions.map((direction) => `${containerId} ${direction}` as Name);
  return {
    state,
    list: attachments.flatMap((each) =>
      names(each.containerId, Object.keys(each.problemsByDirection ?? {})),
    ),
    status: notEnforced.flatMap(({ containerId, directions }) => names(containerId, directions)),
    check: check.flat(),
  };
}

async function allStand(faults: readonly Fault[]): Promise<boolean> {
  for (const fault of faults) if (!(await fault.stands())) return false;
  return true;
}

/**
 * Damages the node and asks; undefined when the helper has repaired something before all was
 * answered. It is stopped then.
 */
async function damageAndAsk(scene: Scene, faults: readonly Fault[]): Promise<Told | undefined> {
  await stop(scene);
  for (const { make } of faults) await make();
  const asked = ask(scene);
  goOn(scene);
  const told = await asked;
  await stop(scene);
  return (await allStand(faults)) ? told : undefined;
}

/** Waits until the helper has repaired all that concerns anybody. */
async function settle(scene: Scene, faults: readonly Fault[]): Promise<void> {
  const endMs = performance.now() + SETTLE_DEADLINE_MS;
  const toRepair = faults.filter(
    ({ concerns, mayConcern = [] }) => concerns.length + mayConcern.length > 0,
  );
  const isWell = async (): Promise<boolean> => {
    for (const fault of toRepair) if (await fault.stands()) return false;
    return (await scene.helper.ask('status', {})).state === 'ok';
  };
  while (!(await isWell())) {
    if (performance.now() > endMs)
      throw new Error(`not repaired: ${faults.map(({ what }) => what).join(', ')}`);
    await sleep(250);
  }
}

/**
 * What came on the wire of a direction, and what its cap allows in the time from the first frame to
 * the last.
 */
interface Wire {
  readonly name: Name;
  readonly bytes: number;
  readonly allowed: number;
  readonly cap: number;
}

async function countFrames(
  { counters, attachments }: Scene,
  flows: readonly Flow[],
): Promise<Wire[]> {
  const all = [counters.peer, ...counters.pods];
  for (const counter of all) counter.reset();
  await sendAll(flows, LOAD_MS);
  const peer = counters.peer.readWire(COUNTED_INTERVAL_MS);
  return attachments.flatMap(({ containerId, effective }, index) => {
    const series = {
      egress: peer.get(PODS[index]?.address ?? ''),
      ingress: counters.pods[index]?.readWire(COUNTED_INTERVAL_MS).get(PEER),
    };
    return (['egress', 'ingress'] as const).map((direction): Wire => {
      const { rateBitsPerSec = 0, burstNs = 0 } = effective[direction] ?? {};
      const found = series[direction] ?? [];
      const bytesPerMs = rateBitsPerSec / 8000;
      const ms = found.length * COUNTED_INTERVAL_MS + burstNs / 1e6;
      return {
        ...{
          name: `${containerId} ${direction}`,
          bytes: found.reduce((sum, each) => sum + each, 0),
        },
        // The first frame leaves at once, whatever it takes.
        ...{ allowed: TOLERANCE * bytesPerMs * ms + FRAME_BYTES, cap: bytesPerMs * LOAD_MS },
      };
    });
  });
}

function sorted(names: readonly Name[], but: ReadonlySet<Name> = new Set()): Name[] {
  return [...new Set(names)].filter((name) => !but.has(name)).toSorted();
}

/** Up to two faults at different places for each round; all are dealt before one comes again. */
function deal(faults: readonly Fault[], rounds: number): Fault[][] {
  const sizes = fc.array(fc.noBias(fc.constantFrom(0, 1, 1, 2, 2)), {
    minLength: rounds,
    maxLength: rounds,
  });
  const decks = fc.array(fc.shuffledSubarray([...faults], { minLength: faults.length }), {
    minLength: rounds,
    maxLength: rounds,
  });
  const [[counts, [...shuffled]] = [[], []]] = fc.sample(fc.tuple(sizes, decks), {
    seed: SEED,
    numRuns: 1,
  });
  const deck = shuffled.flat();
  return counts.map((count) => {
    const dealt: Fault[] = [];
    while (dealt.length < count) {
      const index = deck.findIndex(({ place }) => dealt.every((other) => other.place !== place));
      dealt.push(...deck.splice(index, 1));
    }
    return dealt;
  });
}

/** What is told is what is broken, and frames keep to the cap where nothing is told. */
function agrees(
  t: ExecutionContext,
  faults: readonly Fault[],
  told: Told,
  wires: readonly Wire[],
): void {
  const what = faults.map((fault) => fault.what).join(' + ') || 'nothing';
  const broken = sorted(faults.flatMap(({ concerns }) => concerns));
  const late = new Set(
    faults.flatMap(({ mayConcern = [] }) => mayConcern).filter((name) => !broken.includes(name)),
  );
  for (const teller of ['list', 'status', 'check'] as const)
    t.deepEqual(sorted(told[teller], late), broken, `${teller}, ${what}`);
  if (late.size === 0) t.is(told.state, broken.length === 0 ? 'ok' : 'degraded', what);
  const lifted = new Set(faults.flatMap(({ lifts = [] }) => lifts));
  for (const { name, bytes, allowed, cap } of wires) {
    const figures = `${name}, ${what}: ${bytes} bytes, allowed ${allowed.toFixed(0)}`;
    if (lifted.has(name)) t.true(bytes > allowed, `not capped, and sent no more: ${figures}`);
    if (told.list.includes(name) || late.has(name)) continue;
    t.true(bytes <= allowed, figures);
    t.true(bytes >= USED_PART * cap, `hardly sent: ${figures}`);
  }
}

/** All that can be damaged there. */
function faultsIn(t: ExecutionContext, { node, attachments, helper }: Scene): Fault[] {
  const uplink = Number(node.ipJson('link', 'show', 'dev', 'uplink')[0]?.['ifindex']);
  const damaged = { rt: node.rt, pinDir: helper.pinDir, uplink, attachments };
  return faultsOf(damaged, openMaps(t, helper.pinDir));
}

test.serial('of caps that are held nothing is said to be missing', async (t) => {
  t.timeout(300_000);
  const scene = await useScene();
  const { helper, params } = scene;
  for (const each of params) await t.notThrowsAsync(helper.ask('check', each));
  const { attachments } = await helper.ask('list', {});
  t.is(attachments.length, PODS.length);
  t.deepEqual(
    attachments.flatMap(({ problems }) => problems),
    [],
  );
  const { stdout } = await runProgram(PODPACED, ['list', '--socket', helper.socket]);
  t.notRegex(stdout, /NOT ENFORCED/);
});

test.serial('ingress caps hold without the program behind them, until it is back', async (t) => {
  t.timeout(300_000);
  const scene = await useScene();
  await stop(scene);
  const gone = faultsIn(t, scene).find(({ what }) => what === 'continuations emptied');
  await gone?.make();
  t.is(await gone?.stands(), true);
  const flows = openFlows(t, scene);
  const wires = (await countFrames(scene, flows)).filter(({ name }) => name.endsWith(' ingress'));
  t.is(wires.length, PODS.length);
  for (const { name, bytes, allowed, cap } of wires) {
    t.true(bytes <= allowed, `${name}: ${bytes} bytes, allowed ${allowed.toFixed(0)}`);
    t.true(bytes >= USED_PART * cap, `${name}: hardly sent: ${bytes} bytes`);
  }
  goOn(scene);
  await settle(scene, gone === undefined ? [] : [gone]);
});

test.serial(
  'what list, status and check name is what is broken, and the wire agrees',
  async (t) => {
    t.timeout(900_000);
    const scene = await useScene();
    const flows = openFlows(t, scene);
    const rounds = deal(faultsIn(t, scene), ROUNDS);
    t.log(`${ROUNDS} rounds, seed ${SEED}`);
    for (const faults of rounds) {
      const beginMs = performance.now();
      let told: Told | undefined;
      let attempts = 0;
      for (; told === undefined && attempts < ATTEMPTS; attempts += 1) {
        told = await damageAndAsk(scene, faults);
        if (told !== undefined) agrees(t, faults, told, await countFrames(scene, flows));
        goOn(scene);
        await settle(scene, faults);
      }
      const what = faults.map((fault) => fault.what).join(' + ') || 'nothing';
      t.not(told, undefined, `the helper was always quicker: ${what}`);
      t.log(`${what}: ${attempts} attempts, ${(performance.now() - beginMs).toFixed(0)} ms`);
    }
  },
);
