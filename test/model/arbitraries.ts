// Generators for the departure step: rates, packets and clocks over their whole ranges, dense where it matters.

import fc from 'fast-check';
import { RATE_MAX_BYTES_PER_SEC, type Clock, type Config, type Packet } from './departure.ts';

const U32_MAX = 0xffff_ffffn;
const U64_MAX = 0xffff_ffff_ffff_ffffn;

/** Slowest rate that is supported: 1 kbit/s. */
const RATE_MIN_BYTES_PER_SEC = 125n;

/** 2^61 ns are 73 years: longer than any machine stays up. */
const NOW_MAX_NS = 1n << 61n;

/** Any magnitude is as likely as any other. */
function logarithmic(min: bigint, max: bigint): fc.Arbitrary<bigint> {
  const bits = (value: bigint): number => value.toString(2).length;
  return fc
    .integer({ min: bits(min), max: bits(max) })
    .chain((length) => fc.bigInt({ min: 1n << BigInt(length - 1), max: (1n << BigInt(length)) - 1n }))
    .map((value) => (value < min ? min : value > max ? max : value));
}

/** Rates from 1 kbit/s to 1 Pbit/s, those that people set among them. */
export const rates: fc.Arbitrary<bigint> = fc.oneof(
  logarithmic(RATE_MIN_BYTES_PER_SEC, RATE_MAX_BYTES_PER_SEC),
  fc.constantFrom(125n, 125_000n, 1_250_000n, 12_500_000n, 125_000_000n, 1_250_000_000n, 125_000_000_000n),
);

/** Durations that fit 32 bits of nanoseconds. */
export const durations: fc.Arbitrary<bigint> = fc.oneof(
  logarithmic(1n, U32_MAX),
  fc.constantFrom(0n, 1_000_000n, 50_000_000n, U32_MAX),
);

/** Settings that the helper would write. */
export const configs: fc.Arbitrary<Config> = fc.record({
  rateBytesPerSec: rates,
  horizonNs: durations,
  burstNs: durations,
});

/** Wire lengths that links carry, BIG TCP included. */
export const wireLengths: fc.Arbitrary<bigint> = fc.oneof(
  fc.bigInt({ min: 60n, max: 1514n }),
  fc.constantFrom(60n, 64n, 1514n, 9014n, 65_536n, 524_288n),
  fc.bigInt({ min: 60n, max: 1n << 20n }),
);

/** How long after the one before a packet comes: mostly soon, now and then after months. */
const gaps: fc.Arbitrary<bigint> = fc.oneof(
  { weight: 2, arbitrary: fc.constant(0n) },
  { weight: 6, arbitrary: logarithmic(1n, 1n << 30n) },
  { weight: 1, arbitrary: logarithmic(1n << 30n, 1n << 54n) },
);

/** What may stand in skb->tstamp: nothing, a time shortly after now, or the time of another clock. */
function tstampsAfter(nowNs: bigint): fc.Arbitrary<bigint> {
  return fc.oneof(
    { weight: 6, arbitrary: fc.constant(0n) },
    { weight: 2, arbitrary: logarithmic(1n, 1n << 34n).map((ahead) => nowNs + ahead) },
    { weight: 1, arbitrary: fc.constantFrom(nowNs, nowNs + U32_MAX, nowNs + U32_MAX + 1n) },
    { weight: 1, arbitrary: fc.bigInt({ min: 0n, max: U64_MAX }) },
  );
}

function packetsAt(nowNs: bigint): fc.Arbitrary<Packet> {
  return fc.record({ nowNs: fc.constant(nowNs), tstampNs: tstampsAfter(nowNs), wireLen: wireLengths });
}

/** Packets of one aggregate, in the order of time. */
export const packetSequences: fc.Arbitrary<readonly Packet[]> = fc
  .tuple(logarithmic(1n, 1n << 60n), fc.array(gaps, { minLength: 1, maxLength: 60 }))
  .chain(([firstNs, sequence]) => {
    let nowNs = firstNs;
    const times = sequence.map((gap) => (nowNs += gap));
    return fc.tuple(...times.map(packetsAt));
  });

/** One call of the step with anything in its inputs that the kernel or a damaged map can put there. */
export interface Call {
  readonly config: Config;
  readonly clock: Clock;
  readonly packet: Packet;
}

function clocksAround(nowNs: bigint): fc.Arbitrary<bigint> {
  return fc.oneof(
    logarithmic(1n, 1n << 34n).map((ahead) => nowNs + ahead),
    logarithmic(1n, 1n << 34n).map((behind) => (behind < nowNs ? nowNs - behind : 0n)),
    logarithmic(1n, 1n << 62n).map((ahead) => nowNs + ahead),
    fc.bigInt({ min: 0n, max: U64_MAX }),
    fc.constantFrom(0n, nowNs, U64_MAX),
  );
}

/** Calls over the whole range of every input. */
export const calls: fc.Arbitrary<Call> = logarithmic(1n, NOW_MAX_NS).chain((nowNs) =>
  fc.record({
    config: fc.record({
      rateBytesPerSec: fc.oneof(
        { weight: 8, arbitrary: rates },
        { weight: 1, arbitrary: fc.bigInt({ min: 1n, max: 125n }) },
        { weight: 1, arbitrary: fc.constantFrom(0n, RATE_MAX_BYTES_PER_SEC + 1n, U64_MAX) },
      ),
      horizonNs: durations,
      burstNs: durations,
    }),
    clock: fc.record({ lastNs: clocksAround(nowNs), prepaid: fc.bigInt({ min: 0n, max: 0xffffn }) }),
    packet: fc.record({
      nowNs: fc.constant(nowNs),
      tstampNs: tstampsAfter(nowNs),
      wireLen: fc.oneof(wireLengths, logarithmic(1n, U32_MAX)),
    }),
  }),
);
