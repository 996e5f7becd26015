// A node whose kernel has fq comes from the CNI bandwidth plugin to podpace and goes back, by the
// commands of the document. In between, caps of pods that kubectl makes, by frames on the wire: as
// annotated, and when annotations of running pods change.

import fs from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import test from 'ava';
import { DEFAULT_SOCKET } from '../../../helper/protocol/state-files.ts';
import { ADDRESSES, NODE_NAME } from '../../../scripts/lib/cluster/settings.ts';
import { projectRoot } from '../../../scripts/lib/paths.ts';
import { compileCounter, type Counter } from '../../bed/counter.ts';
import { parseDatagrams, runIperf } from '../../bed/iperf.ts';
import { COUNTED_INTERVAL_MS, mbitPerSec } from '../../bed/series.ts';
import { UndoStack } from '../../bed/undo.ts';
import { askSocket } from '../../kit/ask.ts';
import { deletePod, readyOf } from '../../kit/cluster-api.ts';
import { capped, until, untilSame } from '../../kit/cluster.ts';
import {
  CAPS,
  listed,
  makePod,
  measure,
  PEER,
  promptly,
  run,
  serve,
  startPod,
} from '../../kit/node-pods.ts';

const { signal } = new AbortController();
const DOCUMENT = path.join(projectRoot, 'conf/kubernetes/COMING-FROM.md');
const LIST_FILE = '/etc/cni/net.d/10-pods.conflist';
const LIST = JSON.stringify(
  {
    ...{ cniVersion: '1.0.0', name: 'pods' },
    plugins: [
      {
        type: 'ptp',
        ipam: {
          type: 'host-local',
          ranges: [[{ subnet: '10.85.1.0/24' }]],
          routes: [{ dst: '0.0.0.0/0' }],
        },
      },
      { type: 'bandwidth', capabilities: { bandwidth: true } },
    ],
  },
  undefined,
  2,
);
const CAPPED = capped('10M', '10M');

/** Blocks of commands in the section on the plugin: there, and back. */
function wayOfDocument(): readonly [string, string] {
  const text = fs.readFileSync(DOCUMENT, 'utf8');
  const section = /^## From the CNI `bandwidth` plugin$([^]*?)^## /m.exec(text)?.[1] ?? '';
  const [there, back, ...others] = [...section.matchAll(/^```sh\n([^]*?)^```$/gm)].map(
    ([, script = '']) => script,
  );
  if (there === undefined || back === undefined || others.length > 0)
    throw new Error(`${DOCUMENT} should have two blocks of commands there`);
  return [there, back];
}

function follow(script: string): Promise<string> {
  return run(`cd '${projectRoot}'\n${script}`);
}

/** What `bandwidth` makes of each pod: two token buckets, and an ifb. */
async function bucketsOfPlugin(): Promise<readonly [buckets: number, ifbs: number]> {
  const count = async (script: string): Promise<number> => Number(await run(`${script} || true`));
  return [await count('tc qdisc | grep -c " tbf "'), await count('ip -o link | grep -c ": bwp"')];
}

function typesInList(): unknown[] {
  const { plugins } = JSON.parse(fs.readFileSync(LIST_FILE, 'utf8')) as {
    plugins: { type: string }[];
  };
  return plugins.map(({ type }) => type);
}

/** Devices, addresses, namespaces of pods, pins, records: what pods may leave. */
function leavings(): Promise<string> {
  return run(
    'ip -o link | cut -d: -f2; ip -4 -o address; ls /run/netns /opt/cni/bin; find /var/lib/cni ' +
      '/var/lib/podpace /run/podpace /sys/fs/bpf ! -type d 2>/dev/null | grep -v "/lock$\\|reserved\\|debug" | sort',
  );
}

/** Before podpace came. */
let atFirst = '';
/** With podpace and the pod of before. */
let without = '';
const [there, back] = wayOfDocument();

