import test from 'ava';
import fc from 'fast-check';
import { WireError, encodeAttributes } from '../../../../helper/wire/attributes.ts';
import { decodeFqOptions, encodeFqOptions } from '../../../../helper/wire/fq.ts';
import type { FqOptions } from '../../../../helper/wire/fq.ts';
import { partial, u32 } from '../../../kit/arbitraries.ts';
import { decodesAnything, hex } from '../../../kit/wire.ts';

const options: fc.Arbitrary<FqOptions> = partial<Required<FqOptions>>({
  limitPackets: u32,
  flowLimitPackets: u32,
  buckets: fc.integer({ min: 1, max: 18 }).map((log) => 2 ** log),
  orphanMask: u32,
  horizonUs: u32,
  horizonDrop: fc.boolean(),
  quantumBytes: u32,
  initialQuantumBytes: u32,
  pacing: fc.boolean(),
  flowMaxRateBytesPerSec: u32,
  flowRefillDelayUs: u32,
  lowRateThresholdBytesPerSec: u32,
  ceThresholdUs: u32,
  timerSlackNs: u32,
});

test('decodeFqOptions returns what encodeFqOptions wrote', (t) => {
  fc.assert(fc.property(options, (value) => t.deepEqual(decodeFqOptions(encodeFqOptions(value)), value)));
});

test('decodeFqOptions takes any bytes', (t) => {
  decodesAnything(t, decodeFqOptions, 0);
});

test('encodeFqOptions writes the attributes of pkt_sched.h', (t) => {
  const bytes = encodeFqOptions({
    limitPackets: 10_000,
    buckets: 1024,
    horizonUs: 50_000,
    horizonDrop: false,
  });
  t.deepEqual(bytes, hex('0800010010270000 08000e0050c30000 080008000a000000 05000f0000'));
});

test('decodeFqOptions passes over attributes of later kernels', (t) => {
  const bytes = encodeAttributes((attributes) => {
    attributes.u32(1, 5);
    attributes.bytes(16, Buffer.alloc(20));
    attributes.u8(18, 1);
  });
  t.deepEqual(decodeFqOptions(bytes), { limitPackets: 5 });
});

for (const buckets of [0, 1, 3, 1023, 524_288, -2, 2.5, Number.NaN]) {
  test(`encodeFqOptions refuses ${buckets} buckets`, (t) => {
    t.throws(() => encodeFqOptions({ buckets }), { instanceOf: RangeError, message: /power of two/ });
  });
}

test('decodeFqOptions refuses a number of buckets that no kernel has', (t) => {
  const bytes = encodeAttributes((attributes) => attributes.u32(8, 4_000_000));
  t.throws(() => decodeFqOptions(bytes), { instanceOf: WireError });
});
