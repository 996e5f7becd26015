import test from 'ava';
import fc from 'fast-check';
import { WireError } from '../../../../helper/wire/attributes.ts';
import {
  decodeInterfaceAddress,
  encodeInterfaceAddress,
} from '../../../../helper/wire/address-message.ts';
import { decodeAddress } from '../../../../helper/wire/ip-address.ts';
import { u32 } from '../../../kit/arbitraries.ts';
import { decodesAnything, hex } from '../../../kit/wire.ts';

const address = fc
  .constantFrom(4, 16)
  .chain((length) => fc.uint8Array({ minLength: length, maxLength: length }))
  .map((bytes) => decodeAddress(Buffer.from(bytes)));

test('decodeInterfaceAddress returns what encodeInterfaceAddress wrote', (t) => {
  fc.assert(
    fc.property(fc.record({ ifindex: u32, address, prefixLength: fc.nat(255) }), (value) => {
      t.deepEqual(
        decodeInterfaceAddress(encodeInterfaceAddress({ ...value, noDad: true, scope: 253 })),
        value,
      );
    }),
  );
});

test('decodeInterfaceAddress takes any bytes', (t) => {
  decodesAnything(t, decodeInterfaceAddress, 8);
});

test('decodeInterfaceAddress prefers our own address to the far end of a point-to-point link', (t) => {
  const payload = hex('0220000005000000 080001000a000002 080002000a000001');
  t.deepEqual(decodeInterfaceAddress(payload), {
    ifindex: 5,
    address: '10.0.0.1',
    prefixLength: 32,
  });
});

test('decodeInterfaceAddress refuses a message without an address', (t) => {
  t.throws(() => decodeInterfaceAddress(Buffer.alloc(8)), { instanceOf: WireError });
});

test('encodeInterfaceAddress refuses text that is no address', (t) => {
  const value = { ifindex: 1, address: '10.0.0', prefixLength: 8 };
  t.throws(() => encodeInterfaceAddress(value), { instanceOf: RangeError, message: /"10\.0\.0"/ });
});
