// The compiled, shipped programs against the oracle. The kernel's clock is not ours: the oracle is asked for the
// moments before and after the run, and the program's answer must lie between. Where time does not matter (most
// cases put clock or tstamp well ahead of now) both answers are one.

import test from 'ava';
import fc from 'fast-check';
import { AGGREGATE_ID_MAX, AGGREGATE_ID_MIN, type AggregateConfig } from '../../helper/wire/aggregate.ts';
import { TestDatapath, TC_ACT_SHOT, TC_ACT_UNSPEC } from '../kit/datapath.ts';
import { durations, rates } from '../model/arbitraries.ts';
import { chargeUnits, HORIZON_MAX_NS, schedule, type Outcome } from '../model/departure.ts';

const ID = AGGREGATE_ID_MIN + 1234;
const NS_PER_SEC = 1_000_000_000n;
const UNITS_PER_NS = 1n << 16n;
const IDLE = { lastNs: 0n, prepaid: 0n };
const CONFIG: AggregateConfig = { rateBytesPerSec: 12_500_000, horizonNs: 50_000_000, burstNs: 1_000_000 };

let datapath: TestDatapath;

test.before(() => {
  datapath = new TestDatapath();
  datapath.aimAt('podpace_depart');
});

test.after.always(() => {
  datapath?.close();
});

test.beforeEach(() => {
  for (const id of [AGGREGATE_ID_MIN, ID, AGGREGATE_ID_MAX]) {
    datapath.configure(id, CONFIG);
    datapath.setClock(id, IDLE);
  }
});

function monotonicNs(): bigint {
  return process.hrtime.bigint();
}

/** Times relative to now, where the answer does not hang on the microsecond, and where it does. */
const offsets = fc.oneof(
  fc.bigInt({ min: NS_PER_SEC, max: 4n * NS_PER_SEC }),
  fc.bigInt({ min: -4n * NS_PER_SEC, max: 4n * NS_PER_SEC }),
  fc.bigInt({ min: 5n * NS_PER_SEC, max: 1n << 60n }),
  fc.constant(undefined),
);

const situations = fc.record({
  config: fc.record({
    rateBytesPerSec: rates.map(Number),
    horizonNs: durations.map(Number),
    burstNs: durations.map(Number),
  }),
  clockAheadNs: offsets,
  prepaid: fc.bigInt({ min: 0n, max: 0xffffn }),
  tstampAheadNs: fc.oneof(fc.constant(undefined), offsets),
  wireLen: fc.oneof(fc.integer({ min: 60, max: 1514 }), fc.integer({ min: 60, max: 65_536 })),
});

function isBetween(value: bigint, a: bigint, b: bigint): boolean {
  return (a <= value && value <= b) || (b <= value && value <= a);
}

/** Whether the kernel, asked between two moments, could have answered so. */
function agrees(actual: Outcome, before: Outcome, after: Outcome): boolean {
  const isDrop = actual.departureNs === undefined;
  const answers = [before, after].filter(({ departureNs }) => (departureNs === undefined) === isDrop);
  const [first, last = first] = answers;
  if (first === undefined || last === undefined) return false;
  const unitsOf = ({ clock }: Outcome): bigint => clock.lastNs * UNITS_PER_NS - clock.prepaid;
  return (
    isBetween(unitsOf(actual), unitsOf(first), unitsOf(last)) &&
    (isDrop || isBetween(actual.departureNs, first.departureNs ?? 0n, last.departureNs ?? 0n))
  );
}

test.serial('podpace_depart equals the oracle', (t) => {
  const seen = { dropped: 0, held: 0, atOnce: 0 };
  fc.assert(
    fc.property(situations, ({ config, clockAheadNs, prepaid, tstampAheadNs, wireLen }) => {
      const startNs = monotonicNs();
      const clock = { lastNs: clockAheadNs === undefined ? 0n : startNs + clockAheadNs, prepaid };
      const tstampNs = tstampAheadNs === undefined ? 0n : startNs + tstampAheadNs;
      datapath.configure(ID, config);
      datapath.setClock(ID, clock);

      const beforeNs = monotonicNs();
      const { verdict, tstampNs: stamped } = datapath.send({ queueMapping: ID, tstampNs, wireLen });
      const afterNs = monotonicNs();

      const inBigInt = {
        rateBytesPerSec: BigInt(config.rateBytesPerSec),
        horizonNs: BigInt(config.horizonNs),
        burstNs: BigInt(config.burstNs),
      };
      const oracle = (nowNs: bigint): Outcome =>
        schedule(inBigInt, clock, { nowNs, tstampNs, wireLen: BigInt(wireLen) });
      // The stamp is the departure time when the program wrote it, or found there what it would have written.
      const isAskedFor = tstampNs > beforeNs && tstampNs - beforeNs <= HORIZON_MAX_NS;
      const isHeld = isAskedFor || stamped !== tstampNs;
      const departureNs = verdict === TC_ACT_SHOT ? undefined : isHeld ? stamped : beforeNs;
      seen[departureNs === undefined ? 'dropped' : isHeld ? 'held' : 'atOnce']++;
      const word = datapath.clock(ID);
      const actual = { departureNs, clock: { lastNs: word.lastNs, prepaid: word.prepaid & 0xffffn } };
      return (
        (verdict === TC_ACT_SHOT || verdict === TC_ACT_UNSPEC) &&
        agrees(actual, oracle(beforeNs), oracle(afterNs))
      );
    }),
    { numRuns: 1000 },
  );
  t.log(seen);
  t.true(seen.dropped > 50 && seen.held > 50 && seen.atOnce > 50);
});

