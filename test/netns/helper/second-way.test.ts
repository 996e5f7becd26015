// A pod with two pairs, which share its cap: whatever goes by either is on one clock, in one book,
// and whichever goes first, the other is held. In force without sch_fq too, where what would wait
// longer than the horizon is dropped all the same.

import fs from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { HelperError } from '../../../helper/protocol/client.ts';
import { deleteElement, openPinned } from '../../../helper/kernel/bpf.ts';
import { deleteLink } from '../../../helper/kernel/links.ts';
import { inNetns } from '../../../helper/kernel/netns.ts';
import { writeSysctl } from '../../../helper/kernel/sysctl.ts';
import { isTcxSupported } from '../../../helper/kernel/tcx.ts';
import type { AttachParams, AttachmentStatus } from '../../../helper/protocol/messages.ts';
import { INTERFACE_KEY, HOST_INTERFACE } from '../../../helper/wire/aggregate.ts';
import { programsAt, readMap } from '../../kit/device-picture.ts';
import {
  addUplink,
  leaveRecord,
  makeHelperDirectories,
  paramsOf,
  startOwnHelper,
  wirePod,
  type HelperDirectories,
  type TestHelper,
} from '../../kit/helper.ts';
import { makeNetns, type TestNetns } from '../../kit/netns.ts';
import { openSender, sendAll, type Flow } from '../../kit/udp-load.ts';
import type { UdpSender } from '../../kit/udp-sender.ts';

const CAP_MBIT = 4;
const CAPS = {
  egress: { rateBitsPerSec: CAP_MBIT * 1e6 },
  ingress: { rateBitsPerSec: CAP_MBIT * 1e6 },
};
/** By each of the two. */
const OFFERED_MBIT = 2 * CAP_MBIT;
const PEER = '198.51.100.2';
const KEY = { containerId: 'c-pod0', ifname: 'eth0' };

interface Scene {
  readonly node: TestNetns;
  readonly peer: TestNetns;
  readonly sandbox: TestNetns;
  readonly directories: HelperDirectories;
  readonly params: AttachParams;
  /** Of `pod0` and `pod1`. */
  readonly ifindexes: readonly [number, number];
  readonly start: () => Promise<TestHelper>;
}

function inTurn({ ip }: TestNetns, commands: readonly string[]): void {
  for (const command of commands) ip(...command.split(' '));
}

/**
 * The pod's network behind one of its interfaces; a route by each leads to half of the peer's
 * addresses.
 */
function routePod({ node, sandbox, peer }: Pick<Scene, 'node' | 'sandbox' | 'peer'>): void {
  const gateways = ['pod0', 'pod1'].map((name) =>
    String(node.ipJson('link', 'show', 'dev', name)[0]?.['address']),
  );
  inTurn(node, ['address add 10.86.0.1/24 dev pod0', 'address add 10.86.1.1/24 dev pod1']);
  inTurn(sandbox, [
    'address add 10.86.0.2/24 dev eth0',
    'address add 10.86.1.2/24 dev v4if0',
    'route add default via 10.86.0.1',
    `neighbour add 10.86.0.1 lladdr ${gateways[0]} dev eth0`,
    'route add 198.51.100.64/26 via 10.86.1.1',
    `neighbour add 10.86.1.1 lladdr ${gateways[1]} dev v4if0`,
  ]);
  inTurn(peer, [
    'address add 198.51.100.65/24 dev uplink',
    'route add 10.86.0.0/16 via 198.51.100.1',
  ]);
}

/** Nothing is in force yet. */
function makeScene(t: ExecutionContext, more: Partial<AttachParams> = {}): Scene {
  t.timeout(120_000);
  const [node, sandbox, peer, directories] = [
    ...[makeNetns(t), makeNetns(t), makeNetns(t)],
    makeHelperDirectories(t),
  ] as const;
  for (const { netns } of [node, sandbox, peer])
    inNetns(netns, () => writeSysctl('net/ipv6/conf/default/disable_ipv6', '1'));
  inNetns(node.netns, () => writeSysctl('net/ipv4/ip_forward', '1'));
  addUplink(node, peer, 'uplink', 1);
  wirePod(node, sandbox, 'pod0');
  inTurn(node, [`link add pod1 up type veth peer name v4if0 netns ${sandbox.name}`]);
  inTurn(sandbox, ['link set v4if0 up']);
  routePod({ node, sandbox, peer });
  const hostInterfaceIndex = Number(node.ipJson('link', 'show', 'dev', 'pod1')[0]?.['ifindex']);
  const beside = [{ podInterface: 'v4if0', hostInterface: 'pod1', hostInterfaceIndex }];
  const params = { ...paramsOf('pod0', sandbox, CAPS), beside, ...more };
  const first = leaveRecord(node, directories, params);
  return {
    ...{ node, peer, sandbox, directories, params, ifindexes: [first, hostInterfaceIndex] },
    start: () => startOwnHelper(t, node, directories, ['--reconcile-seconds', '3600']),
  };
}