test.before('a node with the bandwidth plugin', async (t) => {
  t.timeout(600_000);
  compileCounter();
  // What else runs on the only processor must not keep packets from the wire.
  await run('chrt --fifo --pid 1 $(pgrep ksoftirqd)');
  atFirst = await leavings();
  fs.writeFileSync(LIST_FILE, LIST);
  await until('the node is Ready', async () => (await readyOf(NODE_NAME)).startsWith('True'));
  await makePod('old-0', CAPPED);
});

test.afterEach.always('nothing of the pods stays', async (t) => {
  t.timeout(300_000);
  if (without !== '') await untilSame('nothing of the pods stays', leavings, without);
});

test.serial('podpace takes the place of bandwidth, whose pods run on', async (t) => {
  t.timeout(900_000);
  t.deepEqual(await bucketsOfPlugin(), [2, 1]);
  await follow(there);
  await until('podpace is in the list', async () => typesInList().includes('podpace'));
  t.deepEqual(typesInList(), ['ptp', 'podpace']);
  t.deepEqual(await bucketsOfPlugin(), [2, 1]);
  const { notices } = await askSocket(DEFAULT_SOCKET, 'status', {});
  t.regex(
    notices.join('\n'),
    /The CNI bandwidth plugin shapes pods that it has added: veth\w+ \(egress, ingress\);/,
  );
  await deletePod('old-0');
  await until('its own DEL', async () => (await bucketsOfPlugin()).join() === '0,0');
  await makePod('old-0', CAPPED);
  const [own, ...others] = await listed();
  t.is(others.length, 0);
  t.like(own, {
    podName: 'old-0',
    caps: { egress: { rateBitsPerSec: 1e7 }, ingress: { rateBitsPerSec: 1e7 } },
    problems: [],
  });
  t.deepEqual(await bucketsOfPlugin(), [0, 0]);
  without = await leavings();
});

for (const each of CAPS) {
  test.serial(`${each.cap} out and in`, async (t) => {
    t.timeout(600_000);
    const name = `p${each.cap.toLowerCase()}`;
    await measure(t, await startPod(name, capped(each.cap, each.cap), UndoStack.of(t)), each);
  });
}

const OFFERED_MBIT = 30;
const IN_FORCE_WITHIN_MS = 1000;
const MEASURED_MS = 1000;
/** The last interval is whole then. */
const SETTLED_MS = 50;
const DATAGRAM_BYTES = 1448;
/** Of Ethernet, IPv4 and UDP. */
const HEADER_BYTES = 14 + 20 + 8;
/** On the wire, of a sender without a cap. */
const FREE_MBIT = (OFFERED_MBIT * (DATAGRAM_BYTES + HEADER_BYTES)) / DATAGRAM_BYTES;
/** How far from its cap a pod may be. */
const TOLERANCE = 0.01;
/** Of kubectl's words on a request of its own: when it was answered, and how long that took. */
const PATCHED = /^I\d+ (\d\d:\d\d:\d\d\.\d+) .* PATCH .* 200 OK in (\d+) milliseconds$/m;

/** By the clock of the counters. */
function monotonicMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

/** Has kubectl annotate a pod; when it asked the API server to, by the monotonic clock. */
async function annotate(pod: string, annotations: readonly string[]): Promise<number> {
  const words = await run(
    `TZ=UTC kubectl annotate --overwrite --v=6 pod/${pod} ${annotations.join(' ')} 2>&1`,
  );
  const [, time, tookMs] = PATCHED.exec(words) ?? [];
  if (time === undefined) throw new Error(`kubectl has not changed anything: ${words}`);
  const nowMs = Date.now();
  const today = new Date(nowMs).toISOString().slice(0, 10);
  const answeredMs = Date.parse(`${today}T${time.slice(0, 12)}Z`);
  return monotonicMs() - (nowMs - answeredMs) - Number(tookMs);
}

