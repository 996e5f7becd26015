// What tunnels add to packets: what is charged is what leaves the node, counted with small packets,
// of which it is much.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { listLinks } from '../../helper/kernel/links.ts';
import { inNetns } from '../../helper/kernel/netns.ts';
import { writeSysctl } from '../../helper/kernel/sysctl.ts';
import type { ExitStatus } from '../../helper/protocol/messages.ts';
import { capture } from '../../scripts/lib/process.ts';
import { inNamespace } from '../bed/testbed.ts';
import { UndoStack } from '../bed/undo.ts';
import { rateOn } from '../kit/exit-scene.ts';
import {
  addUplink,
  makeHelperDirectories,
  paramsOf,
  startOwnHelper,
  wirePod,
  type TestHelper,
} from '../kit/helper.ts';
import { compileHostProgram } from '../kit/host-program.ts';
import { makeNetns, runBatch, type TestNetns } from '../kit/netns.ts';
import { FAR, PEER6, TUN_BYTES, TUNNEL_KINDS, type TunnelKind } from '../kit/tunnel-kinds.ts';
import { openSender, sendAll } from '../kit/udp-load.ts';

const CAP_MBIT = 1;
const OFFERED_MBIT = 1.5;
const PAYLOAD_BYTES = 64;
const SETTLE_MS = 700;
/** Longer than rateOn counts. */
const LOAD_MS = 4000;
const FOLLOW_MS = 15_000;
const POD = '10.86.0.2';
/** `all`: every row, otherwise the few that stand for the rest. */
const ROWS = process.env['PODPACE_CROSSINGS'];

interface Scene {
  readonly node: TestNetns;
  readonly pod: TestNetns;
  readonly peer: TestNetns;
  readonly helper: TestHelper;
}

/** To start a helper takes longer than a row. */
const undo = new UndoStack();
let scene: Scene;

/** A node whose pod is routed to whatever exit there is. */
async function makeScene(t: Pick<ExecutionContext, 'teardown'>): Promise<Scene> {
  const [node, pod, peer] = [makeNetns(t), makeNetns(t), makeNetns(t)];
  wirePod(node, pod, 'pod0');
  addUplink(node, peer, 'uplink', 4);
  inNetns(node.netns, () => writeSysctl('net/ipv4/ip_forward', '1'));
  await runBatch(node, [
    'address add 169.254.1.1/32 dev pod0',
    `route add ${POD}/32 dev pod0`,
    'address add 2001:db8:1::1/64 dev uplink nodad',
  ]);
  await runBatch(peer, [`address add ${PEER6}/64 dev uplink nodad`]);
  await runBatch(pod, [
    `address add ${POD}/32 dev eth0`,
    'route add 169.254.1.1 dev eth0',
    'route add default via 169.254.1.1',
  ]);
  // Of a tag that the device is to add the counters at the other end know nothing.
  await capture(...inNamespace(node.netns.path, 'ethtool', '-K', 'uplink', 'txvlan', 'off'));
  const flags = ['--tun-overhead-bytes', String(TUN_BYTES)];
  const helper = await startOwnHelper(t, node, makeHelperDirectories(t), flags);
  await helper.ask('attach', paramsOf('pod0', pod, { egress: { rateBitsPerSec: CAP_MBIT * 1e6 } }));
  return { node, pod, peer, helper };
}

test.before(async (t) => {
  t.timeout(600_000);
  scene = await makeScene(undo);
});

test.after.always(() => undo.run());

/** Runs a command until the test is over; what it said when it ended is in the log. */
function startProcess(t: ExecutionContext, command: string): void {
  const [program = '', ...args] = command.split(' ');
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk: Buffer) => (output += chunk.toString()));
  const ended = once(child, 'close');
  t.teardown(async () => {
    child.kill();
    await ended;
    if (!t.passed) t.log(`${command}: ${output}`);
  });
}

/** A program of test/kit, compiled, which is gone after the test. */
function compiled(t: ExecutionContext, source: string): string {
  const program = compileHostProgram(path.join(import.meta.dirname, '../kit', source));
  t.teardown(() => program.remove());
  return program.executable;
}

