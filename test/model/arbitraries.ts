// Generators for the departure step: rates, packets and clocks over their whole ranges, dense where
// it matters.

import fc from 'fast-check';
import {
  CREDIT_MAX_NS,
  HORIZON_MIN_NS,
  INTERVAL_MIN_NS,
  RATE_MAX_BYTES_PER_SEC,
  type Clock,
  type Config,
  type Packet,
} from './departure.ts';

const U32_MAX = 0xffff_ffffn;
const U64_MAX = 0xffff_ffff_ffff_ffffn;

/** Slowest rate that is supported: 1 kbit/s. */
const RATE_MIN_BYTES_PER_SEC = 125n;

/** Any magnitude is as likely as any other. */
function logarithmic(min: bigint, max: bigint): fc.Arbitrary<bigint> {
  const bits = (value: bigint): number => value.toString(2).length;
  return fc
    .integer({ min: bits(min), max: bits(max) })
    .chain((length) =>
      fc.bigInt({ min: 1n << BigInt(length - 1), max: (1n << BigInt(length)) - 1n }),
    )
    .map((value) => (value < min ? min : value > max ? max : value));
}

/** Rates from 1 kbit/s to 1 Pbit/s, those that people set among them. */
export const rates: fc.Arbitrary<bigint> = fc.oneof(
  logarithmic(RATE_MIN_BYTES_PER_SEC, RATE_MAX_BYTES_PER_SEC),
  fc.constantFrom(
    125n,
    125_000n,
    1_250_000n,
    12_500_000n,
    125_000_000n,
    1_250_000_000n,
    125_000_000_000n,
  ),
);

/** Durations that fit 32 bits of nanoseconds. */
export const durations: fc.Arbitrary<bigint> = fc.oneof(
  logarithmic(1n, U32_MAX),
  fc.constantFrom(0n, 1_000_000n, 50_000_000n, U32_MAX),
);

/**
 * Settings over their whole range; those that the step holds to narrower ones are in the narrow
 * range.
 */
export const configs: fc.Arbitrary<Config> = fc.record({
  rateBytesPerSec: rates,
  horizonNs: durations.map((ns) => (ns < HORIZON_MIN_NS ? HORIZON_MIN_NS + ns : ns)),
  idleCreditNs: durations.map((ns) => ns % (CREDIT_MAX_NS + 1n)),
  sparseCreditNs: durations.map((ns) => ns % (CREDIT_MAX_NS + 1n)),
  targetNs: fc.oneof(durations, fc.constantFrom(0n, 5_000_000n)),
  intervalNs: durations.map((ns) => (ns < INTERVAL_MIN_NS ? INTERVAL_MIN_NS + ns : ns)),
});

/** Settings as the helper makes them for common caps. */
export const usualConfigs: fc.Arbitrary<Config> = fc.record({
  rateBytesPerSec: logarithmic(125_000n, 1_250_000_000n),
  horizonNs: fc.constantFrom(20_000_000n, 50_000_000n, 200_000_000n),
  idleCreditNs: fc.constantFrom(0n, 125_000n, 5_000_000n),
  sparseCreditNs: fc.constantFrom(0n, 875_000n, 3_000_000n),
  targetNs: fc.constantFrom(0n, 1_000_000n, 5_000_000n),
  intervalNs: fc.constantFrom(10_000_000n, 100_000_000n),
});

/** Wire lengths that links carry, BIG TCP included. */
export const wireLengths: fc.Arbitrary<bigint> = fc.oneof(
  fc.bigInt({ min: 60n, max: 1514n }),
  fc.constantFrom(60n, 64n, 1514n, 9014n, 65_536n, 524_288n),
  fc.bigInt({ min: 60n, max: 1n << 20n }),
);

/** How long after the one before a packet comes: mostly soon, now and then after months. */
const gaps: fc.Arbitrary<bigint> = fc.oneof(
  { weight: 4, arbitrary: fc.constant(0n) },
  { weight: 6, arbitrary: logarithmic(1n, 1n << 24n) },
  { weight: 1, arbitrary: logarithmic(1n << 24n, 1n << 30n) },
);

const gapsWithMonths: fc.Arbitrary<bigint> = fc.oneof(
  { weight: 30, arbitrary: gaps },
  { weight: 1, arbitrary: logarithmic(1n << 30n, 1n << 54n) },
);

/**
 * What may stand in skb->tstamp: nothing, a time shortly after now, or the time of another clock.
 */
function tstampsAfter(nowNs: bigint): fc.Arbitrary<bigint> {
  return fc.oneof(
    { weight: 12, arbitrary: fc.constant(0n) },
    { weight: 2, arbitrary: logarithmic(1n, 1n << 27n).map((ahead) => nowNs + ahead) },
    { weight: 1, arbitrary: logarithmic(1n, 1n << 34n).map((ahead) => nowNs + ahead) },
    { weight: 1, arbitrary: fc.constantFrom(nowNs, nowNs + U32_MAX, nowNs + U32_MAX + 1n) },
    { weight: 1, arbitrary: fc.bigInt({ min: 0n, max: U64_MAX }) },
  );
}

