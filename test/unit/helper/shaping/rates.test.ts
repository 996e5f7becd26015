import test from 'ava';
import fc from 'fast-check';
import {
  aggregateConfigOf,
  burstNsOf,
  DEFAULT_BURST_NS,
  DEFAULT_HORIZON_NS,
  formatRate,
  gsoLimitOf,
  horizonNsOf,
  MAX_BURST_NS,
  UNLIMITED_GSO,
} from '../../../../helper/shaping/rates.ts';

const rates = fc.integer({ min: 1000, max: 10 ** 15 });

test('burstNsOf takes the bursts that runtimes send when none was set as none', (t) => {
  for (const burstBits of [4294967295, 34359738359, 2147483647, 0]) {
    t.is(burstNsOf({ rateBitsPerSec: 10_000_000, burstBits }), DEFAULT_BURST_NS);
  }
  t.is(burstNsOf({ rateBitsPerSec: 10_000_000 }), DEFAULT_BURST_NS);
});

test('burstNsOf honours a set burst up to its ceiling', (t) => {
  t.is(burstNsOf({ rateBitsPerSec: 10_000_000, burstBits: 50_000 }), 5_000_000);
  t.is(burstNsOf({ rateBitsPerSec: 10_000_000, burstBits: 8_000_000 }), MAX_BURST_NS);
});

test('a burst never exceeds the ceiling, whatever the cap', (t) => {
  fc.assert(
    fc.property(rates, fc.nat(Number.MAX_SAFE_INTEGER), (rateBitsPerSec, burstBits) => {
      const burstNs = burstNsOf({ rateBitsPerSec, burstBits });
      t.true(burstNs >= 0 && burstNs <= MAX_BURST_NS);
    }),
  );
});

test('bytes per second never exceed the cap in bits', (t) => {
  fc.assert(
    fc.property(rates, (rateBitsPerSec) => {
      const { rateBytesPerSec } = aggregateConfigOf({ rateBitsPerSec }, DEFAULT_HORIZON_NS);
      t.true(rateBytesPerSec > 0);
      t.true(rateBytesPerSec * 8 <= rateBitsPerSec);
      t.true(rateBytesPerSec * 8 > rateBitsPerSec - 8);
    }),
  );
});

test("the horizon is the node's, stretched at low caps until TCP can keep some frames queued", (t) => {
  t.is(horizonNsOf(10_000_000, DEFAULT_HORIZON_NS), DEFAULT_HORIZON_NS);
  t.is(horizonNsOf(1_000_000, DEFAULT_HORIZON_NS), 193_792_000);
  t.is(horizonNsOf(1000, DEFAULT_HORIZON_NS), 2_000_000_000);
  fc.assert(
    fc.property(
      rates,
      fc.integer({ min: 1_000_000, max: 2_000_000_000 }),
      (rateBitsPerSec, nodeHorizonNs) => {
        const horizonNs = horizonNsOf(rateBitsPerSec, nodeHorizonNs);
        t.true(horizonNs >= nodeHorizonNs && horizonNs <= 2_000_000_000);
      },
    ),
  );
});

test('gsoLimitOf holds a packet to about 1 ms of the rate and always lets one segment through', (t) => {
  t.is(gsoLimitOf(10_000_000, 1500).gsoMaxSegs, 1);
  t.is(gsoLimitOf(100_000_000, 1500).gsoMaxSegs, 8);
  t.deepEqual(gsoLimitOf(10_000_000_000, 1500), UNLIMITED_GSO);
  fc.assert(
    fc.property(rates, fc.integer({ min: 576, max: 9000 }), (rateBitsPerSec, mtuBytes) => {
      const { gsoMaxSegs, gsoMaxSizeBytes } = gsoLimitOf(rateBitsPerSec, mtuBytes);
      t.true(
        gsoMaxSegs >= 1 && gsoMaxSizeBytes > mtuBytes && gsoMaxSizeBytes <= UNLIMITED_GSO.gsoMaxSizeBytes,
      );
    }),
  );
});

test('formatRate takes the largest unit', (t) => {
  t.is(formatRate(1000), '1 kbit/s');
  t.is(formatRate(10_000_000), '10 Mbit/s');
  t.is(formatRate(1_234_567), '1.235 Mbit/s');
  t.is(formatRate(10 ** 15), '1 Pbit/s');
});
