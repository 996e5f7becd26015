import test from 'ava';
import fc from 'fast-check';
import { Attributes, encodePayload } from '../../../../helper/wire/attributes.ts';
import {
  decodeFarCounter,
  decodeLink,
  encodeFarQuery,
  encodeLinkChange,
  encodePair,
} from '../../../../helper/wire/link-message.ts';
import { text } from '../../../kit/any-text.ts';
import { mac, partial, u32 } from '../../../kit/arbitraries.ts';
import { decodesAnything } from '../../../kit/wire.ts';

const IFINFOMSG_BYTES = 16;

test('decodeLink returns what encodeLinkChange wrote', (t) => {
  const change = fc.record({
    index: fc.nat(0x7fff_ffff),
    up: fc.boolean(),
    attributes: partial({
      name: text,
      mtu: u32,
      mac,
      alias: text,
      gsoMaxSizeBytes: u32,
      gsoMaxSegs: u32,
      numTxQueues: u32,
      numRxQueues: u32,
    }),
  });
  fc.assert(
    fc.property(change, ({ index, up, attributes }) => {
      const link = decodeLink(encodeLinkChange(index, { ...attributes, up }));
      t.like(link, { index, up, ...attributes });
    }),
  );
});

test('decodeLink takes any bytes', (t) => {
  decodesAnything(t, decodeLink, IFINFOMSG_BYTES);
});

test('decodeFarCounter finds what a device has received, and what it is tied to', (t) => {
  const counters = Buffer.alloc(24 * 8);
  counters.writeBigUInt64LE(7n, 0);
  counters.writeBigUInt64LE(12_345_678_901n, 16);
  const payload = encodePayload(Buffer.alloc(IFINFOMSG_BYTES), (attributes) => {
    attributes.u32(5, 42);
    attributes.bytes(23, counters);
  });
  t.deepEqual(decodeFarCounter(payload), { linkIndex: 42, receivedBytes: 12_345_678_901 });
  decodesAnything(t, decodeFarCounter, IFINFOMSG_BYTES);
  t.throws(() => decodeFarCounter(Buffer.alloc(IFINFOMSG_BYTES)), {
    message: /counters of a link/,
  });
});

test('encodeFarQuery asks another namespace, and leaves no counters out', (t) => {
  const query = encodeFarQuery({ index: 3, netnsId: 0 });
  const attributes = Attributes.decode(query.subarray(IFINFOMSG_BYTES));
  t.is(attributes.u32(46), 0);
  t.is(attributes.u32(29), undefined);
  t.is(query.readInt32LE(4), 3);
});

test('decodeLink names the XDP program of a device, whichever mode it runs in', (t) => {
  const withXdp = (types: readonly number[]): Buffer =>
    encodePayload(Buffer.alloc(IFINFOMSG_BYTES), (attributes) =>
      attributes.nested(43, (xdp) => {
        xdp.u8(2, types.length);
        for (const type of types) xdp.u32(type, 70 + type);
      }),
    );
  t.is(decodeLink(withXdp([])).xdpProgramId, undefined);
  t.is(decodeLink(withXdp([4, 6])).xdpProgramId, 74);
  t.is(decodeLink(withXdp([5, 6])).xdpProgramId, 75);
});

test('encodeLinkChange leaves the flags alone when it is not told', (t) => {
  t.is(encodeLinkChange(5, {}).readUInt32LE(12), 0);
  t.is(encodeLinkChange(5, { up: false }).readUInt32LE(12), 1);
  t.is(encodeLinkChange(5, { up: false }).readUInt32LE(8), 0);
});

test('encodePair nests the whole description of the other end', (t) => {
  const payload = encodePair(
    'veth',
    { name: 'host', mtu: 1400 },
    { name: 'eth0', mtu: 1300, netnsFd: 9 },
  );
  const info = Attributes.decode(payload.subarray(IFINFOMSG_BYTES)).nested(18);
  t.is(info?.string(1), 'veth');
  const peer = info?.nested(2)?.bytes(1) ?? Buffer.alloc(0);
  t.like(decodeLink(peer), { name: 'eth0', mtu: 1300 });
  t.is(Attributes.decode(peer.subarray(IFINFOMSG_BYTES)).u32(28), 9);
  t.like(decodeLink(payload), { name: 'host', mtu: 1400, kind: 'veth' });
});