/**
 * Flows: a few that come again and again, many, and some that all fall into one set of the flow
 * table.
 */
const flowHashes: fc.Arbitrary<number> = fc.oneof(
  { weight: 3, arbitrary: fc.integer({ min: 1, max: 4 }) },
  { weight: 2, arbitrary: fc.integer({ min: 0, max: 30 }).map((flow) => flow * 32) },
  { weight: 1, arbitrary: fc.integer({ min: 0, max: 0xffff_ffff }) },
);

function packetsAt(nowNs: bigint, lengths: fc.Arbitrary<bigint>): fc.Arbitrary<Packet> {
  return fc.record({
    nowNs: fc.constant(nowNs),
    tstampNs: tstampsAfter(nowNs),
    wireLen: lengths,
    flowHash: flowHashes,
    isEcnCapable: fc.boolean(),
    segments: fc.oneof(
      fc.constant(0n),
      fc.bigInt({ min: 1n, max: 4n }),
      fc.bigInt({ min: 0n, max: 65_535n }),
    ),
    isMerged: fc.boolean(),
    policeNs: fc.oneof(fc.constant(0n), logarithmic(1n, (1n << 32n) - 1n)),
  });
}

function sequencesOf(
  lengths: fc.Arbitrary<bigint>,
  gapsBetween: fc.Arbitrary<bigint>,
): fc.Arbitrary<readonly Packet[]> {
  return fc
    .tuple(
      logarithmic(1n, 1n << 60n),
      fc.array(gapsBetween, { minLength: 1, maxLength: 120, size: 'max' }),
    )
    .chain(([firstNs, sequence]) => {
      let nowNs = firstNs;
      const times = sequence.map((gap) => (nowNs += gap));
      return fc.tuple(...times.map((time) => packetsAt(time, lengths)));
    });
}

/** Packets of one aggregate, in the order of time. */
export const packetSequences: fc.Arbitrary<readonly Packet[]> = sequencesOf(
  wireLengths,
  gapsWithMonths,
);

/** Packets as they come on an Ethernet link, close enough to make a queue. */
export const usualSequences: fc.Arbitrary<readonly Packet[]> = sequencesOf(
  fc.oneof(fc.bigInt({ min: 60n, max: 300n }), fc.constant(1514n), fc.constant(7500n)),
  fc.oneof({ weight: 9, arbitrary: logarithmic(1n, 1n << 21n) }, { weight: 1, arbitrary: gaps }),
);

/** What can happen to an aggregate between two packets. */
export type Event =
  | { readonly kind: 'packet'; readonly packet: Packet }
  | { readonly kind: 'config'; readonly config: Config }
  /** The clock is written by hand; `isTwofold`: so that it cannot be noticed. */
  | { readonly kind: 'damage'; readonly clock: Clock; readonly isTwofold: boolean };

function clocksAround(nowNs: bigint): fc.Arbitrary<bigint> {
  return fc.oneof(
    logarithmic(1n, 1n << 34n).map((ahead) => nowNs + ahead),
    logarithmic(1n, 1n << 34n).map((behind) => (behind < nowNs ? nowNs - behind : 0n)),
    logarithmic(1n, 1n << 62n).map((ahead) => nowNs + ahead),
    fc.bigInt({ min: 0n, max: 1n << 63n }),
    fc.constantFrom(0n, nowNs, 1n << 63n),
  );
}

/** Settings with anything in them. */
const anyConfigs: fc.Arbitrary<Config> = fc.record({
  rateBytesPerSec: fc.oneof(
    { weight: 8, arbitrary: rates },
    { weight: 1, arbitrary: fc.bigInt({ min: 1n, max: 125n }) },
    { weight: 1, arbitrary: fc.constantFrom(0n, RATE_MAX_BYTES_PER_SEC + 1n, U64_MAX) },
  ),
  horizonNs: durations,
  idleCreditNs: durations,
  sparseCreditNs: durations,
  targetNs: durations,
  intervalNs: durations,
});

function eventsAround(packet: Packet): fc.Arbitrary<Event> {
  const damage = fc.record({
    kind: fc.constant('damage' as const),
    clock: fc.record({
      lastNs: clocksAround(packet.nowNs),
      prepaid: fc.bigInt({ min: 0n, max: 0xffffn }),
    }),
    isTwofold: fc.boolean(),
  });
  const config = fc
    .oneof(anyConfigs, usualConfigs)
    .map((value) => ({ kind: 'config' as const, config: value }));
  return fc.oneof(
    { weight: 30, arbitrary: fc.constant({ kind: 'packet' as const, packet }) },
    { weight: 1, arbitrary: config },
    { weight: 1, arbitrary: damage },
  );
}

/** A life of an aggregate, with everything in it that the kernel, the helper or a hand can do. */
export const histories: fc.Arbitrary<readonly Event[]> = fc
  .tuple(fc.oneof(configs, usualConfigs), fc.oneof(packetSequences, usualSequences))
  .chain(([config, packets]) =>
    fc.tuple(fc.constant({ kind: 'config' as const, config }), ...packets.map(eventsAround)),
  );
