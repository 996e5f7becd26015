// Sockets that say when their datagrams are to leave (SO_TXTIME), of pods and of the node, beside
// podpace's own departure times.

import os from 'node:os';
import { spawnSync } from 'node:child_process';
import test, { type ExecutionContext } from 'ava';
import { PEER_ADDRESS } from '../../bed/uplink.ts';
import { UndoStack } from '../../bed/undo.ts';
import { askNode } from '../../kit/ask.ts';
import { makeScene, type Scene } from '../../kit/exit-scene.ts';
import { deliver, type Datagrams, type TxtimeClock } from '../../kit/timed-datagrams.ts';

const COUNT = 39;
const PAYLOAD_BYTES = 1400;
/** Of as many frames at 10 Mbit/s, from the first to the last, less what may leave at once. */
const SPAN_MS = 43.6;
const TOLERANCE = 0.05;
/** What departs without waiting is there by then. */
const AT_ONCE_MS = 5;
const AHEAD_MS = 20;
/** A time that could be the number of a frame: bpf/copies.h. */
const NUMBER_NS = 64_000n;

const CLOCKS: readonly TxtimeClock[] = ['CLOCK_MONOTONIC', 'CLOCK_TAI'];
const HAS_NETKIT =
  spawnSync('unshare', ['--net', 'ip', 'link', 'add', 'one', 'type', 'netkit']).status === 0;
const DEVICES = HAS_NETKIT ? (['veth', 'netkit'] as const) : (['veth'] as const);

/**
 * Whether packets carry the time that their socket asked for out of its namespace: on Linux 6.12
 * they do, on 6.1 the kernel clears it there (skb_scrub_packet).
 */
function carriesAskedTimes(): boolean {
  const [major = 0, minor = 0] = os.release().split('.').map(Number);
  return major > 6 || (major === 6 && minor >= 12);
}

const shared = new UndoStack();
const scenes = new Map<string, Scene>();

test.after.always(() => shared.run());

async function sceneOf(
  t: ExecutionContext,
  device: string,
): Promise<Scene & { readonly pod: string }> {
  t.timeout(300_000);
  const scene = scenes.get(device) ?? (await makeScene(shared, { keys: { device } }));
  scenes.set(device, scene);
  return { ...scene, pod: scene.bed.pods.get('pod') ?? '' };
}

/** Delivers, when one datagram has gone ahead to find the neighbours. */
async function arrivals(
  t: ExecutionContext,
  { bed }: Scene,
  asked: Partial<Datagrams> & Pick<Datagrams, 'from'>,
): Promise<number[]> {
  const to = { netns: bed.peer, address: PEER_ADDRESS };
  const datagrams = { to, count: COUNT, payloadBytes: PAYLOAD_BYTES, ...asked };
  const { from, payloadBytes } = datagrams;
  t.is((await deliver({ from, to: datagrams.to, payloadBytes, count: 1 })).length, 1);
  const times = await deliver(datagrams);
  const range = `${times[0]?.toFixed(2)} to ${times.at(-1)?.toFixed(2)} ms`;
  t.log(`${asked.clock}, ${asked.aheadMs ?? 0} ms ahead: ${times.length} came, ${range}`);
  return times;
}

/** Packets of the pod that would have waited for the horizon or longer. */
async function droppedAtHorizon({ bed }: Scene): Promise<number> {
  const { attachments } = await askNode(bed, 'counters', {});
  return attachments[0]?.egress?.total.droppedHorizon ?? 0;
}

function between(t: ExecutionContext, ms: number | undefined, least: number, most: number): void {
  t.true(ms !== undefined && ms >= least && ms <= most, `${ms} ms, not ${least} to ${most}`);
}

for (const device of DEVICES) {
  test.serial(
    `${device}: datagrams that all ask to leave now leave as the cap has it, by any clock`,
    async (t) => {
      const scene = await sceneOf(t, device);
      for (const clock of CLOCKS) {
        const times = await arrivals(t, scene, { from: scene.pod, clock });
        // The AQM may take one.
        t.true(times.length >= COUNT - 1, `${times.length} datagrams`);
        const spanMs = (times.at(-1) ?? 0) - (times[0] ?? 0);
        between(t, spanMs, (1 - TOLERANCE) * SPAN_MS, (1 + TOLERANCE) * SPAN_MS);
      }
    },
  );

  test.serial(
    `${device}: a time that was over long ago, as the numbers of frames are, has each datagram charged`,
    async (t) => {
      const scene = await sceneOf(t, device);
      for (const clock of CLOCKS) {
        const times = await arrivals(t, scene, { from: scene.pod, clock, atNs: NUMBER_NS });
        t.true(times.length >= COUNT - 1, `${times.length} datagrams`);
        const spanMs = (times.at(-1) ?? 0) - (times[0] ?? 0);
        between(t, spanMs, (1 - TOLERANCE) * SPAN_MS, (1 + TOLERANCE) * SPAN_MS);
      }
    },
  );

  test.serial(
    `${device}: of the socket's time and the cap's the later counts, by the monotonic clock`,
    async (t) => {
      const scene = await sceneOf(t, device);
      const ask = { from: scene.pod, count: 2, aheadMs: AHEAD_MS };
      const leastMs = carriesAskedTimes() ? AHEAD_MS : 0;
      for (const ms of await arrivals(t, scene, { ...ask, clock: 'CLOCK_MONOTONIC' }))
        between(t, ms, leastMs, leastMs + AT_ONCE_MS);
      // A time of another clock does not count.
      for (const ms of await arrivals(t, scene, { ...ask, clock: 'CLOCK_TAI' }))
        between(t, ms, 0, AT_ONCE_MS);
    },
  );

  test.serial(
    `${device}: what asks to leave beyond the horizon is dropped there, and counted`,
    async (t) => {
      const scene = await sceneOf(t, device);
      const before = await droppedAtHorizon(scene);
      const ask = { from: scene.pod, count: 2, clock: 'CLOCK_MONOTONIC', aheadMs: 100 } as const;
      const times = await arrivals(t, scene, ask);
      t.is(times.length, carriesAskedTimes() ? 0 : 2);
      t.is((await droppedAtHorizon(scene)) - before, 2 - times.length);
    },
  );
}

test.serial('what the node itself sends leaves when its sockets ask, by any clock', async (t) => {
  const scene = await sceneOf(t, 'veth');
  const ways = [undefined, { netns: scene.pod, address: scene.podAddress }];
  for (const clock of CLOCKS) {
    for (const to of ways) {
      for (const aheadMs of [0, AHEAD_MS]) {
        const times = await arrivals(t, scene, {
          from: scene.bed.node,
          clock,
          aheadMs,
          ...(to && { to }),
        });
        t.is(times.length, COUNT);
        for (const ms of times) between(t, ms, aheadMs, aheadMs + AT_ONCE_MS);
      }
    }
  }
});
