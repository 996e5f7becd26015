// A pod with a second pair for the other family, as the egress plugin of a cloud's IPv6 clusters
// makes it: both share the pod's cap on the wire. What leaves by no pair is told of.

import fs from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import type { CniInterface } from '../../cni/result.ts';
import { inNetns } from '../../helper/kernel/netns.ts';
import { writeSysctl } from '../../helper/kernel/sysctl.ts';
import { addUplink, makeHelperDirectories, startOwnHelper, wirePod } from '../kit/helper.ts';
import { makeNetns, type TestNetns } from '../kit/netns.ts';
import { openSender, sendAll } from '../kit/udp-load.ts';
import { call as callPlugin } from '../kit/wish-scene.ts';

const CAP_MBIT = 4;
/** By each of the two, each way. */
const OFFERED = 2 * CAP_MBIT * 1e6;
const SETTLE_MS = 1000;
const COUNT_MS = 3000;

const CAPS = { egressRate: CAP_MBIT * 1e6, ingressRate: CAP_MBIT * 1e6, ingressBurst: 80_000 };

function inTurn({ ip }: TestNetns, commands: readonly string[]): void {
  for (const command of commands) ip(...command.split(' '));
}

/** Bits that devices have received, and when: ms. */
function received(
  { netns }: TestNetns,
  devices: readonly string[],
): { bits: number[]; atMs: number } {
  const table = inNetns(netns, () => fs.readFileSync('/proc/thread-self/net/dev', 'utf8'));
  const lines = table.split('\n').map((line) => line.trim().split(/[:\s]+/));
  const bits = devices.map((device) => 8 * Number(lines.find(([name]) => name === device)?.[1]));
  return { bits, atMs: performance.now() };
}

function mbitBetween(
  before: ReturnType<typeof received>,
  after: ReturnType<typeof received>,
): number[] {
  return after.bits.map(
    (bits, at) => (bits - (before.bits[at] ?? 0)) / 1e3 / (after.atMs - before.atMs),
  );
}

function sum(rates: readonly number[]): number {
  return rates.reduce((total, rate) => total + rate, 0);
}

interface Ends {
  readonly node: TestNetns;
  readonly pod: TestNetns;
  readonly peer: TestNetns;
}

/** As the cloud's two plugins wire a pod: IPv6 by the first pair, IPv4 by the second. */
function wire({ node, pod, peer }: Ends): void {
  wirePod(node, pod, 'eni5c2');
  addUplink(node, peer, 'uplink', 4);
  inNetns(node.netns, () => {
    writeSysctl('net/ipv4/ip_forward', '1');
    writeSysctl('net/ipv6/conf/all/forwarding', '1');
  });
  inTurn(node, [
    `link add veth4a7e up type veth peer name v4if0 netns ${pod.name}`,
    'address add 169.254.172.1/32 dev veth4a7e',
    'route add 169.254.172.10/32 dev veth4a7e',
    '-6 address add 2001:db8:86::1/64 dev eni5c2 nodad',
    '-6 address add 2001:db8:1::1/64 dev uplink nodad',
  ]);
  inTurn(pod, [
    'link set v4if0 up',
    'address add 169.254.172.10/32 dev v4if0',
    'route add 169.254.172.1 dev v4if0',
    'route add default via 169.254.172.1 src 169.254.172.10',
    '-6 address add 2001:db8:86::2/64 dev eth0 nodad',
    '-6 route add default via 2001:db8:86::1',
  ]);
  inTurn(peer, [
    'route add default via 198.51.100.1',
    '-6 address add 2001:db8:1::2/64 dev uplink nodad',
    '-6 route add default via 2001:db8:1::1',
  ]);
}

/**
 * Twice the cap by each of the two pairs, both ways at once: what comes to the peer and to the pod.
 */
