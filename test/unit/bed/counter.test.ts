import test from 'ava';
import fc from 'fast-check';
import { decodeCount } from '../../bed/counter.ts';

test('a count is decoded as the program writes it', (t) => {
  fc.assert(
    fc.property(
      fc.tuple(fc.nat(255), fc.nat(255), fc.nat(255), fc.nat(255)),
      fc.nat(),
      fc.maxSafeNat(),
      (ip, interval, bytes) => {
        const key = Buffer.alloc(8);
        key.set(ip);
        key.writeUInt32LE(interval, 4);
        const value = Buffer.alloc(8);
        value.writeBigUInt64LE(BigInt(bytes));
        t.deepEqual(decodeCount(key, value), { source: ip.join('.'), interval, bytes });
      },
    ),
  );
});