/** Mean rate of a sender's frames from a time on, in Mbit/s. */
function rateFrom(counter: Counter, sender: string, beginMs: number): number {
  const firstMs = Number(counter.firstFrameNs(sender) ?? 0n) / 1e6;
  const from = Math.ceil((beginMs - firstMs) / COUNTED_INTERVAL_MS);
  const series = counter.readWire(COUNTED_INTERVAL_MS).get(sender) ?? [];
  const bytes = series
    .slice(from, from + MEASURED_MS / COUNTED_INTERVAL_MS)
    .reduce((sum, each) => sum + each, 0);
  return mbitPerSec(bytes, MEASURED_MS);
}

/** Annotations, and what is to be on the wire a second after kubectl asks for them. */
const CHANGES = [
  { annotations: { egress: '20M', ingress: '15M' }, outMbit: 20, inMbit: 15 },
  { annotations: { egress: '', ingress: '5M' }, outMbit: FREE_MBIT, inMbit: 5 },
  { annotations: { egress: '5M', ingress: '' }, outMbit: 5, inMbit: FREE_MBIT },
] as const;
/** Longer than all changes take. */
const DATAGRAMS_SEC = 40;

/** As kubectl wants them: without a value an annotation is removed. */
function wordsOf(annotations: Readonly<Record<string, string>>): string[] {
  return Object.entries(annotations).map(([direction, value]) =>
    value === ''
      ? `kubernetes.io/${direction}-bandwidth-`
      : `kubernetes.io/${direction}-bandwidth=${value}`,
  );
}

test.serial('annotations of a running pod that change, go and come', async (t) => {
  t.timeout(600_000);
  const undo = UndoStack.of(t);
  const { name, netns, address, out, into } = await startPod('web-0', capped('10M', '10M'), undo);
  await serve(PEER, undo);
  const { peer } = ADDRESSES;
  const rate = ['--bitrate', `${OFFERED_MBIT}M`, '--length', String(DATAGRAM_BYTES)];
  const receive = (at: string, to: string): Promise<string> =>
    runIperf(at, DATAGRAMS_SEC, ['--udp', '--reverse', ...rate], signal, { to, place: promptly });
  for (const counter of [out, into]) counter.reset();
  const reports = Promise.all([receive(PEER, address), receive(netns, peer)]);
  await sleep(1000);
  for (const { annotations, outMbit, inMbit } of CHANGES) {
    const fromMs = (await annotate(name, wordsOf(annotations))) + IN_FORCE_WITHIN_MS;
    await sleep(fromMs + MEASURED_MS + SETTLED_MS - monotonicMs());
    for (const [direction, wantedMbit, counter, sender] of [
      ['out', outMbit, out, address],
      ['in', inMbit, into, peer],
    ] as const) {
      const mbit = rateFrom(counter, sender, fromMs);
      t.log(`${direction}: ${mbit.toFixed(3)} of ${wantedMbit} Mbit/s`);
      t.true(Math.abs(mbit / wantedMbit - 1) <= TOLERANCE, `${direction}: ${mbit} Mbit/s`);
    }
  }
  for (const report of await reports) {
    const { sent, outOfOrder } = parseDatagrams(report);
    t.true(sent > 0);
    // Those that waited when the cap was taken off: ARCHITECTURE, "What is not enforced yet".
    t.log(`${outOfOrder} of ${sent} datagrams came after a later one`);
  }
});

test.serial('and back: the list is what it was, and nothing of podpace stays', async (t) => {
  t.timeout(900_000);
  without = '';
  await follow(back);
  t.is(fs.readFileSync(LIST_FILE, 'utf8'), LIST);
  await deletePod('old-0');
  await makePod('old-0', CAPPED);
  t.deepEqual(await bucketsOfPlugin(), [2, 1]);
  await deletePod('old-0');
  await untilSame('old-0 is gone', () => run('ls /run/netns'), path.basename(PEER));
  fs.rmSync(LIST_FILE);
  // What host-local keeps of a network.
  fs.rmSync('/var/lib/cni/networks/pods', { recursive: true });
  await untilSame('all is as at first', leavings, atFirst);
});
