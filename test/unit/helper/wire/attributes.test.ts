import test from 'ava';
import fc from 'fast-check';
import {
  Attributes,
  WireError,
  encodeAttributes,
  encodePayload,
} from '../../../../helper/wire/attributes.ts';
import { text } from '../../../kit/any-text.ts';
import { u32 } from '../../../kit/arbitraries.ts';
import { decodesAnything, hex } from '../../../kit/wire.ts';

test('Attributes.decode returns what AttributeWriter wrote', (t) => {
  const values = fc.record({
    byte: fc.nat(255),
    number: u32,
    words: text,
    raw: fc.uint8Array({ maxLength: 50 }),
  });
  fc.assert(
    fc.property(values, ({ byte, number, words, raw }) => {
      const bytes = encodeAttributes((attributes) => {
        attributes.bytes(1, raw);
        attributes.nested(2, (inner) => {
          inner.string(1, words);
          inner.u8(2, byte);
        });
        attributes.u32(3, number);
        attributes.u32(4, undefined);
      });
      const attributes = Attributes.decode(bytes);
      t.deepEqual(attributes.bytes(1), Buffer.from(raw));
      t.is(attributes.nested(2)?.string(1), Buffer.from(words).toString());
      t.is(attributes.nested(2)?.u8(2), byte);
      t.is(attributes.u32(3), number);
      t.is(attributes.s32(3), number | 0);
      t.is(attributes.u32(4), undefined);
    }),
  );
});

test('attributes start at multiples of four after their header', (t) => {
  const payload = encodePayload(Buffer.from('01020304', 'hex'), (attributes) => {
    attributes.u8(7, 0xaa);
    attributes.string(8, 'eth0');
  });
  t.deepEqual(payload, hex('01020304 05000700aa000000 09000800 6574683000'));
});

test('Attributes.decode takes any bytes', (t) => {
  decodesAnything(t, (bytes) => Attributes.decode(bytes).nested(1)?.string(2), 0);
});

test('Attributes refuses a number of another width', (t) => {
  const attributes = Attributes.decode(encodeAttributes((writer) => writer.u8(3, 1)));
  t.throws(() => attributes.u32(3), {
    instanceOf: WireError,
    message: /attribute 3: 1 bytes came, 4/,
  });
});

test('Attributes.string takes text with and without its NUL', (t) => {
  const bytes = encodeAttributes((attributes) => {
    attributes.bytes(1, Buffer.from('veth'));
    attributes.bytes(2, Buffer.from('veth\0\0'));
  });
  t.is(Attributes.decode(bytes).string(1), 'veth');
  t.is(Attributes.decode(bytes).string(2), 'veth');
});

test('AttributeWriter.string refuses a NUL, at which the kernel would cut', (t) => {
  t.throws(() => encodeAttributes((attributes) => attributes.string(1, 'eth0\0x')), {
    instanceOf: RangeError,
  });
});
