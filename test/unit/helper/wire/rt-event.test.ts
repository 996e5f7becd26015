import test from 'ava';
import { formatMessage } from 'netlink/dist/structs.js';
import { WireError } from '../../../../helper/wire/attributes.ts';
import {
  encodeLinkChange,
  RTM_DELLINK,
  RTM_NEWLINK,
} from '../../../../helper/wire/link-message.ts';
import { decodeRtEvents, type RouteEvent } from '../../../../helper/wire/rt-event.ts';
import {
  encodeNewRoute,
  RTM_DELROUTE,
  RTM_NEWROUTE,
  type Route,
} from '../../../../helper/wire/route-message.ts';
import { RTM_DELNEXTHOP, RTM_NEWNEXTHOP } from '../../../../helper/wire/nexthop-message.ts';
import {
  encodeTcRequest,
  RTM_DELQDISC,
  RTM_NEWTFILTER,
} from '../../../../helper/wire/tc-message.ts';
import { briefOf, nexthopPayload, routePayload } from '../../../kit/route-briefs.ts';

/** linux/netlink.h. */
const NLM_F_REPLACE = 0x100;
const NLM_F_EXCL = 0x200;
const NLM_F_CREATE = 0x400;

function message(type: number, data: Buffer, flags = 0): Buffer {
  const bytes = Buffer.concat(formatMessage({ type, flags, seq: 0, port: 0, data }));
  return Buffer.concat([bytes, Buffer.alloc(-bytes.length & 3)]);
}

test('events name the device that they are about', (t) => {
  const datagram = Buffer.concat([
    message(RTM_NEWLINK, encodeLinkChange(7, { name: 'eth7' })),
    message(RTM_DELQDISC, encodeTcRequest({ ifindex: 8, parent: 0xffff_ffff })),
    message(RTM_NEWROUTE, encodeNewRoute({ destination: '10.0.0.0/8', ifindex: 9, table: 254 })),
    message(RTM_DELLINK, encodeLinkChange(10, {})),
    message(RTM_NEWTFILTER, encodeTcRequest({ ifindex: 11, parent: 0xffff_fff3 })),
    message(20, Buffer.alloc(8)),
  ]);
  t.deepEqual(decodeRtEvents(datagram), [
    { kind: 'link', ifindex: 7, isGone: false, isUp: false, hasCarrier: false },
    { kind: 'qdisc', ifindex: 8 },
    {
      kind: 'route',
      change: 'added',
      route: briefOf({ destination: '10.0.0.0/8', ifindex: 9, table: 254 }),
    },
    { kind: 'link', ifindex: 10, isGone: true, isUp: false, hasCarrier: false },
    { kind: 'filter', ifindex: 11 },
  ]);
});

test('an event of a nexthop object says which it is, and where it leads', (t) => {
  const nexthop = { id: 7, ifindex: 3, members: [] };
  const datagram = Buffer.concat([
    message(RTM_NEWNEXTHOP, nexthopPayload(nexthop)),
    message(RTM_DELNEXTHOP, nexthopPayload(nexthop)),
  ]);
  t.deepEqual(decodeRtEvents(datagram), [
    { kind: 'nexthop', change: 'set', nexthop },
    { kind: 'nexthop', change: 'deleted', nexthop },
  ]);
});

test('bytes that are no events are refused, never misread', (t) => {
  t.throws(() => decodeRtEvents(Buffer.alloc(5, 1)), { instanceOf: WireError });
  t.throws(() => decodeRtEvents(message(RTM_NEWLINK, Buffer.alloc(2))), { instanceOf: WireError });
});

test('a route with several next hops concerns all their devices, a cached copy of one none', (t) => {
  const multipath = routePayload({
    destination: '0.0.0.0/0',
    table: 254,
    nextHopIndexes: [11, 12],
  });
  const cached = Buffer.from(multipath);
  cached.writeUInt32LE(0x200, 8);
  const events = decodeRtEvents(
    Buffer.concat([message(RTM_NEWROUTE, multipath), message(RTM_NEWROUTE, cached)]),
  );
  t.like(events, { length: 1, 0: { kind: 'route', change: 'added' } });
  t.like((events[0] as RouteEvent).route, { reach: 'default', devices: [11, 12], isShared: true });
});

test('a route event says whether it came, went or took the place of another', (t) => {
  const payload = routePayload({ destination: '2001:db8::1/128', ifindex: 9, table: 254 });
  const events = decodeRtEvents(
    Buffer.concat([
      message(RTM_NEWROUTE, payload, NLM_F_CREATE | NLM_F_EXCL),
      message(RTM_NEWROUTE, payload, NLM_F_REPLACE),
      message(RTM_DELROUTE, payload),
    ]),
  ) as RouteEvent[];
  t.deepEqual(
    events.map(({ change, route }) => [change, route.reach, route.devices]),
    [
      ['added', 'host', [9]],
      ['replaced', 'host', [9]],
      ['deleted', 'host', [9]],
    ],
  );
});

test('what makes no device an exit is no event', (t) => {
  const routes: Route[] = [
    { destination: '192.0.2.1/32', ifindex: 9, table: 255, type: 2 },
    { destination: 'fe80::/64', ifindex: 9, table: 254 },
  ];
  for (const route of routes)
    t.deepEqual(decodeRtEvents(message(RTM_NEWROUTE, routePayload(route))), []);
});
