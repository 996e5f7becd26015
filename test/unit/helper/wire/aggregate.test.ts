import test from 'ava';
import fc from 'fast-check';
import {
  AGGREGATE_COUNTERS,
  AGGREGATE_ID_MAX,
  AGGREGATE_ID_MIN,
  AGGREGATE_ID_NONE,
  decodeAggregateClock,
  AGGREGATE_CONFIG,
  HOST_INTERFACE,
  INTERFACE_KEY,
  DURATION_MAX_NS,
  AGGREGATE_KEY,
  RATE_MAX_BYTES_PER_SEC,
  sumAggregateCounters,
  sumCounterWords,
  FRAME_OVERHEAD,
  isSameFrameOverhead,
  EXEMPT_NODE,
  EXEMPT_OWN,
} from '../../../../helper/wire/aggregate.ts';
import { partial } from '../../../kit/arbitraries.ts';

const durations = fc.integer({ min: 0, max: DURATION_MAX_NS });
const ids = fc.oneof(
  fc.constant(AGGREGATE_ID_NONE),
  fc.integer({ min: AGGREGATE_ID_MIN, max: AGGREGATE_ID_MAX }),
);
const u64 = fc.bigInt({ min: 0n, max: (1n << 64n) - 1n });

test('an aggregate config comes back as it was', (t) => {
  const configs = fc.record({
    rateBytesPerSec: fc.integer({ min: 0, max: RATE_MAX_BYTES_PER_SEC }),
    horizonNs: durations,
    idleCreditNs: durations,
    sparseCreditNs: durations,
    targetNs: durations,
    intervalNs: durations,
    exemptions: fc.nat(3),
  });
  fc.assert(
    fc.property(configs, (config) => {
      t.deepEqual(AGGREGATE_CONFIG.decode(AGGREGATE_CONFIG.encode(config)), config);
    }),
  );
});

test('an aggregate config is the struct of bpf/departure.h', (t) => {
  const value = AGGREGATE_CONFIG.encode({
    rateBytesPerSec: 0x0102030405,
    horizonNs: 0x06070809,
    idleCreditNs: 0x0a0b0c0d,
    sparseCreditNs: 0x0e0f1011,
    targetNs: 0x12131415,
    intervalNs: 0x16171819,
    exemptions: EXEMPT_OWN | EXEMPT_NODE,
  });
  t.is(value.toString('hex'), '0504030201000000090807060d0c0b0a11100f0e151413121918171603000000');
});

test('the clock of an aggregate is the first word of its state, whatever follows', (t) => {
  fc.assert(
    fc.property(u64, fc.uint8Array({ maxLength: 64 }), (lastNs, rest) => {
      const value = Buffer.concat([Buffer.alloc(8), rest]);
      value.writeBigUInt64LE(lastNs, 0);
      t.deepEqual(decodeAggregateClock(value), { lastNs });
    }),
  );
  t.throws(() => decodeAggregateClock(Buffer.alloc(7)), {
    instanceOf: RangeError,
    message: /7 bytes/,
  });
});

test('counters are the words of struct aggregate_counters, and add up over the CPUs', (t) => {
  const value = Buffer.alloc(AGGREGATE_COUNTERS.size);
  for (let at = 0; at < value.length; at += 8) value.writeBigUInt64LE(1n << BigInt(at / 8), at);
  const one = AGGREGATE_COUNTERS.decode(value);
  const { sojourn, ...counters } = one;
  // Their names are those of the struct's members: shared-structs.test.ts.
  const words = Object.keys(counters).map((_, at) => 1n << BigInt(at < 10 ? at : at + 16));
  t.deepEqual(Object.values(counters), words);
  t.is(sojourn.length, 16);
  t.is(sojourn[0], 1n << 10n);
  t.is(sojourn[15], 1n << 25n);
  const three = sumAggregateCounters([one, one, one]);
  t.is(three.droppedFlow, 384n);
  t.is(three.sojourn[15], 3n << 25n);
  t.is(sumAggregateCounters([]).packets, 0n);
  t.throws(() => AGGREGATE_COUNTERS.decode(Buffer.alloc(200)), {
    message: new RegExp(`200 bytes, expected ${AGGREGATE_COUNTERS.size}$`),
  });
});

