import { setTimeout as sleep } from 'node:timers/promises';
import test from 'ava';
import { inNetns } from '../../../../helper/kernel/netns.ts';
import { RtEvents } from '../../../../helper/kernel/rt-events.ts';
import { writeSysctl } from '../../../../helper/kernel/sysctl.ts';
import { RouteWatch } from '../../../../helper/control/route-watch.ts';
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
  'nexthop add id 8 dev one',
  'nexthop add id 9 group 7/8',
  'route add 198.51.100.0/25 nhid 9 table 78',
  'nexthop replace id 9 group 8',
  'nexthop replace id 8 dev two',
  'nexthop add id 10 group 7/8 type resilient buckets 8',
  '-6 nexthop add id 11 dev one',
  '-6 route add 2001:db8:77::/48 nhid 11',
  'route add 198.51.100.128/25 nhid 10',
  'nexthop del id 7',
  'nexthop add id 12 dev three',
  'route add 192.0.2.128/25 nhid 12',
  'link set three-far down',
  'link set three-far up',
  'route replace blackhole 198.51.100.0/24',
  'route add 10.0.0.0/8 nexthop dev one nexthop dev two',
  'route add 203.0.113.9/32 dev three table local',
  'link set one down',
  'link set one up',
  'link del two',
  'route add 10.0.0.0/8 dev one table 5',
  'link set one down',
];

for (const compatMode of ['1', '0'])
  test.serial(
    `what is known of routes is what they are after each change (nexthop_compat_mode ${compatMode})`,
    async (t) => {
      const netns = makeNetns(t);
      inNetns(netns.netns, () => writeSysctl('net/ipv4/nexthop_compat_mode', compatMode));
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
    },
  );