/** Takes away what a row has made. */
async function clean({ node }: Scene, { commands }: TunnelKind): Promise<void> {
  const made = (): string[] => {
    const names = new Set(node.ipJson('link', 'show').map(({ ifname }) => ifname));
    return ['exit', 'below', 'second'].filter((name) => names.has(name));
  };
  const isOf = (object: string): boolean =>
    commands.some((command) => command.startsWith(`${object} `));
  // Sessions take their devices with them.
  const devices = isOf('l2tp')
    ? ['l2tp del tunnel tunnel_id 1']
    : made().map((name) => `link delete ${name}`);
  await runBatch(node, [
    ...devices,
    ...(isOf('xfrm') ? ['xfrm policy flush', 'xfrm state flush'] : []),
  ]);
  while (made().length > 0) await sleep(20);
}

/** Whether this kernel has a module, loaded or not. */
function hasModule(name: string): boolean {
  return fs
    .readFileSync(`/lib/modules/${os.release()}/modules.dep`, 'utf8')
    .includes(`/${name}.ko`);
}

/** The exit as `status` tells of it, once it holds caps and its overhead is this. */
async function exitOf(
  t: ExecutionContext,
  { helper }: Scene,
  overhead: ExitStatus['overhead'],
): Promise<void> {
  const endMs = performance.now() + FOLLOW_MS;
  for (;;) {
    const { exits, state, problems } = await helper.ask('status', {});
    const exit = exits.find(({ name }) => name === 'exit');
    const isRight = JSON.stringify(exit?.overhead) === JSON.stringify(overhead);
    if (exit?.departureProgram === true && state === 'ok' && isRight) return;
    if (performance.now() > endMs) {
      t.deepEqual(
        exit?.overhead,
        overhead,
        `${JSON.stringify(exit)}, ${problems.join('; ')}, ${helper.log()}`,
      );
      return;
    }
    await sleep(100);
  }
}

function isTaken({ isUsual, module }: TunnelKind): boolean {
  if (module !== undefined && !hasModule(module)) return false;
  return isUsual === true || ROWS === 'all';
}

for (const [name, kind] of Object.entries(TUNNEL_KINDS).filter(([, each]) => isTaken(each))) {
  test.serial(`${name}: what is charged is what is on the wire`, async (t) => {
    t.timeout(300_000);
    const { node, pod, peer } = scene;
    t.teardown(() => clean(scene, kind));
    const filled = (command: string): string =>
      command.replace('{node}', node.name).replace('{peer}', peer.name);
    for (const module of kind.loads ?? []) await capture('modprobe', [module]);
    await runBatch(node, kind.commands.map(filled));
    for (const command of kind.processes ?? []) {
      const program = (_: string, source: string): string => compiled(t, source);
      startProcess(t, filled(command).replace(/\{(.*\.c)\}/, program));
    }
    await exitOf(t, scene, { bytes: kind.bytes, certainty: kind.certainty ?? 'known' });
    const flow = { to: FAR, payloadBytes: PAYLOAD_BYTES, bitsPerSec: OFFERED_MBIT * 1e6 };
    const sent = sendAll([{ ...flow, socket: openSender(t, pod.netns) }], LOAD_MS);
    await sleep(SETTLE_MS);
    const mbit = await rateOn({ bed: { peer: peer.netns.path } }, ['uplink']);
    await sent;
    t.log(`${mbit.toFixed(4)} of ${CAP_MBIT} Mbit/s`);
    t.true(Math.abs(mbit - CAP_MBIT) <= 0.01 * CAP_MBIT, `${mbit} Mbit/s on the wire`);
  });
}

test.serial('what room a device asks for is read where the kernel says it', async (t) => {
  const { node } = scene;
  const commands = ['link add exit type vxlan id 7 remote 198.51.100.2 dstport 4789'];
  t.teardown(() => clean(scene, { commands, bytes: 50 }));
  await runBatch(node, commands);
  const link = (await listLinks(node.rt)).find(({ name }) => name === 'exit');
  const [major = 0, minor = 0] = os.release().split('.').map(Number);
  // IFLA_HEADROOM came with Linux 6.19.
  if (major > 6 || (major === 6 && minor >= 19))
    t.true((link?.headroomBytes ?? 0) >= 50, JSON.stringify(link));
  else t.is(link?.headroomBytes, undefined);
  t.log(`${link?.headroomBytes} bytes`);
});
