import test from 'ava';
import { DeviceWatch } from '../../../../helper/control/device-watch.ts';
import { inNetns } from '../../../../helper/kernel/netns.ts';
import { TC_H_ROOT, type Qdisc } from '../../../../helper/kernel/qdiscs.ts';
import type { RtSocket } from '../../../../helper/kernel/rtnetlink.ts';
import { RtEvents } from '../../../../helper/kernel/rt-events.ts';
import { KernelError } from '../../../../helper/wire/errors.ts';
import { makeNetns, type TestNetns } from '../../../kit/netns.ts';

/** What devices and their qdiscs go through, with what iproute2 is asked for. */
const CHANGES = [
  'ip link add one type veth peer name two',
  'ip link set one up',
  'ip link set two up',
  'tc qdisc replace dev one root handle 7070: pfifo',
  'tc qdisc change dev one root handle 7070: pfifo limit 77',
  'ip link set one down',
  'ip link set one up',
  'tc qdisc add dev two clsact',
  'tc qdisc del dev one root',
  'ip link set one down',
  'ip link set one name uno',
  'ip link set uno up',
  'ip link set uno mtu 1400 txqueuelen 5',
  'ip link add name three numtxqueues 4 type veth peer name four',
  'ip link set three up',
  'ip link set four up',
  'tc qdisc replace dev three root handle 7070: mq',
  'tc qdisc replace dev three parent 7070:2 pfifo',
  'ip link add br0 type bridge',
  'ip link set uno master br0',
  'ip link set br0 up',
  'tc qdisc del dev three root',
  'tc qdisc del dev two clsact',
  'ip link set uno nomaster',
  'ip link del two',
  'ip link add two type veth peer name one',
];

/** Qdiscs that somebody has made, whole, and of the kernel's own the kind of the root. */
function told(qdiscs: ReadonlyMap<number, readonly Qdisc[]>): unknown {
  return [...qdiscs.values()]
    .flat()
    .filter(({ handle, parent }) => handle !== 0 || parent === TC_H_ROOT)
    .map((qdisc) => (qdisc.handle === 0 ? { ...qdisc, options: Buffer.alloc(0) } : qdisc))
    .toSorted((a, b) => a.ifindex - b.ifindex || a.parent - b.parent);
}

function followed(t: Parameters<typeof makeNetns>[0], { netns, rt }: TestNetns): DeviceWatch {
  const watch = new DeviceWatch(rt);
  const events = inNetns(netns, () => new RtEvents((event) => watch.hear(event)));
  t.teardown(() => events.close());
  watch.follow(() => events.settle());
  return watch;
}

test.serial(
  'what is known of devices and their qdiscs is what they are right after each change',
  async (t) => {
    const netns = makeNetns(t);
    const watch = followed(t, netns);
    await watch.listQdiscs();
    for (const change of CHANGES) {
      const [program, ...args] = change.split(' ');
      (program === 'tc' ? netns.tc : netns.ip)(...args);
      const known = await watch.links();
      const fresh = new DeviceWatch(netns.rt);
      const links = await fresh.listLinks();
      const byIndex = (list: typeof links) => list.toSorted((a, b) => a.index - b.index);
      t.deepEqual(byIndex(known), byIndex(links), change);
      t.deepEqual(told(await watch.qdiscs(known)), told(await fresh.listQdiscs()), change);
    }
  },
);

/** What is there from the beginning: besides lo, devices of the tunnels whose modules are loaded. */
function namesOf(netns: TestNetns): string[] {
  return netns.ipJson('link', 'show').map(({ ifname }) => String(ifname));
}

test.serial('all are listed anew after events were lost, and until any are followed', async (t) => {
  const netns = makeNetns(t);
  const before = namesOf(netns).length;
  const watch = new DeviceWatch(netns.rt);
  t.is((await watch.links()).length, before);
  netns.ip('link', 'add', 'one', 'type', 'veth', 'peer', 'name', 'two');
  t.is((await watch.links()).length, before + 2);
  watch.follow(() => Promise.resolve());
  netns.ip('link', 'del', 'one');
  watch.hear({ kind: 'lost' });
  t.is((await watch.links()).length, before);
});

/** A socket of a node where so much happens that no list is whole; single devices are told. */
function restless(rt: RtSocket): RtSocket {
  const never = () =>
    Promise.reject(new KernelError('list links', 'EAGAIN', 'the list changed 6 times while read'));
  return { get: rt.get.bind(rt), dump: never, scan: never } as unknown as RtSocket;
}

test.serial('where no list of the kernel is whole, what was told of makes it so', async (t) => {
  const netns = makeNetns(t);
  const before = namesOf(netns);
  let rt = netns.rt;
  const socket: Pick<RtSocket, 'get' | 'dump' | 'scan'> = {
    get: (...args) => rt.get(...args),
    dump: (...args) => rt.dump(...args),
    scan: (...args) => rt.scan(...args),
  };
  const watch = followed(t, { ...netns, rt: socket as RtSocket });
  const names = async () => (await watch.listLinks()).map(({ name }) => name).toSorted();
  const many = Array.from({ length: 40 }, (_, index) => `link add name p${index} type bridge`);
  netns.ipBatch(...many);
  t.is((await names()).length, before.length + 40);

  rt = restless(netns.rt);
  netns.ipBatch(...many.map((line) => line.replace(/ add name (\S+) .*/, ' delete $1')));
  netns.ip('link', 'add', 'name', 'late', 'type', 'bridge');
  t.deepEqual(await names(), ['late', ...before].toSorted());
  netns.ip('link', 'delete', 'late');
  t.deepEqual(await names(), before.toSorted());

  // What was not told of nobody knows.
  watch.hear({ kind: 'lost' });
  await t.throwsAsync(names(), { message: /changed 6 times/ });
  await t.throwsAsync(names(), { message: /changed 6 times/ });
  rt = netns.rt;
  t.deepEqual(await names(), before.toSorted());
});
