import test from 'ava';
import fc from 'fast-check';
import { decodeAddress } from '../../../../helper/wire/ip-address.ts';
import { decodeRoute, encodeNewRoute } from '../../../../helper/wire/route-message.ts';
import type { Route } from '../../../../helper/wire/route-message.ts';
import { partial, u32 } from '../../../kit/arbitraries.ts';
import { decodesAnything } from '../../../kit/wire.ts';

const RTMSG_BYTES = 12;

function addressOf(length: number): fc.Arbitrary<string> {
  return fc
    .uint8Array({ minLength: length, maxLength: length })
    .map((bytes) => decodeAddress(Buffer.from(bytes)));
}

const destination = fc.oneof(
  fc.constantFrom('0.0.0.0/0', '::/0'),
  fc.tuple(addressOf(4), fc.integer({ min: 1, max: 32 })).map((parts) => parts.join('/')),
  fc.tuple(addressOf(16), fc.integer({ min: 1, max: 128 })).map((parts) => parts.join('/')),
);

const route: fc.Arbitrary<Route> = fc
  .tuple(
    fc.record({ destination, table: u32, scope: fc.nat(255), type: fc.nat(255) }),
    partial({
      gateway: fc.oneof(addressOf(4), addressOf(16)),
      ifindex: u32,
      priority: u32,
      mtu: u32,
      advmss: u32,
      onlink: fc.constant(true),
      source: fc.oneof(addressOf(4), addressOf(16)),
    }),
  )
  .map(([required, optional]) => ({ ...required, ...optional }));

test('decodeRoute returns what encodeNewRoute wrote', (t) => {
  fc.assert(fc.property(route, (value) => t.deepEqual(decodeRoute(encodeNewRoute(value)), value)));
});

test('decodeRoute takes any bytes', (t) => {
  decodesAnything(t, decodeRoute, RTMSG_BYTES);
});

test('decodeRoute takes no route of another family, and no cached copy of a route', (t) => {
  const payload = encodeNewRoute({ destination: '10.0.0.0/8', table: 254 });
  const bridge = Buffer.from(payload);
  bridge.writeUInt8(7, 0);
  t.is(decodeRoute(bridge), undefined);
  const cached = Buffer.from(payload);
  cached.writeUInt32LE(0x200, 8);
  t.is(decodeRoute(cached), undefined);
});

for (const [name, value, scope] of [
  ['a link', { destination: '10.1.0.0/16', ifindex: 2, table: 254 }, 253],
  ['a gateway', { destination: '0.0.0.0/0', gateway: '10.0.0.1', table: 254 }, 0],
  ['an IPv6 link', { destination: 'fd00::/64', ifindex: 2, table: 254 }, 0],
  ['a local address', { destination: '10.0.0.1/32', ifindex: 2, table: 255, type: 2 }, 254],
] as const) {
  test(`encodeNewRoute to ${name} has scope ${scope}`, (t) => {
    t.is(decodeRoute(encodeNewRoute(value))?.scope, scope);
  });
}

for (const text of [
  '',
  '10.0.0.0',
  '10.0.0.0/',
  '10.0.0.0/33',
  '::/129',
  '10.0.0.0/8/8',
  '10.0.0.0/-1',
  'default',
]) {
  test(`encodeNewRoute refuses the destination "${text}"`, (t) => {
    t.throws(() => encodeNewRoute({ destination: text, table: 254 }), { instanceOf: RangeError });
  });
}
