// Host routing on real devices: what goes past the node's IP stack, and what is left to it.

import fs from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import test from 'ava';
import {
  deleteElement,
  loadProgram,
  lookupElement,
  openPinned,
  PROG_TYPE_SCHED_CLS,
  updateElement,
} from '../../helper/kernel/bpf.ts';
import { ensureClsact, replaceBpfFilter } from '../../helper/kernel/filters.ts';
import { findLink } from '../../helper/kernel/links.ts';
import { inNetns, openNetns } from '../../helper/kernel/netns.ts';
import { openRt } from '../../helper/kernel/open-rt.ts';
import { createTcxLink, isTcxSupported } from '../../helper/kernel/tcx.ts';
import {
  encodePodAddress,
  encodePodAddressKey,
  POD_ADDRESS_SIZE,
} from '../../helper/wire/routing.ts';
import { UndoStack } from '../bed/undo.ts';
import type { AttachmentStatus } from '../../helper/protocol/messages.ts';
import {
  ALL_ANSWERED,
  forwardedByStack,
  forwardedDuring,
  list,
  makeRoutingScene,
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
  type RoutingScene,
} from '../kit/routing-scene.ts';

/** No pod has it. */
const NOBODY = '10.85.0.77';

/** Most tests leave it as it was; the last one takes it away. */
const shared = new UndoStack();
let scene: RoutingScene;

test.before(async (t) => {
  t.timeout(300_000);
  scene = await makeRoutingScene({ keys: { hostRouting: true } }, shared);
});

test.after.always(() => shared.run());

/** The first pod's line of `list`. */
async function attachment({ bed }: RoutingScene): Promise<AttachmentStatus | undefined> {
  return (await list({ bed })).attachments.find(({ hostRouting }) =>
    hostRouting?.addresses.includes(POD_IPV4[0]),
  );
}

test.serial(
  'packets to and from the peer and another pod go past the stack, of both families',
  async (t) => {
    for (const to of [PEER_IPV4, PEER_IPV6]) t.is(await forwardedDuring(t, scene, to), 0, to);
    for (const to of [POD_IPV4[0], POD_IPV6[0]])
      t.is(await forwardedDuring(t, scene, to, { isFromPeer: true }), 0, to);
    for (const to of [POD_IPV4[1], POD_IPV6[1]]) {
      // Neighbours are the stack's to resolve.
      await ping(scene, to);
      t.is(await forwardedDuring(t, scene, to), 0, to);
    }
    const [exit] = (await status(scene)).exits;
    t.like(exit, { name: 'uplink', arrivalProgram: true, departureProgram: false });
    t.like(await attachment(scene), { kind: 'veth', problems: [] });
  },
);

test.serial('each hop is counted, and who runs out of hops is told', async (t) => {
  t.regex(await ping(scene, PEER_IPV4), / ttl=63 /);
  t.regex(await ping(scene, PEER_IPV6), / ttl=63 /);
  t.regex(await ping(scene, PEER_IPV4, { options: ['-t', '1'] }), / 0 packets received/);
  const netns = openNetns(scene.bed.node);
  t.teardown(() => netns.close());
  // The stack has answered: time exceeded.
  const icmp = inNetns(netns, () => fs.readFileSync('/proc/thread-self/net/snmp', 'utf8'));
  const [names = '', values = ''] = icmp.split('\n').filter((line) => line.startsWith('Icmp:'));
  t.true(Number(values.split(' ')[names.split(' ').indexOf('OutTimeExcds')]) >= 1);
});

test.serial('what the stack has to see is left to it, and gets through', async (t) => {
  // Fragments: three of each request, and answers in as many.
  t.true((await forwardedDuring(t, scene, PEER_IPV4, { options: ['-s', '3000'] })) >= 6 * PINGS);
  t.true((await forwardedDuring(t, scene, PEER_IPV6, { options: ['-s', '3000'] })) >= 6 * PINGS);
  // The node itself.
  t.regex(await ping(scene, '198.51.100.1'), ALL_ANSWERED);
  // A route that goes nowhere, and one whose next hop does not answer.
  run(scene.bed.node, 'ip', 'route', 'add', 'unreachable', '192.0.2.0/24');
  t.regex(await ping(scene, '192.0.2.1'), / 0 packets received/);
  t.regex(await ping(scene, '198.51.100.77'), / 0 packets received/);
});