/** Bytes that a device has received, without what its namespace sends. */
function received({ netns }: TestNetns, device: string): number {
  const table = inNetns(netns, () => fs.readFileSync('/proc/thread-self/net/dev', 'utf8'));
  const line = table.split('\n').find((each) => each.trim().startsWith(`${device}:`)) ?? '';
  return Number(line.trim().split(/[:\s]+/)[1]);
}

interface Load {
  readonly from: UdpSender;
  readonly to: readonly string[];
  readonly on: TestNetns;
  readonly devices: readonly string[];
}

/** Mbit/s that come by each device while a load is sent, once its queues are full. */
async function ratesUnder({ from, to, on, devices }: Load): Promise<number[]> {
  const flows = to.map((address): Flow => ({
    socket: from,
    to: address,
    bitsPerSec: OFFERED_MBIT * 1e6,
  }));
  const sent = sendAll(flows, 5000);
  await sleep(1000);
  const [beginMs, before] = [performance.now(), devices.map((device) => received(on, device))];
  await sleep(3500);
  const seconds = (performance.now() - beginMs) / 1000;
  const rates = devices.map(
    (device, at) => ((received(on, device) - (before[at] ?? 0)) * 8) / 1e6 / seconds,
  );
  await sent;
  return rates;
}

function total(rates: readonly number[]): number {
  return rates.reduce((sum, rate) => sum + rate, 0);
}

async function itemOf(helper: TestHelper): Promise<AttachmentStatus | undefined> {
  return (await helper.ask('list', {})).attachments[0];
}

/** What is wrong beside that this kernel may have no fq. */
async function problemsOf(helper: TestHelper): Promise<readonly string[]> {
  const { problems = [] } = (await itemOf(helper)) ?? {};
  return problems.filter((problem) => !/fq|hold packets|noqueue/.test(problem));
}

function entryOf(scene: Scene, ifindex: number): string | undefined {
  return readMap(scene, 'host_interfaces', INTERFACE_KEY.encode(ifindex), HOST_INTERFACE.size);
}

/** How many programs stand at one of the two host interfaces. */
async function programsOf({ node, ifindexes }: Scene, which: 0 | 1): Promise<number> {
  const hooks = ['ingress', 'egress'] as const;
  const programs = await Promise.all(hooks.map((hook) => programsAt(node, ifindexes[which], hook)));
  return programs.flat().length;
}

async function until(
  t: ExecutionContext,
  what: string,
  isSo: () => boolean | Promise<boolean>,
): Promise<void> {
  const endMs = performance.now() + 20_000;
  while (!(await isSo())) {
    if (performance.now() > endMs) return t.fail(`not within 20 s: ${what}`);
    await sleep(100);
  }
}

test.serial(
  'two pairs of one pod share its caps, out and in, and its books count both',
  async (t) => {
    const scene = makeScene(t);
    const { node, peer, sandbox, ifindexes, start } = scene;
    const helper = await start();
    t.deepEqual(await problemsOf(helper), []);
    t.deepEqual(
      (await itemOf(helper))?.beside?.map(({ hostInterface }) => hostInterface),
      ['pod1'],
    );
    const entries = ifindexes.map((ifindex) => entryOf(scene, ifindex));
    t.not(entries[0], undefined);
    t.is(entries[0], entries[1], 'one clock out, one in');

    const pod = openSender(t, sandbox.netns);
    const out = await ratesUnder({
      from: pod,
      to: [PEER, '198.51.100.65'],
      on: peer,
      devices: ['uplink'],
    });
    t.log(`out ${total(out).toFixed(3)} Mbit/s of ${CAP_MBIT}, ${2 * OFFERED_MBIT} offered`);
    t.true(total(out) > 0.97 * CAP_MBIT && total(out) < 1.03 * CAP_MBIT, String(out));

    const { attachments } = await helper.ask('counters', {});
    const books = attachments[0]?.egress?.books;
    const [own, second] = ['pod0', 'pod1'].map((name) => received(node, name));
    t.true(own! > 2e6 && second! > 2e6);
    t.true(
      Math.abs((books?.seenBytes ?? 0) - own! - second!) < 20_000,
      `${books?.seenBytes} ${own} ${second}`,
    );

    const far = openSender(t, peer.netns);
    const devices = ['eth0', 'v4if0'];
    const rates = await ratesUnder({
      from: far,
      to: ['10.86.0.2', '10.86.1.2'],
      on: sandbox,
      devices,
    });
    t.log(`in ${rates.map((rate) => rate.toFixed(3)).join(' + ')} Mbit/s of ${CAP_MBIT}`);
    t.true(total(rates) > 0.97 * CAP_MBIT && total(rates) < 1.03 * CAP_MBIT, String(rates));
  },
);