test.serial('packets in a row are charged to the nanosecond', (t) => {
  const repeat = 100_000;
  for (const rateBytesPerSec of [1_250_000_000, 125_000_000_000, 125_000_000_000_000]) {
    datapath.configure(ID, { rateBytesPerSec, horizonNs: 0xffff_ffff, burstNs: 0 });
    const lastNs = monotonicNs() + 3n * NS_PER_SEC;
    datapath.setClock(ID, { lastNs, prepaid: 0n });
    datapath.send({ queueMapping: ID, wireLen: 1514 }, repeat);
    const after = datapath.clock(ID);
    const units = BigInt(repeat) * chargeUnits(BigInt(rateBytesPerSec), 1514n);
    t.is(after.lastNs * UNITS_PER_NS - (after.prepaid & 0xffffn), lastNs * UNITS_PER_NS + units);
  }
});

test.serial('a packet beyond the horizon is dropped and not charged', (t) => {
  const clock = { lastNs: monotonicNs() + NS_PER_SEC, prepaid: 77n };
  datapath.setClock(ID, clock);
  t.is(datapath.send({ queueMapping: ID, wireLen: 1514 }, 1000).verdict, TC_ACT_SHOT);
  t.deepEqual(datapath.clock(ID), clock);
});

test.serial('an aggregate that was idle since boot passes a packet at once and keeps the burst', (t) => {
  const beforeNs = monotonicNs();
  const outcome = datapath.send({ queueMapping: ID, wireLen: 1250 });
  const afterNs = monotonicNs();
  t.deepEqual(outcome, { verdict: TC_ACT_UNSPEC, tstampNs: 0n });
  const chargedFromNs = datapath.clock(ID).lastNs - 100_000n + BigInt(CONFIG.burstNs);
  t.true(chargedFromNs >= beforeNs && chargedFromNs <= afterNs);
});

test.serial(
  'a 64 KB packet at 10 Mbit/s passes an idle aggregate, though it takes longer than the horizon',
  (t) => {
    datapath.configure(ID, { rateBytesPerSec: 1_250_000, horizonNs: 50_000_000, burstNs: 0 });
    const big = { queueMapping: ID, wireLen: 65_536 };
    t.is(datapath.send(big).verdict, TC_ACT_UNSPEC);
    t.is(datapath.send(big).verdict, TC_ACT_SHOT);
  },
);

test.serial('a damaged clock holds the pod up no longer than the horizon', (t) => {
  for (const lastNs of [(1n << 64n) - 1n, monotonicNs() + 86_400n * NS_PER_SEC]) {
    datapath.setClock(ID, { lastNs, prepaid: (1n << 64n) - 1n });
    const { verdict, tstampNs } = datapath.send({ queueMapping: ID, wireLen: 1514 });
    t.is(verdict, TC_ACT_UNSPEC);
    t.true(tstampNs < monotonicNs() + BigInt(CONFIG.horizonNs));
    t.true(datapath.clock(ID).lastNs < monotonicNs() + BigInt(CONFIG.horizonNs) + 1_000_000n);
  }
});

test.serial('an absurd config neither stops the kernel nor the packet', (t) => {
  datapath.writeConfig(ID, Buffer.alloc(16, 0xff));
  t.is(datapath.send({ queueMapping: ID, wireLen: 65_536 }, 1000).verdict, TC_ACT_UNSPEC);
  datapath.writeConfig(ID, Buffer.alloc(16));
  t.is(datapath.send({ queueMapping: ID, wireLen: 65_536 }, 1000).verdict, TC_ACT_UNSPEC);
});

test.serial('the id is taken from the packet: the device hashes again', (t) => {
  for (const id of [AGGREGATE_ID_MIN, ID, AGGREGATE_ID_MAX])
    t.is(datapath.queueMappingAfter({ queueMapping: id }), 0);
});

test.serial('every id of the range has a clock of its own', (t) => {
  const ids = [AGGREGATE_ID_MIN, ID, AGGREGATE_ID_MAX];
  for (const [index, id] of ids.entries()) {
    datapath.send({ queueMapping: id });
    t.deepEqual(
      ids.map((other) => datapath.clock(other).lastNs > 0n),
      ids.map((_, other) => other <= index),
    );
  }
});

test.serial('a packet that no classifier marked is left as it is', (t) => {
  for (const queueMapping of [0, 1, AGGREGATE_ID_MIN - 1, AGGREGATE_ID_MAX + 1]) {
    t.is(datapath.queueMappingAfter({ queueMapping }), queueMapping);
    t.deepEqual(datapath.send({ queueMapping, tstampNs: 5n }), { verdict: TC_ACT_UNSPEC, tstampNs: 5n });
  }
  t.is(datapath.clock(AGGREGATE_ID_MIN).lastNs, 0n);
  t.is(datapath.clock(AGGREGATE_ID_MAX).lastNs, 0n);
});