test('sums of words are those of the counters', (t) => {
  // Of two CPUs, below 2^50 each, so that a number holds the sum of six.
  const words = fc.array(fc.bigInt({ min: 0n, max: (1n << 50n) - 1n }), {
    ...{ minLength: AGGREGATE_COUNTERS.size / 4, maxLength: AGGREGATE_COUNTERS.size / 4 },
  });
  fc.assert(
    fc.property(words, (all) => {
      const values = Buffer.alloc(2 * AGGREGATE_COUNTERS.size);
      for (const [at, word] of all.entries()) values.writeBigUInt64LE(word, at * 8);
      const each = [0, 1].map((cpu) =>
        AGGREGATE_COUNTERS.decode(
          values.subarray(cpu * AGGREGATE_COUNTERS.size, (cpu + 1) * AGGREGATE_COUNTERS.size),
        ),
      );
      const { bytes, throttledNs, sojourn, ...counters } = sumAggregateCounters(each);
      const { droppedHorizon, droppedAqm, droppedFlow, ceMarked } = counters;
      t.deepEqual(sumCounterWords(values, 2), {
        ...{ bytes: Number(bytes), throttledNs: Number(throttledNs) },
        droppedPackets: Number(droppedHorizon + droppedAqm + droppedFlow),
        ceMarkedPackets: Number(ceMarked),
        sojourn: sojourn.map(Number),
      });
    }),
  );
});

test('a host interface comes back as it was', (t) => {
  fc.assert(
    fc.property(fc.record({ egressId: ids, ingressId: ids }), (hostInterface) => {
      t.deepEqual(HOST_INTERFACE.decode(HOST_INTERFACE.encode(hostInterface)), hostInterface);
    }),
  );
});

test('a frame overhead comes back as it was', (t) => {
  const number = fc.integer({ min: 0, max: 0xffff_ffff });
  const short = fc.integer({ min: 1, max: 0xffff });
  const more = partial<{ innerBytes: number; told: number }>({
    innerBytes: short,
    told: fc.integer({ min: 1, max: 7 }),
  });
  fc.assert(
    fc.property(
      fc.record({ frameBytes: number, align: short, mtu: number }),
      more,
      (base, rest) => {
        const overhead = { ...base, ...rest };
        const found = FRAME_OVERHEAD.decode(FRAME_OVERHEAD.encode(overhead));
        t.deepEqual(found, overhead);
        t.true(isSameFrameOverhead(found, overhead));
        t.false(
          isSameFrameOverhead(found, { ...overhead, innerBytes: (rest.innerBytes ?? 0) ^ 1 }),
        );
      },
    ),
  );
  t.throws(() => FRAME_OVERHEAD.encode({ frameBytes: 0, align: 0x1_0000, mtu: 0 }), {
    message: /align/,
  });
  t.throws(() => FRAME_OVERHEAD.encode({ frameBytes: -1, align: 0, mtu: 0 }), {
    message: /frameBytes -1/,
  });
});

test('keys count aggregates from zero and carry the ifindex as it is', (t) => {
  t.is(AGGREGATE_KEY.encode(AGGREGATE_ID_MIN).readUInt32LE(), 0);
  t.is(AGGREGATE_KEY.encode(AGGREGATE_ID_MAX).readUInt32LE(), 16_383);
  t.is(INTERFACE_KEY.decode(INTERFACE_KEY.encode(7)), 7);
});

test('what the datapath cannot hold is refused by name', (t) => {
  const credit = { idleCreditNs: 0, sparseCreditNs: 0 };
  const config = {
    rateBytesPerSec: 125,
    horizonNs: 0,
    ...credit,
    targetNs: 0,
    intervalNs: 0,
    exemptions: 0,
  };
  for (const bad of [-1, 0.5, NaN, RATE_MAX_BYTES_PER_SEC + 1]) {
    t.throws(() => AGGREGATE_CONFIG.encode({ ...config, rateBytesPerSec: bad }), {
      instanceOf: RangeError,
      message: /^Cannot encode rateBytesPerSec /,
    });
  }
  t.throws(() => AGGREGATE_CONFIG.encode({ ...config, horizonNs: DURATION_MAX_NS + 1 }), {
    message: /horizonNs/,
  });
  t.throws(() => AGGREGATE_CONFIG.encode({ ...config, intervalNs: -1 }), {
    message: /intervalNs -1/,
  });
  t.throws(() => AGGREGATE_KEY.encode(AGGREGATE_ID_MIN - 1), { message: /aggregate id 4095/ });
  t.throws(() => HOST_INTERFACE.encode({ egressId: 1, ingressId: 0 }), { message: /egressId 1/ });
  t.throws(() => INTERFACE_KEY.encode(0), { message: /ifindex 0/ });
  t.throws(() => AGGREGATE_CONFIG.decode(Buffer.alloc(16)), { message: /16 bytes, expected 32/ });
});
