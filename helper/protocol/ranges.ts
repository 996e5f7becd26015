// What the numbers of a cap may be, for both ends of the socket.

/**
 * fq itself drops beyond its own horizon of 10 s (net/sched/sch_fq.c): departures must stay well
 * below it.
 */
export const MAX_HORIZON_NS = 2_000_000_000;

/** Below, a timer that fires a little late would drop packets. */
export const MIN_HORIZON_NS = 1_000_000;

/** The map holds 4.29 s. */
export const MAX_INTERVAL_NS = 4_000_000_000;
export const MIN_INTERVAL_NS = 1_000_000;

/** The least and the most, both allowed. What depends on another number is not told here. */
export const CAP_RANGES = {
  /** 1 kbit/s to 1 Pbit/s: what containerd takes of a pod's annotations. */
  rateBitsPerSec: [1000, 1_000_000_000_000_000],
  burstBits: [1, Number.MAX_SAFE_INTEGER],
  /** As a change it is taken as it is: the node's horizon is stretched at low rates. */
  horizonNs: [MIN_HORIZON_NS, MAX_HORIZON_NS],
  /** 0 turns the AQM off. */
  aqmTargetNs: [0, MAX_HORIZON_NS],
  aqmIntervalNs: [MIN_INTERVAL_NS, MAX_INTERVAL_NS],
} satisfies Readonly<Record<string, readonly [least: number, most: number]>>;
