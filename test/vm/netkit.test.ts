// Pods behind netkit pairs, where the kernel has them, and what is said where it has none.

import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { FlagsNew } from 'netlink/dist/constants.js';
import { loadProgram, PROG_TYPE_SCHED_CLS, programInfo } from '../../helper/kernel/bpf.ts';
import { inNetns, openNetns } from '../../helper/kernel/netns.ts';
import { openRt } from '../../helper/kernel/open-rt.ts';
import type { RtSocket } from '../../helper/kernel/rtnetlink.ts';
import { createTcxLink, queryTcx } from '../../helper/kernel/tcx.ts';
import { encodePayload } from '../../helper/wire/attributes.ts';
import { startServer } from '../bed/iperf.ts';
import { UndoStack } from '../bed/undo.ts';
import { askNode } from '../kit/ask.ts';
import { holds, measure } from '../kit/exit-scene.ts';
import { paramsOf } from '../kit/helper.ts';
import { makeNetns, type TestNetns } from '../kit/netns.ts';
import { call, DUAL, fail, makePod, succeed, V4 } from '../kit/pod.ts';
import { deliver } from '../kit/timed-datagrams.ts';
import { inside, ip, reaches, snapshot } from '../kit/cni-node.ts';
import {
  addRoutedPods,
  forwardedByStack,
  list,
  makeRoutingNode,
  missedAfter,
  PEER_IPV4,
  PEER_IPV6,
  ping,
  PINGS,
  POD_IPV4,
  POD_IPV6,
  problemsOf,
  run,
  status,
  type RoutingNode,
  type RoutingScene,
} from '../kit/routing-scene.ts';
import { wholeFile } from '../kit/whole-file.ts';

/** Only the kernel can tell: it may have been built without. */
const HAS_NETKIT =
  spawnSync('unshare', ['--net', 'ip', 'link', 'add', 'one', 'type', 'netkit']).status === 0;

/** The kind of the pod's interface as the kernel has it. */
function kindOf(sandbox: string): string {
  const [link] = JSON.parse(inside(sandbox, 'ip', '-d', '-j', 'link', 'show', 'eth0')) as {
    linkinfo?: { info_kind?: string };
  }[];
  return link?.linkinfo?.info_kind ?? '';
}

test.serial('auto takes a netkit where the kernel has it, and says what it took', async (t) => {
  const wanted = HAS_NETKIT ? 'netkit' : 'veth';
  const pod = makePod(t, DUAL, { device: 'auto' });
  const before = await snapshot(pod.node);
  const outcome = await call(pod, 'ADD');
  t.regex(outcome.stderr, new RegExp(`interface "eth0" is a ${wanted} \\(device is auto\\)`));
  const result = await succeed(t, Promise.resolve(outcome));
  t.is(kindOf(pod.sandbox), wanted);
  t.true(reaches(pod.sandbox, 'fd91::1'));
  t.true(reaches(pod.sandbox, '10.91.0.1'));
  t.is(result.interfaces?.[1]?.mac === undefined, HAS_NETKIT);
  await succeed(t, call(pod, 'CHECK', { prevResult: result }));
  // Of a pod that is there already the default may be another one by now.
  await succeed(t, call(pod, 'CHECK', { prevResult: result, device: 'veth' }));
  await succeed(t, call(pod, 'DEL'));
  t.is(await snapshot(pod.node), before);
});

test.serial('a netkit that is asked for is made, or refused by name', async (t) => {
  const pod = makePod(t, V4, { device: 'netkit', mtu: 1400 });
  if (!HAS_NETKIT) {
    const before = await snapshot(pod.node);
    await fail(t, call(pod, 'ADD'), 102, /^Cannot use device "netkit": this kernel has none/);
    t.is(await snapshot(pod.node), before);
    return;
  }
  const result = await succeed(t, call(pod, 'ADD'));
  t.is(kindOf(pod.sandbox), 'netkit');
  t.regex(ip(pod.sandbox, 'link', 'show', 'eth0'), /mtu 1400/);
  t.regex(ip(pod.node.netns, 'link'), /pod[0-9a-f]+@.*mtu 1400/);
  await fail(t, call(pod, 'ADD'), 105, /it exists already/);
  await succeed(t, call(pod, 'CHECK', { prevResult: result }));
  ip(pod.sandbox, 'link', 'set', 'eth0', 'down');
  await fail(
    t,
    call(pod, 'CHECK', { prevResult: result }),
    103,
    /interface "eth0" in the state up/,
  );
});

const DEVICES = HAS_NETKIT ? (['veth', 'netkit'] as const) : (['veth'] as const);

/** The pods on the node of this file, which has one helper for all tests. */
interface SharedPods {
  readonly undo: UndoStack;
  readonly scene: RoutingScene;
  readonly how: string;
}

