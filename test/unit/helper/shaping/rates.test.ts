import test from 'ava';
import fc from 'fast-check';
import type { CapChanges } from '../../../../helper/protocol/messages.ts';
import { CAP_RANGES } from '../../../../helper/protocol/ranges.ts';
import {
  aggregateConfigOf,
  aqmTargetNsOf,
  burstNsOf,
  contradictionIn,
  DEFAULT_BURST_NS,
  DEFAULTS,
  effectiveCapOf,
  gsoLimitOf,
  horizonNsOf,
  MAX_BURST_NS,
  UNLIMITED_GSO,
  type NodeDefaults,
} from '../../../../helper/shaping/rates.ts';

const rates = fc.integer({ min: 1000, max: 10 ** 15 });

/** Every configuration that podpaced starts with. */
const directions = fc.constantFrom('egress' as const, 'ingress' as const);
const nodeDefaults = fc
  .tuple(
    fc.integer({ min: 1_000_000, max: 2_000_000_000 }),
    fc.integer({ min: 0, max: 1_999_999_999 }),
    fc.integer({ min: 1_000_000, max: 4_000_000_000 }),
  )
  .map(([horizonNs, aqmTargetNs, aqmIntervalNs]): NodeDefaults => ({
    horizonNs,
    aqmTargetNs,
    aqmIntervalNs,
  }))
  .filter((defaults) => contradictionIn(defaults) === undefined);

function configOf(rateBitsPerSec: number, changes: CapChanges = {}, defaults = DEFAULTS) {
  return aggregateConfigOf(effectiveCapOf({ rateBitsPerSec }, changes, defaults)!);
}

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
      const { rateBytesPerSec } = configOf(rateBitsPerSec);
      t.true(rateBytesPerSec > 0);
      t.true(rateBytesPerSec * 8 <= rateBitsPerSec);
      t.true(rateBytesPerSec * 8 > rateBitsPerSec - 8);
    }),
  );
});

