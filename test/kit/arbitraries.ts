// Generators for property tests.

import fc from 'fast-check';

/** An unsigned number of 32 bits. */
export const u32 = fc.nat(0xffff_ffff);

/** Any bytes, up to more than a netlink message usually holds. */
export const anyBytes = fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes));

/** A hardware address in canonical text form. */
export const mac = fc
  .uint8Array({ minLength: 6, maxLength: 6 })
  .map((bytes) => Array.from(bytes, (octet) => octet.toString(16).padStart(2, '0')).join(':'));

/**
 * Bytes that begin as a message does: a header of `headerBytes`, then attributes, of which some are
 * damaged.
 */
export function nearlyMessages(headerBytes: number): fc.Arbitrary<Buffer> {
  const attribute = fc
    .record({
      type: fc.nat(64),
      value: fc.uint8Array({ maxLength: 24 }),
      lengthError: fc.option(fc.integer({ min: -4, max: 40 }), { nil: 0, freq: 8 }),
    })
    .map(({ type, value, lengthError }) => {
      const bytes = Buffer.alloc(4 + ((value.length + 3) & ~3));
      bytes.writeUInt16LE(Math.max(0, 4 + value.length + lengthError), 0);
      bytes.writeUInt16LE(type, 2);
      bytes.set(value, 4);
      return bytes;
    });
  const header = fc.uint8Array({ minLength: headerBytes, maxLength: headerBytes });
  return fc
    .tuple(header, fc.array(attribute, { maxLength: 12 }))
    .map((parts) => Buffer.concat(parts.flat()));
}

/** A record of which every field may be absent: absent, not undefined. */
export function partial<T extends object>(fields: {
  [K in keyof T]: fc.Arbitrary<T[K]>;
}): fc.Arbitrary<Partial<T>> {
  return fc.record(fields, { requiredKeys: [], noNullPrototype: true }) as fc.Arbitrary<Partial<T>>;
}