test.serial('a second pair that is renamed, and one that goes first or last', async (t) => {
  for (const [goes, stays] of [
    [1, 0],
    [0, 1],
  ] as const) {
    const scene = makeScene(t);
    const { node, ifindexes, directories, start } = scene;
    const helper = await start();
    inTurn(node, ['link set pod1 down', 'link set pod1 name renamed1', 'link set renamed1 up']);
    await until(
      t,
      'the renamed one is looked at',
      async () => (await problemsOf(helper)).length === 0,
    );
    t.is(await programsOf(scene, 1), 2);

    await deleteLink(node.rt, ifindexes[goes]);
    const goesOn = new RegExp(`pod${goes} is gone: by pod${stays} goes on c-pod0/eth0`);
    await until(t, 'it is told of', () => goesOn.test(helper.log()));
    await until(t, 'its entry is gone', () => entryOf(scene, ifindexes[goes]) === undefined);
    const item = await itemOf(helper);
    t.like(item, { hostInterfaceIndex: ifindexes[stays], ifname: 'eth0', beside: undefined });
    t.is(item?.podInterface, stays === 1 ? 'v4if0' : undefined);
    t.deepEqual(await problemsOf(helper), []);
    const changed = await helper.ask('set', {
      ...{ ...KEY, direction: 'egress' },
      changes: { rateBitsPerSec: 3_000_000 },
    });
    t.is(changed.after?.rateBitsPerSec, 3_000_000);

    // The next helper finds it as this one has left it.
    await helper.end('SIGTERM');
    const next = await start();
    t.is((await itemOf(next))?.hostInterfaceIndex, ifindexes[stays]);
    if (stays === 1) await next.ask('detach', KEY);
    else {
      await deleteLink(node.rt, ifindexes[stays]);
      await until(t, 'it is forgotten', async () => (await itemOf(next)) === undefined);
    }
    t.deepEqual(fs.readdirSync(`${directories.run}/state/attachments`), []);
    for (const ifindex of ifindexes) t.is(entryOf(scene, ifindex), undefined);
    if (stays === 1) t.is(await programsOf(scene, 1), 0);
    t.is((await next.ask('status', {})).attachments, 0);
    await next.end('SIGTERM');
  }
});

test.serial(
  'what somebody takes off the second pair is put there again, and all is given back',
  async (t) => {
    const scene = makeScene(t);
    const { node, ifindexes, start } = scene;
    const helper = await start();
    t.is(await programsOf(scene, 1), 2);
    const links = path.join(helper.pinDir, 'links');
    const pins = ['ingress', 'egress'].map((hook) => path.join(links, `${ifindexes[1]}-${hook}`));
    // A link whose pin is gone ends when the kernel comes to it.
    const stand = async (): Promise<boolean> =>
      isTcxSupported()
        ? pins.every((pin) => fs.existsSync(pin))
        : (await programsOf(scene, 1)) === 2;
    if (isTcxSupported()) for (const pin of pins) fs.rmSync(pin);
    else node.tc('qdisc', 'delete', 'dev', 'pod1', 'clsact');
    t.false(await stand());
    await until(t, 'its programs are back', stand);
    const key = INTERFACE_KEY.encode(ifindexes[1]);
    const entry = entryOf(scene, ifindexes[1]);
    const fd = openPinned(path.join(helper.pinDir, 'host_interfaces'));
    deleteElement(fd, key);
    fs.closeSync(fd);
    await until(t, 'its entry is back', () => entryOf(scene, ifindexes[1]) === entry);
    await until(t, 'it is told of', () =>
      /map entry of pod1 of c-pod0\/eth0 was wrong/.test(helper.log()),
    );
    t.is((await helper.ask('uninstall', {})).detached, 1);
    t.deepEqual([await programsOf(scene, 0), await programsOf(scene, 1)], [0, 0]);
  },
);

test.serial(
  'a way that cannot be held is told of in status, list and CHECK, which asks for those of the list',
  async (t) => {
    const unheld = [{ podInterface: 'net1', reason: 'it is of kind macvlan' }];
    const { params, start } = makeScene(t, { unheld });
    const helper = await start();
    const told = (await helper.ask('status', {})).problems.find((text) => text.includes('net1'));
    t.is(
      told,
      'What c-pod0/eth0 sends and receives by its interface net1 is not held: it is of kind macvlan',
    );
    const { problemsByDirection } = (await itemOf(helper)) ?? {};
    for (const direction of ['egress', 'ingress'] as const)
      t.true(problemsByDirection?.[direction]?.includes(told ?? '') === true, direction);
    const refused = await t.throwsAsync(helper.ask('check', params), { instanceOf: HelperError });
    t.regex(refused?.message ?? '', /net1 is not held: it is of kind macvlan/);
  },
);
