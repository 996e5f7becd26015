import { setTimeout as sleep } from 'node:timers/promises';
import test from 'ava';
import { inNetns } from '../../../../helper/kernel/netns.ts';
import { RtEvents } from '../../../../helper/kernel/rt-events.ts';
import { RouteWatch } from '../../../../helper/shaping/route-watch.ts';
import { makeNetns } from '../../../kit/netns.ts';

/** Each changes how far routes lead, or seems to: what the kernel tells of it differs. */
const CHANGES = [
  'route add 198.51.100.0/24 dev one',
  'route add 203.0.113.1/32 dev two',
  'route replace 198.51.100.0/24 dev two',
  'route add default nexthop dev one nexthop dev two',
  'route replace default dev three',
  'route append default dev one',
  'route del default dev three',
  '-6 route add default via 2001:db8:1::9 dev one',
  '-6 route append default via 2001:db8:2::9 dev two',
  '-6 route del default via 2001:db8:1::9 dev one',
  '-6 route replace default nexthop via 2001:db8:1::9 dev one nexthop via 2001:db8:3::9 dev three',
  '-6 route del default',
  'nexthop add id 7 dev two',
  'route add default nhid 7 table 77',
  'nexthop replace id 7 dev three',
  'nexthop del id 7',
  'route replace blackhole 198.51.100.0/24',
  'route add 10.0.0.0/8 nexthop dev one nexthop dev two',
  'link set one down',
  'link set one up',
  'link del two',
  'route add 10.0.0.0/8 dev one table 5',
  'link set one down',
];

test('what is known of routes is what they are after each change that the kernel tells of', async (t) => {
  const netns = makeNetns(t);
  const { ip, rt } = netns;
  for (const [at, name] of ['one', 'two', 'three'].entries()) {
    ip('link', 'add', name, 'type', 'veth', 'peer', 'name', `${name}-far`);
    for (const each of [name, `${name}-far`]) ip('link', 'set', each, 'up');
    ip('address', 'add', `192.0.${at + 1}.1/24`, 'dev', name);
    ip('address', 'add', `2001:db8:${at + 1}::1/64`, 'dev', name, 'nodad');
  }
  const watch = RouteWatch.of(rt);
  watch.follow(() => undefined);
  const events = inNetns(netns.netns, () => new RtEvents((event) => watch.hear(event)));
  t.teardown(() => events.close());
  await watch.read();
  for (const change of CHANGES) {
    ip(...change.split(' '));
    await sleep(20);
    const [known, truth] = [await watch.read(), await RouteWatch.of(rt).read()];
    t.deepEqual(Object.fromEntries(known), Object.fromEntries(truth), change);
  }
});