test("the horizon is the node's, stretched at low caps until TCP can keep some frames queued", (t) => {
  t.is(horizonNsOf(10_000_000, DEFAULTS.horizonNs), DEFAULTS.horizonNs);
  t.is(horizonNsOf(1_000_000, DEFAULTS.horizonNs), 193_792_000);
  t.is(horizonNsOf(1000, DEFAULTS.horizonNs), 2_000_000_000);
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

test('gsoLimitOf holds a packet to a train of 8 segments or 5 ms, or to 1 ms of the rate, and always lets one segment through', (t) => {
  const segments = (rateBitsPerSec: number): number => gsoLimitOf(rateBitsPerSec, 1500).gsoMaxSegs;
  t.deepEqual([1e6, 5e6, 10e6, 20e6, 50e6, 100e6, 200e6].map(segments), [1, 2, 4, 8, 8, 8, 16]);
  t.deepEqual(gsoLimitOf(10_000_000_000, 1500), UNLIMITED_GSO);
  fc.assert(
    fc.property(rates, fc.integer({ min: 576, max: 9000 }), (rateBitsPerSec, mtuBytes) => {
      const { gsoMaxSegs, gsoMaxSizeBytes } = gsoLimitOf(rateBitsPerSec, mtuBytes);
      t.true(
        gsoMaxSegs >= 1 &&
          gsoMaxSizeBytes > mtuBytes &&
          gsoMaxSizeBytes <= UNLIMITED_GSO.gsoMaxSizeBytes,
      );
    }),
  );
});

test('the configuration of an ordinary cap is the documented one', (t) => {
  t.deepEqual(configOf(100_000_000), {
    rateBytesPerSec: 12_500_000,
    horizonNs: 50_000_000,
    idleCreditNs: 125_000,
    sparseCreditNs: 875_000,
    targetNs: 5_000_000,
    intervalNs: 100_000_000,
    exemptions: 0,
  });
});

test('of a burst seven eighths are for sparse flows, up to 875 us', (t) => {
  const creditsOf = (burstBits: number): [number, number] => {
    const { idleCreditNs, sparseCreditNs } = configOf(100_000_000, { burstBits });
    return [idleCreditNs, sparseCreditNs];
  };
  t.deepEqual(creditsOf(40_000), [50_000, 350_000]);
  t.deepEqual(creditsOf(100_000), [125_000, 875_000]);
  t.deepEqual(creditsOf(1_000_000), [9_125_000, 875_000]);
  t.deepEqual(creditsOf(80_000_000), [19_125_000, 875_000]);
});

test('target and interval are stretched at low caps, to four frames or two trains and four targets', (t) => {
  t.is(aqmTargetNsOf(50_000_000, DEFAULTS.aqmTargetNs, 50_000_000), 5_000_000);
  t.is(
    aqmTargetNsOf(30_000_000, DEFAULTS.aqmTargetNs, 50_000_000),
    2 * Math.ceil((8 * 1514 * 8 * 1e9) / 30e6),
  );
  t.is(aqmTargetNsOf(10_000_000, DEFAULTS.aqmTargetNs, 50_000_000), 8 * 1_211_200);
  t.like(configOf(1_000_000), { targetNs: 48_448_000, intervalNs: 193_792_000 });
  t.like(configOf(1000), {
    horizonNs: 2_000_000_000,
    targetNs: 500_000_000,
    intervalNs: 2_000_000_000,
  });
});

test('into a pod the target is stretched until a signal is due four times a second', (t) => {
  const targetMs = (rateBitsPerSec: number): number =>
    effectiveCapOf({ rateBitsPerSec }, {}, DEFAULTS, 'ingress')!.aqmTargetNs / 1e6;
  // Frames that a signal costs the window, as time.
  for (const rate of [1_000_000, 20_000_000, 100_000_000]) {
    const frameMs = (1514 * 8 * 1e3) / rate;
    const signalMs = 0.57 * (targetMs(rate) / frameMs) ** 2 * frameMs;
    t.true(signalMs > 249 && signalMs < 251, `${signalMs} ms at ${rate} bit/s`);
  }
  t.is(targetMs(1_000_000_000), 5);
  t.is(aqmTargetNsOf(20_000_000, 0, 50_000_000, 'ingress'), 0);
});

test('out of a pod the burst that nobody set grows with its trains and is 1 ms where there are none', (t) => {
  const burstNs = (rateBitsPerSec: number): number =>
    effectiveCapOf({ rateBitsPerSec }, {}, DEFAULTS)!.burstNs;
  t.deepEqual([1e6, 2e6, 100e6, 10e9].map(burstNs), [1_000_000, 1_000_000, 1_000_000, 1_000_000]);
  t.is(burstNs(10e6), Math.floor((8 * 1_211_200) / 5));
  t.is(burstNs(20e6), Math.floor((16 * 605_600) / 5));
});

test('into a pod the burst that nobody set grows with the target, and most of it is for sparse flows', (t) => {
  const cap = effectiveCapOf({ rateBitsPerSec: 20_000_000 }, {}, DEFAULTS, 'ingress')!;
  t.is(cap.burstNs, Math.floor(cap.aqmTargetNs / 5));
  const { idleCreditNs, sparseCreditNs } = aggregateConfigOf(cap);
  t.is(idleCreditNs + sparseCreditNs, cap.burstNs);
  t.true(sparseCreditNs > 0.87 * cap.burstNs);
  const asked = { rateBitsPerSec: 20_000_000, burstBits: 20_000 };
  t.is(effectiveCapOf(asked, {}, DEFAULTS, 'ingress')?.burstNs, 1_000_000);
  t.is(effectiveCapOf({ rateBitsPerSec: 1000 }, {}, DEFAULTS, 'ingress')?.burstNs, MAX_BURST_NS);
});

test('with nothing changed, no rate and no configuration of the node contradict themselves', (t) => {
  fc.assert(
    fc.property(rates, nodeDefaults, directions, (rateBitsPerSec, defaults, direction) => {
      const cap = effectiveCapOf({ rateBitsPerSec }, {}, defaults, direction)!;
      t.is(contradictionIn(cap), undefined);
      t.deepEqual(cap.changed, []);
      const config = aggregateConfigOf(cap);
      for (const value of Object.values(config)) t.true(Number.isSafeInteger(value) && value >= 0);
      t.is(config.targetNs === 0, defaults.aqmTargetNs === 0);
    }),
  );
});

test('what was changed is taken as it is, and told', (t) => {
  const asked = { rateBitsPerSec: 1_000_000, burstBits: 5000 };
  const changes = { horizonNs: 20_000_000, aqmTargetNs: 0 };
  t.like(effectiveCapOf(asked, changes, DEFAULTS), {
    rateBitsPerSec: 1_000_000,
    burstNs: 5_000_000,
    horizonNs: 20_000_000,
    aqmTargetNs: 0,
    aqmIntervalNs: 100_000_000,
    changed: ['horizonNs', 'aqmTargetNs'],
  });
  t.is(effectiveCapOf(asked, { horizonNs: 20_000_000 }, DEFAULTS)?.aqmTargetNs, 10_000_000);
  t.is(effectiveCapOf(undefined, { rateBitsPerSec: 5000 }, DEFAULTS)?.rateBitsPerSec, 5000);
  t.is(effectiveCapOf(undefined, { horizonNs: 5_000_000 }, DEFAULTS), undefined);
});

test('whatever is changed, it fits the map or is refused', (t) => {
  const field = (name: keyof CapChanges) => {
    const [min, max] = CAP_RANGES[name];
    return fc.option(
      fc.maxSafeInteger().map((value) => Math.min(max, Math.max(min, value))),
      { nil: undefined },
    );
  };
  const changes = fc.record({
    rateBitsPerSec: field('rateBitsPerSec'),
    burstBits: field('burstBits'),
    horizonNs: field('horizonNs'),
    aqmTargetNs: field('aqmTargetNs'),
    aqmIntervalNs: field('aqmIntervalNs'),
  });
  fc.assert(
    fc.property(rates, changes, nodeDefaults, (rateBitsPerSec, wanted, defaults) => {
      const set = Object.fromEntries(
        Object.entries(wanted).filter(([, value]) => value !== undefined),
      );
      const cap = effectiveCapOf({ rateBitsPerSec }, set, defaults)!;
      if (contradictionIn(cap) !== undefined) return;
      const { targetNs, horizonNs, intervalNs, ...rest } = aggregateConfigOf(cap);
      t.true(targetNs < horizonNs && intervalNs >= targetNs && intervalNs <= 0xffff_ffff);
      t.true(rest.rateBytesPerSec > 0 && rest.idleCreditNs + rest.sparseCreditNs <= MAX_BURST_NS);
    }),
  );
});