let node: RoutingNode | undefined;
let pods: SharedPods | undefined;
let networks = 0;

const untilEnd = wholeFile(test, async () => {
  await pods?.undo.run();
  [node, pods] = [undefined, undefined];
});

/** One that counts frames by the device: none may stand for several. */
async function sharedNode(t: ExecutionContext): Promise<RoutingNode> {
  t.timeout(300_000);
  node ??= await makeRoutingNode(untilEnd, async (bed) => {
    for (const netns of [bed.node, bed.peer])
      run(netns, 'ip', 'link', 'set', 'uplink', 'gso_max_segs', '1');
    await Promise.resolve();
  });
  return node;
}

/** The node with pods of this kind and no others; those of the test before where they are so. */
async function withPods(t: ExecutionContext, keys: object, caps: object): Promise<RoutingScene> {
  const here = await sharedNode(t);
  const how = JSON.stringify({ keys, caps });
  if (pods?.how !== how) {
    await pods?.undo.run();
    const undo = new UndoStack();
    networks += 1;
    const scene = await addRoutedPods(here, { keys, caps, network: `routed${networks}` }, undo);
    pods = { undo, scene, how };
  }
  t.deepEqual((await status(pods.scene)).problems, []);
  t.is(await problemsOf(pods.scene), '');
  return pods.scene;
}

const EGRESS_CAP = { bandwidth: { egressRate: 10_000_000, egressBurst: 4294967295 } };
const INGRESS_CAP = { bandwidth: { ingressRate: 10_000_000, ingressBurst: 4294967295 } };

for (const device of DEVICES) {
  test.serial(
    `${device}: packets into a pod with a cap wait for it at its host interface, past the stack`,
    async (t) => {
      const scene = await withPods(t, { device, hostRouting: true }, INGRESS_CAP);
      const before = forwardedByStack(scene);
      const answered = new RegExp(`${PINGS} packets transmitted, ${PINGS} packets received`);
      for (const to of [PEER_IPV4, PEER_IPV6]) t.regex(await ping(scene, to), answered);
      for (const to of [POD_IPV4[0], POD_IPV6[0]])
        t.regex(await ping(scene, to, { isFromPeer: true }), answered);
      t.is(forwardedByStack(scene) - before, 0);
      const { attachments } = await list(scene);
      t.true(attachments.every(({ kind, problems }) => kind === device && problems.length === 0));
      t.deepEqual((await status(scene)).problems, []);
    },
  );
}

for (const hostRouting of [false, true]) {
  for (const device of DEVICES) {
    // The common case is what all other tests are of.
    if (device === 'veth' && hostRouting) continue;
    test.serial(
      `${device}${hostRouting ? ', host routing' : ''}: the cap holds in both families`,
      async (t) => {
        const { bed } = await withPods(t, { device, hostRouting }, EGRESS_CAP);
        const [podAddress, podAddress6] = [POD_IPV4[0], POD_IPV6[0]];
        const [pod, { signal }] = [bed.pods.get('one') ?? '', new AbortController()];
        await startServer(pod, UndoStack.of(t), signal);
        for (const to of [PEER_IPV4, PEER_IPV6])
          holds(t, await measure({ bed, podAddress, podAddress6 }, to));
      },
    );
  }
}

if (HAS_NETKIT) {
  test.serial('a program in front at the far end of a netkit is passed within 3 s', async (t) => {
    const scene = await withPods(t, { device: 'netkit', hostRouting: true }, EGRESS_CAP);
    const { attachments } = await list(scene);
    const ifindex = attachments[0]?.hostInterfaceIndex ?? 0;
    const node = openNetns(scene.bed.node);
    t.teardown(() => node.close());
    const order = (): number[] => inNetns(node, () => queryTcx(ifindex, 'peer'));
    const before = order();
    // Returns NETKIT_PASS.
    const instructions = Buffer.from('b7000000000000009500000000000000', 'hex');
    const type = PROG_TYPE_SCHED_CLS;
    const programFd = loadProgram({ type, name: 'other', license: 'GPL', instructions });
    t.teardown(() => fs.closeSync(programFd));
    const link = inNetns(node, () => createTcxLink({ programFd, ifindex, hook: 'peer' }));
    t.teardown(() => fs.closeSync(link));
    const { id } = programInfo(programFd);
    t.deepEqual(order(), [id, ...before]);
    const beginMs = performance.now();
    while (order()[0] === id && performance.now() - beginMs < 3000) await sleep(50);
    t.is(order()[0], before[0]);
    t.is(await problemsOf(scene), '');
  });

  test.serial(
    'a program at the far end of a netkit that somebody takes away is missed, and put back',
    async (t) => {
      const scene = await withPods(t, { device: 'netkit', hostRouting: true }, EGRESS_CAP);
      t.is(await problemsOf(scene), '');
      const links = scene.bed.nodeFile('/sys/fs/bpf/podpace/links');
      const { problems, check } = await missedAfter(scene, () => {
        for (const name of fs.readdirSync(links).filter((name) => name.includes('peer')))
          fs.rmSync(`${links}/${name}`, { force: true });
      });
      t.regex(problems, /classifier is missing on pod[0-9a-f]+ \(peer\)/);
      t.regex(problems, /host routing out of the pod is missing on pod[0-9a-f]+ \(peerLast\)/);
      t.regex(check, /is missing/);
      for (let attempt = 0; attempt < 200 && (await problemsOf(scene)) !== ''; attempt += 1)
        await sleep(100);
      t.is(await problemsOf(scene), '');
      await scene.call('check');
      for (const pod of ['one', 'two'] as const) await scene.call('del', pod);
      pods = undefined;
      t.deepEqual(fs.readdirSync(links), []);
    },
  );
}

