import test from 'ava';
import { decodeRouteBrief } from '../../../../helper/wire/route-brief.ts';
import { briefOf } from '../../../kit/route-briefs.ts';
import { decodesAnything } from '../../../kit/wire.ts';

const RTMSG_BYTES = 12;
const MAIN = { table: 254, ifindex: 3 };

test('decodeRouteBrief takes any bytes', (t) => {
  decodesAnything(t, decodeRouteBrief, RTMSG_BYTES);
});

test('a destination is a host, a network or all there is, of either family', (t) => {
  const destinations = [
    '10.0.0.1/32',
    '2001:db8::1/128',
    '10.0.0.0/31',
    '2001:db8::/32',
    '0.0.0.0/0',
    '::/0',
  ];
  t.deepEqual(
    destinations.map((destination) => briefOf({ destination, ...MAIN })?.reach),
    ['host', 'host', 'network', 'network', 'default', 'default'],
  );
});

test('routes have the same key when one can replace the other, and else another one', (t) => {
  const key = (destination: string, table = 254, ifindex = 3): number | undefined =>
    briefOf({ destination, table, ifindex, priority: ifindex })?.key;
  t.is(key('10.0.0.0/24', 254, 3), key('10.0.0.0/24', 254, 4));
  const others = [
    key('10.0.1.0/24'),
    key('10.0.0.0/25'),
    key('10.0.0.0/24', 1000),
    key('::/0'),
    key('0.0.0.0/0'),
  ];
  t.is(new Set([...others, key('10.0.0.0/24')]).size, 6);
});

test('keys of neighbours are spread evenly', (t) => {
  const keys = Array.from({ length: 4096 }, (_, at) =>
    briefOf({ destination: `10.0.${at >>> 4}.${(at & 15) << 4}/28`, ...MAIN }),
  ).map((brief) => brief?.key ?? 0);
  t.is(new Set(keys).size, 4096);
  const counts = Array.from(
    { length: 16 },
    (_, part) => keys.filter((key) => key >>> 28 === part).length,
  );
  for (const count of counts) t.true(count > 170 && count < 350, counts.join(' '));
});

test('a route that leads nowhere has no reach, and one with a nexthop object may change with it', (t) => {
  t.is(briefOf({ destination: '10.0.0.0/8', table: 254, type: 6 })?.reach, undefined);
  t.like(briefOf({ destination: '10.0.0.0/8', ...MAIN }, 7), { devices: [3], isShared: true });
  t.like(briefOf({ destination: '10.0.0.0/8', ...MAIN }), { devices: [3], isShared: false });
});
