// The oracle of the departure step: what bpf/departure.h must do, said again in integers without bounds. Time on
// the virtual link is counted in units of 2^-16 ns here, so that the header's two words are one number.

const NS_PER_SEC = 1_000_000_000n;
const UNITS_PER_NS = 1n << 16n;
const COARSE_NS = 1024n;

export const RATE_MAX_BYTES_PER_SEC = 125_000_000_000_000n;
export const HORIZON_MAX_NS = 0xffff_ffffn;
export const WIRE_LEN_MAX = 1n << 21n;

/** An aggregate's settings. */
export interface Config {
  readonly rateBytesPerSec: bigint;
  readonly horizonNs: bigint;
  readonly burstNs: bigint;
}

/** An aggregate's clock: the link is busy until lastNs, of whose last nanosecond `prepaid` units are unused. */
export interface Clock {
  readonly lastNs: bigint;
  readonly prepaid: bigint;
}

/** A packet as the step sees it. */
export interface Packet {
  readonly nowNs: bigint;
  readonly tstampNs: bigint;
  readonly wireLen: bigint;
}

/** What becomes of a packet. */
export interface Outcome {
  /** undefined: the packet is dropped. */
  readonly departureNs: bigint | undefined;
  readonly clock: Clock;
}

function max(a: bigint, b: bigint): bigint {
  return a > b ? a : b;
}

function divideUp(dividend: bigint, divisor: bigint): bigint {
  return (dividend + divisor - 1n) / divisor;
}

/** Time of a packet on the virtual link, in units; whole nanoseconds from COARSE_NS on. */
export function chargeUnits(rateBytesPerSec: bigint, wireLen: bigint): bigint {
  const rate = rateBytesPerSec < RATE_MAX_BYTES_PER_SEC ? rateBytesPerSec : RATE_MAX_BYTES_PER_SEC;
  const byteNs = wireLen * NS_PER_SEC;
  if (byteNs / rate >= COARSE_NS) return divideUp(byteNs, rate) * UNITS_PER_NS;
  return divideUp(byteNs * UNITS_PER_NS, rate);
}

/** The clock once the link has begun with a packet at startNs. */
function charged(startNs: bigint, prepaid: bigint, units: bigint): Clock {
  const busyUntil = startNs * UNITS_PER_NS - prepaid + units;
  const lastNs = divideUp(busyUntil, UNITS_PER_NS);
  return { lastNs, prepaid: lastNs * UNITS_PER_NS - busyUntil };
}

/** The longest way ahead of now that a clock may be. */
export function aheadMaxNs(rateBytesPerSec: bigint): bigint {
  const units = chargeUnits(rateBytesPerSec, WIRE_LEN_MAX);
  return HORIZON_MAX_NS + units / UNITS_PER_NS + 1n;
}

/** The departure step. */
export function schedule(config: Config, clock: Clock, packet: Packet): Outcome {
  const { rateBytesPerSec, horizonNs, burstNs } = config;
  const { nowNs, tstampNs, wireLen } = packet;
  if (rateBytesPerSec === 0n) return { departureNs: nowNs, clock };

  const isAskedFor = tstampNs > nowNs && tstampNs - nowNs <= HORIZON_MAX_NS;
  const earliestNs = isAskedFor ? tstampNs : max(0n, nowNs - burstNs);
  let startNs = max(clock.lastNs, earliestNs);
  if (startNs > nowNs && startNs - nowNs >= horizonNs) {
    if (clock.lastNs - nowNs <= aheadMaxNs(rateBytesPerSec)) return { departureNs: undefined, clock };
    startNs = max(nowNs + horizonNs - 1n, earliestNs);
  }
  const next = charged(startNs, clock.prepaid, chargeUnits(rateBytesPerSec, wireLen));
  return { departureNs: max(startNs, nowNs), clock: next };
}
