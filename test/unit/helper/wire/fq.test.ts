import test from 'ava';
import fc from 'fast-check';
import { WireError, encodeAttributes } from '../../../../helper/wire/attributes.ts';
import { decodeFqOptions, encodeFqOptions, isTunedFq } from '../../../../helper/wire/fq.ts';
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
  fc.assert(
    fc.property(options, (value) => t.deepEqual(decodeFqOptions(encodeFqOptions(value)), value)),
  );
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
    t.throws(() => encodeFqOptions({ buckets }), {
      instanceOf: RangeError,
      message: /power of two/,
    });
  });
}

test('decodeFqOptions refuses a number of buckets that no kernel has', (t) => {
  const bytes = encodeAttributes((attributes) => attributes.u32(8, 4_000_000));
  t.throws(() => decodeFqOptions(bytes), { instanceOf: WireError });
});

const [QUANTUM, INITIAL_QUANTUM, PRIOMAP, WEIGHTS, OFFLOAD_HORIZON, UNKNOWN] = [
  3, 4, 16, 17, 18, 40,
];

/** 32-bit numbers in a row. */
function numbers(...values: readonly number[]): Buffer {
  return Buffer.from(Uint32Array.from(values).buffer);
}

/**
 * Attributes of an fq that was told nothing, on a device with an MTU of 1500 (fq_init and fq_dump
 * of net/sched/sch_fq.c, Linux 7.3).
 */
const UNTOUCHED = new Map([
  [1, numbers(10_000)],
  [2, numbers(100)],
  [QUANTUM, numbers(2 * 1514)],
  [INITIAL_QUANTUM, numbers(10 * 1514)],
  [5, numbers(1)],
  [7, numbers(0xffff_ffff)],
  [8, numbers(10)],
  [9, numbers(40_000)],
  [10, numbers(1023)],
  [11, numbers(68_750)],
  [12, numbers(0xffff_ffff)],
  [13, numbers(10_000)],
  [14, numbers(10_000_000)],
  [15, hex('01')],
  [PRIOMAP, hex('03000000 01020202 01020000 01010101 01010101')],
  [WEIGHTS, numbers(589_824, 196_608, 65_536)],
  [OFFLOAD_HORIZON, numbers(0)],
]);

function encoded(values: Iterable<readonly [number, Buffer]>): Buffer {
  return encodeAttributes((attributes) => {
    for (const [type, value] of values) attributes.bytes(type, value);
  });
}

test('an fq that was told nothing is not tuned, whatever MTU its device had then', (t) => {
  const onMtu = (mtu: number): Buffer =>
    encoded([...UNTOUCHED, [QUANTUM, numbers(2 * mtu)], [INITIAL_QUANTUM, numbers(10 * mtu)]]);
  const mtus = fc.integer({ min: 68, max: 65_550 });
  fc.assert(fc.property(mtus, mtus, (one, other) => t.false(isTunedFq(onMtu(one), onMtu(other)))));
});

test('an fq is tuned by any attribute with another value, missing, or not known', (t) => {
  const usual = encoded(UNTOUCHED);
  const others = fc.constantFrom(...UNTOUCHED).chain(([type, value]) =>
    fc
      .uint8Array({ minLength: value.length, maxLength: value.length })
      .filter((other) => !value.equals(other))
      .map((other) => [type, Buffer.from(other)] as const),
  );
  fc.assert(
    fc.property(others, (other) => t.true(isTunedFq(encoded([...UNTOUCHED, other]), usual))),
  );
  for (const type of UNTOUCHED.keys()) {
    const without = encoded([...UNTOUCHED].filter(([own]) => own !== type));
    t.true(isTunedFq(without, usual), `without ${type}`);
  }
  t.true(isTunedFq(encoded([...UNTOUCHED, [UNKNOWN, numbers(1)]]), usual));
});

test('isTunedFq takes any bytes', (t) => {
  decodesAnything(t, (bytes) => isTunedFq(bytes, encoded(UNTOUCHED)), 0);
});