test.serial('an address that is not the pod’s is the stack’s to judge', async (t) => {
  const pod = scene.bed.pods.get('one') ?? '';
  run(pod, 'ip', 'address', 'add', '10.99.0.1/32', 'dev', 'eth0');
  t.teardown(() => run(pod, 'ip', 'address', 'del', '10.99.0.1/32', 'dev', 'eth0'));
  const before = forwardedByStack(scene);
  // The peer's answers have nowhere to go but back to it.
  await ping(scene, PEER_IPV4, { options: ['-I', '10.99.0.1'] });
  t.true(forwardedByStack(scene) - before >= PINGS);
});

test.serial('a packet that is too big for the next link is the stack’s to refuse', async (t) => {
  const setMtu = (mtu: string): void => {
    for (const netns of [scene.bed.node, scene.bed.peer])
      run(netns, 'ip', 'link', 'set', 'uplink', 'mtu', mtu);
  };
  setMtu('1300');
  t.teardown(() => setMtu('1500'));
  // The first is refused, the next ones come in fragments.
  t.regex(await ping(scene, PEER_IPV4, { options: ['-s', '1380'] }), /packets received/);
  t.true((await forwardedDuring(t, scene, PEER_IPV4, { options: ['-s', '1380'] })) > 0);
  t.is(await forwardedDuring(t, scene, PEER_IPV4, { options: ['-s', '1200'] }), 0);
});

test.serial('a program that somebody takes away is missed, and put back', async (t) => {
  const own = await attachment(scene);
  const links = scene.bed.nodeFile('/sys/fs/bpf/podpace/links');
  const { problems, check } = await missedAfter(scene, () => {
    if (isTcxSupported())
      fs.rmSync(`${links}/${own?.hostInterfaceIndex}-ingressLast`, { force: true });
    else run(scene.bed.node, 'sh', '-c', `tc filter del dev ${own?.hostInterface} ingress || true`);
  });
  // Without tcx the helper hears of it at once, and may be quicker than who asks.
  if (isTcxSupported() || problems !== '')
    t.regex(problems, /host routing out of the pod is missing/);
  if (isTcxSupported() || check !== '') t.regex(check, /host routing out of the pod is missing/);
  for (let attempt = 0; attempt < 200 && (await problemsOf(scene)) !== ''; attempt += 1)
    await sleep(100);
  await t.notThrowsAsync(scene.call('check'));
  t.is(await forwardedDuring(t, scene, PEER_IPV4), 0);
});

test.serial('entries that somebody takes away are put back, and those of nobody go', async (t) => {
  const fd = openPinned(scene.bed.nodeFile('/sys/fs/bpf/podpace/pod_addresses'));
  t.teardown(() => fs.closeSync(fd));
  const read = (address: string): Buffer | undefined =>
    lookupElement(fd, encodePodAddressKey(address), POD_ADDRESS_SIZE);
  const whole = read(POD_IPV4[0]);
  t.truthy(whole);
  t.true(deleteElement(fd, encodePodAddressKey(POD_IPV4[0])));
  updateElement(fd, encodePodAddressKey(NOBODY), encodePodAddress({ ifindex: 7, isShaped: false }));
  for (let attempt = 0; attempt < 50 && read(POD_IPV4[0]) === undefined; attempt += 1)
    await sleep(100);
  t.deepEqual(read(POD_IPV4[0]), whole);
  await scene.call('check');
  for (let attempt = 0; attempt < 200 && read(NOBODY) !== undefined; attempt += 1) await sleep(100);
  t.is(read(NOBODY), undefined);
});

