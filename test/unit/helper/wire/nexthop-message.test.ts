import test from 'ava';
import { decodeNexthop } from '../../../../helper/wire/nexthop-message.ts';
import { nexthopPayload } from '../../../kit/route-briefs.ts';
import { decodesAnything, hex } from '../../../kit/wire.ts';

const NHMSG_BYTES = 8;

test('decodeNexthop takes any bytes', (t) => {
  decodesAnything(t, decodeNexthop, NHMSG_BYTES);
});

// As Linux 6.18 sent them. `ip nexthop add id 7 via 192.0.2.2 dev one`
const SINGLE = '02fd0000 00000000 0800010007000000 0800050003000000 08000600c0000202';
// `ip nexthop add id 8 blackhole`
const BLACKHOLE = '02000000 00000000 0800010008000000 04000400';
// `ip nexthop add id 9 group 7/5,7`: 7, and 5 with a weight of 7.
const GROUP =
  '00000000 00000000 0800010009000000 0600030000000000 14000200 0700000000000000 0500000006000000 08000e0000000080';
// `ip nexthop add id 10 group 5/7 type resilient buckets 8`
const RESILIENT =
  '00000000 00000000 080001000a000000 0600030001000000 14000200 0500000000000000 0700000000000000 ' +
  '28000c80 0600010008000000 08000200e02e0000 0800030000000000 0c00040000000000 00000000 08000e0000000080';

test('an object leads to its device, to those of its members, or nowhere', (t) => {
  t.deepEqual(decodeNexthop(hex(SINGLE)), { id: 7, ifindex: 3, members: [] });
  t.deepEqual(decodeNexthop(hex(BLACKHOLE)), { id: 8, members: [] });
  t.deepEqual(decodeNexthop(hex(GROUP)), { id: 9, members: [7, 5] });
  t.deepEqual(decodeNexthop(hex(RESILIENT)), { id: 10, members: [5, 7] });
});

test('a member that a group names twice is one', (t) => {
  t.deepEqual(decodeNexthop(nexthopPayload({ id: 9, members: [5, 5] })).members, [5]);
});