/** Of linux/if_link.h and linux/rtnetlink.h, as far as podpace does not write them itself. */
const [IFLA_IFNAME, IFLA_LINKINFO, IFLA_NET_NS_FD] = [3, 18, 28];
const [IFLA_INFO_KIND, IFLA_INFO_DATA] = [1, 2];
const [IFLA_NETKIT_PEER_INFO, IFLA_NETKIT_HEADROOM, IFLA_NETKIT_TAILROOM] = [1, 8, 9];
const RTM_NEWLINK = 16;
const IFINFOMSG_BYTES = 16;
const ROOM_BYTES = Buffer.from([96, 0]);

/** A netkit as others make it: before Linux 6.14 the kernel passes over the room. */
function addRoomyNetkit(rt: RtSocket, sandbox: TestNetns, name: string): Promise<void> {
  const header = Buffer.alloc(IFINFOMSG_BYTES);
  const peer = encodePayload(header, (attributes) => {
    attributes.string(IFLA_IFNAME, 'eth0');
    attributes.u32(IFLA_NET_NS_FD, sandbox.netns.fd);
  });
  const payload = encodePayload(header, (attributes) => {
    attributes.string(IFLA_IFNAME, name);
    attributes.nested(IFLA_LINKINFO, (info) => {
      info.string(IFLA_INFO_KIND, 'netkit');
      info.nested(IFLA_INFO_DATA, (data) => {
        data.bytes(IFLA_NETKIT_HEADROOM, ROOM_BYTES);
        data.bytes(IFLA_NETKIT_TAILROOM, ROOM_BYTES);
        data.bytes(IFLA_NETKIT_PEER_INFO, peer);
      });
    });
  });
  const flags = FlagsNew.CREATE | FlagsNew.EXCL;
  return rt.execute({
    operation: 'make a netkit with room',
    type: RTM_NEWLINK,
    flags,
    payload,
  });
}

if (HAS_NETKIT) {
  test.serial(
    'the cap holds on a netkit that another made with room in front of and behind packets',
    async (t) => {
      const { bed } = await sharedNode(t);
      const [netns, sandbox] = [openNetns(bed.node), makeNetns(t)];
      t.teardown(() => netns.close());
      const rt = openRt(netns);
      t.teardown(() => rt.close());
      await addRoomyNetkit(rt, sandbox, 'pod0');
      for (const line of [
        'address add 10.92.0.1/32 dev pod0',
        'link set pod0 up',
        'route add 10.92.0.2/32 dev pod0',
      ])
        run(bed.node, 'ip', ...line.split(' '));
      sandbox.ipBatch(
        'address add 10.92.0.2/32 dev eth0',
        'link set eth0 up',
        'route add default dev eth0',
      );
      const caps = {
        egress: { rateBitsPerSec: 10_000_000 },
        ingress: { rateBitsPerSec: 10_000_000 },
      };
      await askNode(bed, 'attach', paramsOf('pod0', sandbox, caps));
      const [pod, outside] = [`/run/netns/${sandbox.name}`, bed.peer];
      for (const [from, to] of [
        [pod, { netns: outside, address: PEER_IPV4 }],
        [outside, { netns: pod, address: '10.92.0.2' }],
      ] as const) {
        await deliver({ from, to, count: 1, payloadBytes: 1 });
        const times = await deliver({ from, to, count: 30, payloadBytes: 1400 });
        // The AQM may take one.
        t.true(times.length >= 29, `${times.length} came`);
        const last = (times.at(-1) ?? 0) - (times[0] ?? 0);
        t.log(`the last of ${times.length} datagrams came ${last.toFixed(2)} ms after the first`);
        // A frame takes 1.15 ms of the cap; one or two may depart at once.
        t.true(last >= (times.length - 3) * 1.153 && last <= times.length * 1.153, `${last} ms`);
      }
    },
  );
}
