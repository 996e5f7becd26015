// Pods that kubectl makes on this machine, which is a cluster's node, and what is on the wire.

import { spawn } from 'node:child_process';
import type { ExecutionContext } from 'ava';
import type { ListResult } from '../../helper/protocol/messages.ts';
import { DEFAULT_SOCKET } from '../../helper/protocol/state-files.ts';
import { ADDRESSES } from '../../scripts/lib/cluster/settings.ts';
import { BackgroundProcess } from '../bed/background.ts';
import { attachCounter, type Counter } from '../bed/counter.ts';
import { parseIperf, runIperf } from '../bed/iperf.ts';
import { firstSecondMbit, meanMbit, type ByteSeries } from '../bed/series.ts';
import { inNamespace } from '../bed/testbed.ts';
import type { UndoStack } from '../bed/undo.ts';
import { askSocket } from './ask.ts';
import { deletePod, runningPod } from './cluster-api.ts';
import { apply, outputOf, podOf } from './cluster.ts';

/** Off the node. */
export const PEER = '/run/netns/peer';
const SECONDS = 4;

/** What else the node does must not keep a load from the only processor. */
export function promptly(...command: readonly string[]): [string, ...string[]] {
  return ['nice', '-n', '-10', ...command];
}

const { signal } = new AbortController();

/** As RunOnNode. */
export async function run(script: string, input = ''): Promise<string> {
  return await outputOf(spawn('sh', ['-ec', script]), script, input);
}

/** A pod that answers iperf3. */
export interface RunningPod {
  readonly name: string;
  readonly netns: string;
  readonly address: string;
  /** Of what it sends, at the peer. */
  readonly out: Counter;
  /** Of what it gets. */
  readonly into: Counter;
}

/** Has iperf3 wait in a namespace. */
export async function serve(netns: string, undo: UndoStack): Promise<void> {
  const server = await BackgroundProcess.start(
    ...inNamespace(netns, ...promptly('iperf3', '--server', '--forceflush')),
  );
  undo.defer('end an iperf3 server', () => server.stop());
  await server.ready((output) => output.includes('Server listening'), signal);
}

/** What the helper knows. */
export async function listed(): Promise<ListResult['attachments']> {
  return (await askSocket(DEFAULT_SOCKET, 'list', {})).attachments;
}

/** Has kubectl make a pod; resolves with its address when it runs. */
export async function makePod(
  name: string,
  annotations: Readonly<Record<string, string>>,
): Promise<string> {
  await apply(run, podOf(name, annotations));
  return await runningPod(name);
}

/** As makePod; counters and a server wait in it. */
export async function startPod(
  name: string,
  annotations: Readonly<Record<string, string>>,
  undo: UndoStack,
): Promise<RunningPod> {
  undo.defer(`delete ${name}`, () => deletePod(name));
  const address = await makePod(name, annotations);
  const own = (await listed()).find(({ podName }) => podName === name);
  if (own === undefined) throw new Error(`the helper knows no pod ${name}`);
  const netns = own.sandbox.replace(/^\/var\/run\//, '/run/');
  await serve(netns, undo);
  const out = await attachCounter({ netns: PEER, device: 'eth0' }, undo);
  const into = await attachCounter({ netns, device: 'eth0' }, undo);
  return { name, netns, address, out, into };
}

/** What TCP makes of a cap, and what it must not be above in the first second. */
export const CAPS = [
  { cap: '10M', goodputMbit: [9.4, 9.6], firstSecondMbit: 10.5 },
  { cap: '100M', goodputMbit: [94, 95.7], firstSecondMbit: 105 },
] as const;

function holds(
  t: ExecutionContext,
  what: string,
  { goodputMbit, firstSecondMbit: mostMbit }: (typeof CAPS)[number],
  [wire, payload]: readonly (ByteSeries | undefined)[],
): void {
  const goodput = meanMbit(payload ?? [], SECONDS * 1000);
  const first = firstSecondMbit(wire ?? []);
  t.log(`${what}: goodput ${goodput.toFixed(2)}, first second ${first.toFixed(2)} Mbit/s`);
  const [least, most] = goodputMbit;
  t.true(goodput >= least && goodput <= most, `${what}: goodput ${goodput} Mbit/s`);
  t.true(first <= mostMbit, `${what}: ${first} Mbit/s in the first second`);
}

async function load(to: string, ...flags: readonly string[]): Promise<void> {
  parseIperf(await runIperf(PEER, SECONDS, flags, signal, { to, place: promptly }));
}

/** Measures a pod that is capped by the same both ways. */
export async function measure(
  t: ExecutionContext,
  { address, out, into }: RunningPod,
  cap: (typeof CAPS)[number],
): Promise<void> {
  out.reset();
  await load(address, '--reverse');
  holds(t, `${cap.cap} out`, cap, [out.readWire().get(address), out.readPayload().get(address)]);
  into.reset();
  await load(address);
  const { peer } = ADDRESSES;
  holds(t, `${cap.cap} in`, cap, [into.readWire().get(peer), into.readPayload().get(peer)]);
}
