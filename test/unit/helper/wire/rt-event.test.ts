import test from 'ava';
import { formatMessage } from 'netlink/dist/structs.js';
import { WireError, encodePayload } from '../../../../helper/wire/attributes.ts';
import { encodeLinkChange, RTM_DELLINK, RTM_NEWLINK } from '../../../../helper/wire/link-message.ts';
import { decodeRtEvents } from '../../../../helper/wire/rt-event.ts';
import { encodeNewRoute, RTM_NEWROUTE } from '../../../../helper/wire/route-message.ts';
import { encodeTcRequest, RTM_DELQDISC } from '../../../../helper/wire/tc-message.ts';

function message(type: number, data: Buffer): Buffer {
  const bytes = Buffer.concat(formatMessage({ type, flags: 0, seq: 0, port: 0, data }));
  return Buffer.concat([bytes, Buffer.alloc(-bytes.length & 3)]);
}

test('events name the device that they are about', (t) => {
  const datagram = Buffer.concat([
    message(RTM_NEWLINK, encodeLinkChange(7, { name: 'eth7' })),
    message(RTM_DELQDISC, encodeTcRequest({ ifindex: 8, parent: 0xffff_ffff })),
    message(RTM_NEWROUTE, encodeNewRoute({ destination: '10.0.0.0/8', ifindex: 9, table: 254 })),
    message(RTM_DELLINK, encodeLinkChange(10, {})),
    message(20, Buffer.alloc(8)),
  ]);
  t.deepEqual(decodeRtEvents(datagram), [
    { kind: 'link', ifindex: 7 },
    { kind: 'qdisc', ifindex: 8 },
    { kind: 'route', ifindex: 9 },
    { kind: 'link', ifindex: 10 },
  ]);
});

test('bytes that are no events are refused, never misread', (t) => {
  t.throws(() => decodeRtEvents(Buffer.alloc(5, 1)), { instanceOf: WireError });
  t.throws(() => decodeRtEvents(message(RTM_NEWLINK, Buffer.alloc(2))), { instanceOf: WireError });
});

test('a route with several next hops concerns all their devices, a cached copy of one none', (t) => {
  const hops = Buffer.alloc(16);
  for (const [at, ifindex] of [11, 12].entries()) {
    hops.writeUInt16LE(8, at * 8);
    hops.writeInt32LE(ifindex, at * 8 + 4);
  }
  const header = encodeNewRoute({ destination: '0.0.0.0/0', table: 254 }).subarray(0, 12);
  const multipath = encodePayload(header, (attributes) => attributes.bytes(9, hops));
  const cached = Buffer.from(multipath);
  cached.writeUInt32LE(0x200, 8);
  t.deepEqual(
    decodeRtEvents(Buffer.concat([message(RTM_NEWROUTE, multipath), message(RTM_NEWROUTE, cached)])),
    [
      { kind: 'route', ifindex: 11 },
      { kind: 'route', ifindex: 12 },
    ],
  );
});
