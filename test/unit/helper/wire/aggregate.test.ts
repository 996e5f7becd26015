import test from 'ava';
import fc from 'fast-check';
import {
  AGGREGATE_ID_MAX,
  AGGREGATE_ID_MIN,
  AGGREGATE_ID_NONE,
  decodeAggregateClock,
  decodeAggregateConfig,
  decodeHostInterface,
  decodeInterfaceKey,
  DURATION_MAX_NS,
  encodeAggregateClock,
  encodeAggregateConfig,
  encodeAggregateKey,
  encodeHostInterface,
  encodeInterfaceKey,
  RATE_MAX_BYTES_PER_SEC,
} from '../../../../helper/wire/aggregate.ts';

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
    burstNs: durations,
  });
  fc.assert(
    fc.property(configs, (config) => {
      t.deepEqual(decodeAggregateConfig(encodeAggregateConfig(config)), config);
    }),
  );
});

test('an aggregate config is the struct of bpf/departure.h', (t) => {
  const value = encodeAggregateConfig({
    rateBytesPerSec: 0x0102030405,
    horizonNs: 0x06070809,
    burstNs: 0x0a0b0c0d,
  });
  t.is(value.toString('hex'), '0504030201000000090807060d0c0b0a');
});

test('an aggregate clock and a host interface come back as they were', (t) => {
  fc.assert(
    fc.property(fc.record({ lastNs: u64, prepaid: u64 }), (clock) => {
      t.deepEqual(decodeAggregateClock(encodeAggregateClock(clock)), clock);
    }),
  );
  fc.assert(
    fc.property(fc.record({ egressId: ids, ingressId: ids }), (hostInterface) => {
      t.deepEqual(decodeHostInterface(encodeHostInterface(hostInterface)), hostInterface);
    }),
  );
});

test('keys count aggregates from zero and carry the ifindex as it is', (t) => {
  t.is(encodeAggregateKey(AGGREGATE_ID_MIN).readUInt32LE(), 0);
  t.is(encodeAggregateKey(AGGREGATE_ID_MAX).readUInt32LE(), 16_383);
  t.is(decodeInterfaceKey(encodeInterfaceKey(7)), 7);
});

test('what the datapath cannot hold is refused by name', (t) => {
  const config = { rateBytesPerSec: 125, horizonNs: 0, burstNs: 0 };
  for (const bad of [-1, 0.5, NaN, RATE_MAX_BYTES_PER_SEC + 1]) {
    t.throws(() => encodeAggregateConfig({ ...config, rateBytesPerSec: bad }), {
      instanceOf: RangeError,
      message: /^Cannot encode rateBytesPerSec /,
    });
  }
  t.throws(() => encodeAggregateConfig({ ...config, horizonNs: DURATION_MAX_NS + 1 }), {
    message: /horizonNs/,
  });
  t.throws(() => encodeAggregateKey(AGGREGATE_ID_MIN - 1), { message: /aggregate id 4095/ });
  t.throws(() => encodeHostInterface({ egressId: 1, ingressId: 0 }), { message: /egressId 1/ });
  t.throws(() => encodeInterfaceKey(0), { message: /ifindex 0/ });
  t.throws(() => decodeAggregateConfig(Buffer.alloc(15)), { message: /15 bytes, expected 16/ });
});