/**
 * Has a program of somebody else drop all that comes in on the uplink; it was there before podpace.
 */
async function dropArrivals(bed: RoutingScene['bed'], undo: UndoStack): Promise<void> {
  const dropAll = Buffer.from('b7000000020000009500000000000000', 'hex');
  const program = {
    type: PROG_TYPE_SCHED_CLS,
    name: 'drop',
    license: 'GPL',
    instructions: dropAll,
  };
  const fd = loadProgram(program);
  undo.defer('close the program', () => fs.closeSync(fd));
  const netns = openNetns(bed.node);
  undo.defer('close the namespace', () => netns.close());
  const rt = openRt(netns);
  undo.defer('close the socket', () => rt.close());
  const ifindex = (await findLink(rt, { name: 'uplink' }))?.index ?? 0;
  if (isTcxSupported()) {
    const link = inNetns(netns, () =>
      createTcxLink({ programFd: fd, ifindex, hook: 'ingressLast' }),
    );
    undo.defer('close the link', () => fs.closeSync(link));
    return;
  }
  await ensureClsact(rt, ifindex);
  const place = { ifindex, hook: 'ingress', priority: 7, handle: 1 } as const;
  await replaceBpfFilter(rt, { ...place, programFd: fd, name: 'drop' });
}

test.serial(
  'who is on the node besides: a filter, rules of netfilter, a program at the hook',
  async (t) => {
    t.timeout(300_000);
    const undo = UndoStack.of(t);
    const rules = [
      'add table ip nat',
      'add chain ip nat POSTROUTING { type nat hook postrouting priority 100; }',
      'add rule ip nat POSTROUTING oifname "uplink" masquerade',
    ];
    const crowded = await makeRoutingScene(
      { keys: { hostRouting: true }, pods: ['one'] },
      undo,
      async ({ node }) => {
        run(node, 'sh', '-c', 'echo 1 > /proc/sys/net/ipv4/conf/uplink/rp_filter');
        run(node, 'nft', rules.join('; '));
      },
    );
    // Answers come by the stack: a strict reverse path filter has to see them.
    t.is(await forwardedDuring(t, crowded, PEER_IPV4), PINGS);
    const { notices, exits, problems } = await status(crowded);
    // But for what this kernel may lack for caps, of which there are none here.
    t.deepEqual(
      problems.filter((problem) => !problem.includes('this kernel has no sch_fq')),
      [],
    );
    t.regex(
      notices.join('\n'),
      /come in on uplink pass the IP stack: its reverse path filter is strict/,
    );
    t.regex(
      notices.join('\n'),
      /do not pass netfilter: .* ip nat POSTROUTING \(nat, postrouting\)/,
    );
    t.false(exits[0]?.arrivalProgram);
    // Without the filter the next reconciliation takes packets in; before that somebody else drops
    // them.
    await dropArrivals(crowded.bed, undo);
    run(crowded.bed.node, 'sh', '-c', 'echo 0 > /proc/sys/net/ipv4/conf/uplink/rp_filter');
    for (let attempt = 0; attempt < 200; attempt += 1) {
      if ((await status(crowded)).exits[0]?.arrivalProgram === true) break;
      await sleep(100);
    }
    t.regex(await ping(crowded, PEER_IPV4), / 0 packets received/);
  },
);

test.serial('with the last pod everything of it goes', async (t) => {
  await scene.call('del');
  t.true((await status(scene)).exits.some(({ arrivalProgram }) => arrivalProgram));
  await scene.call('del', 'two');
  const { exits, attachments, notices } = await status(scene);
  t.is(attachments, 0);
  t.deepEqual(notices, []);
  t.true(exits.every(({ arrivalProgram }) => !arrivalProgram));
  if (isTcxSupported())
    t.deepEqual(fs.readdirSync(scene.bed.nodeFile('/sys/fs/bpf/podpace/links')), []);
  else t.is(run(scene.bed.node, 'tc', 'qdisc', 'show', 'dev', 'uplink', 'clsact'), '');
});