async function requireHeld(t: ExecutionContext, { node, pod, peer }: Ends): Promise<void> {
  const [out4, in4] = [pod, peer].map(({ netns }) => openSender(t, netns));
  const [out6, in6] = [pod, peer].map(({ netns }) => openSender(t, netns, 6));
  const flows = [
    { socket: out4!, to: '198.51.100.2', bitsPerSec: OFFERED },
    { socket: out6!, to: '2001:db8:1::2', bitsPerSec: OFFERED, payloadBytes: 1400 },
    { socket: in4!, to: '169.254.172.10', bitsPerSec: OFFERED },
    { socket: in6!, to: '2001:db8:86::2', bitsPerSec: OFFERED, payloadBytes: 1400 },
  ];
  const sent = sendAll(flows, SETTLE_MS + COUNT_MS + 200);
  await sleep(SETTLE_MS);
  const looks = (): ReturnType<typeof received>[] => [
    received(peer, ['uplink']),
    received(pod, ['eth0', 'v4if0']),
    received(node, ['eni5c2', 'veth4a7e']),
  ];
  const before = looks();
  await sleep(COUNT_MS);
  const [out, into, from] = looks().map((after, at) => mbitBetween(before[at]!, after));
  await sent;
  const figures = [
    `out ${sum(out!).toFixed(3)} (of ${sum(from!).toFixed(1)} sent)`,
    `in ${into!.map((rate) => rate.toFixed(3)).join(' + ')}`,
  ];
  t.log(`${figures.join(', ')} Mbit/s of ${CAP_MBIT}`);
  for (const rate of [sum(out!), sum(into!)])
    t.true(rate <= 1.01 * CAP_MBIT && rate >= 0.99 * CAP_MBIT, figures.join());
  for (const rate of [...from!, ...into!]) t.true(rate > 0.2 * CAP_MBIT, figures.join());
}

test.serial('two pairs of a pod share its cap, by IPv6 and IPv4 at once, out and in', async (t) => {
  t.timeout(300_000);
  const ends = { node: makeNetns(t), pod: makeNetns(t), peer: makeNetns(t) };
  const { node, pod } = ends;
  const directories = makeHelperDirectories(t);
  wire(ends);
  const helper = await startOwnHelper(t, node, directories);
  const scene = { node, directories, socket: helper.socket, wishes: '' };
  const sandbox = `/run/netns/${pod.name}`;
  const made: CniInterface[] = [
    { name: 'eni5c2' },
    { name: 'eth0', sandbox },
    { name: 'dummy5c2', mac: '0', sandbox: '0' },
    { name: 'veth4a7e' },
    { name: 'v4if0', sandbox },
  ];
  const call = (command: string, interfaces: readonly CniInterface[] = made) => {
    const prevResult = {
      cniVersion: '1.1.0',
      interfaces: interfaces.map((entry) => ({ ...entry })),
    };
    return callPlugin(scene, command, pod, { ...CAPS, onUnenforceable: 'fail', prevResult });
  };
  const added = call('ADD');
  t.is(added.status, 0, added.stdout);
  const { state, problems } = await helper.ask('status', {});
  t.is(state, 'ok', problems.join('; '));
  const [item] = (await helper.ask('list', {})).attachments;
  t.deepEqual(
    item?.beside?.map(({ podInterface, hostInterface }) => [podInterface, hostInterface]),
    [['v4if0', 'veth4a7e']],
  );

  await requireHeld(t, ends);
  const checked = call('CHECK');
  t.is(checked.status, 0, checked.stdout);

  // There is a way now that nothing is held on.
  inTurn(pod, ['link delete v4if0']);
  const key = { containerId: `c-${pod.name}`, ifname: 'eth0' };
  await helper.ask('detach', key);
  inTurn(node, [`link add link uplink name net1 netns ${pod.name} type macvlan`]);
  const again = [...made.slice(0, 2), { name: 'net1', sandbox }];
  const told = /interface net1 is not held: it is of kind macvlan, whose packets do not pass/;
  const withMacvlan = call('ADD', again);
  t.is(withMacvlan.status, 0, withMacvlan.stdout);
  t.regex(withMacvlan.stderr, told);
  const after = await helper.ask('status', {});
  t.is(after.state, 'degraded');
  t.regex(after.problems.join('\n'), told);
  const refused = call('CHECK', again);
  t.is(refused.status, 1);
  t.regex(refused.stdout, told);
  await helper.ask('detach', key);
  t.is((await helper.ask('status', {})).state, 'ok');
});
