// From caps as operators write them (bits) to what the datapath reads (bytes and nanoseconds).

import type { Cap, CapChanges, Direction, EffectiveCap } from '../protocol/messages.ts';
import { MAX_HORIZON_NS, MAX_INTERVAL_NS } from '../protocol/ranges.ts';
import type { AggregateConfig } from '../wire/aggregate.ts';
import { formatDuration } from './units.ts';

/** How caps are paced for which `set` says nothing else. */
export interface NodeDefaults {
  /** How far ahead of now a departure may lie before the packet is dropped. */
  readonly horizonNs: number;
  /** Queueing time that the AQM tolerates; 0 turns it off. */
  readonly aqmTargetNs: number;
  /** How long it may stay above the target before the AQM acts. */
  readonly aqmIntervalNs: number;
}

/** What the caps of all attachments follow besides what is asked for. */
export interface NodeSettings {
  readonly defaults: NodeDefaults;
  /** Addresses that are exempt for every attachment. */
  readonly exempt: readonly string[];
}

export const DEFAULTS: NodeDefaults = {
  horizonNs: 50_000_000,
  aqmTargetNs: 5_000_000,
  aqmIntervalNs: 100_000_000,
};

/** A cap's burst when none is set: at least 1 ms of the rate. */
export const DEFAULT_BURST_NS = 1_000_000;

/**
 * A set burst is honoured up to this much time at the rate; beyond, it would be a queue at the
 * receiver.
 */
export const MAX_BURST_NS = 20_000_000;

/**
 * Bursts that runtimes send when the pod asked for none: math.MaxUint32 (containerd), MaxUint32*8-1
 * (CRI-O), math.MaxInt32 (dockershim). All are bits.
 */
const PLACEHOLDER_BURST_BITS: ReadonlySet<number> = new Set([4294967295, 34359738359, 2147483647]);

/** Burst of a cap as time at its rate, in nanoseconds; `defaultNs` when none is set. */
export function burstNsOf(cap: Cap, defaultNs: number = DEFAULT_BURST_NS): number {
  if (
    cap.burstBits === undefined ||
    cap.burstBits <= 0 ||
    PLACEHOLDER_BURST_BITS.has(cap.burstBits)
  ) {
    return defaultNs;
  }
  const burstNs = (BigInt(cap.burstBits) * 1_000_000_000n) / BigInt(cap.rateBitsPerSec);
  return burstNs > BigInt(MAX_BURST_NS) ? MAX_BURST_NS : Number(burstNs);
}

/**
 * Most of a burst is kept for sparse flows, which cannot build a queue with it, up to this much, or
 * this part of the target.
 */
const MAX_SPARSE_CREDIT_NS = 875_000;
const MAX_SPARSE_CREDIT_TARGETS = 0.175;

const FULL_FRAME_BYTES = 1514;

function framesNs(count: number, rateBitsPerSec: number): number {
  return Math.ceil((count * FULL_FRAME_BYTES * 8 * 1e9) / rateBitsPerSec);
}

/**
 * A queue below this many full frames makes TCP wait for retransmission timers instead of sending.
 * Into a pod frames come merged, up to 64 KB in one packet that nobody here can make smaller: six
 * of those fit, or slow start would lose one before it hears of the first mark.
 */
const MIN_HORIZON_FRAMES: Readonly<Record<Direction, number>> = { egress: 16, ingress: 6 * 43 };

/**
 * The horizon of one cap: the node's, stretched at low rates until some full frames fit below it.
 */
export function horizonNsOf(
  rateBitsPerSec: number,
  nodeHorizonNs: number,
  direction: Direction = 'egress',
): number {
  const stretchedNs = Math.min(
    framesNs(MIN_HORIZON_FRAMES[direction], rateBitsPerSec),
    MAX_HORIZON_NS,
  );
  return Math.max(nodeHorizonNs, stretchedNs);
}

/**
 * What a pod's interface hands over in one packet, at most: so many full frames, if they take no
 * longer than this. The other end acknowledges a packet once, however many segments it has; of
 * single ones it acknowledges every other, and the acknowledgements of 20 Mbit/s take 2.2 % of 20
 * Mbit/s in the other direction.
 */
const TRAIN_FRAMES = 8;
const MAX_TRAIN_NS = 5_000_000;

/** Segments of such a packet; at least one. */
function trainSegmentsOf(rateBitsPerSec: number, frameBytes: number): number {
  const fitting = Math.floor(((rateBitsPerSec / 8) * (MAX_TRAIN_NS / 1e9)) / frameBytes);
  return Math.max(1, Math.min(TRAIN_FRAMES, fitting));
}

/**
 * Below this many full frames in the queue a signal would empty it: CoDel's rule of one frame, for
 * a paced one.
 */
const MIN_TARGET_FRAMES = 4;
/** Nor below this many trains: one that waits while another leaves is no queue that stands. */
const MIN_TARGET_TRAINS = 2;
const MAX_STRETCHED_TARGET_NS = (MAX_HORIZON_NS * MIN_TARGET_FRAMES) / MIN_HORIZON_FRAMES.egress;

/**
 * Into a pod a signal to TCP without ECN is the loss of a merged packet, so it is to be due this
 * seldom. CUBIC's window, where it goes as Reno's would (RFC 9438, 4.3), falls by 0.3 of its N
 * frames and grows by 0.53 in a round trip: it is where it was after 0.57 N^2 frames.
 */
const INGRESS_SIGNAL_NS = 250_000_000;
const SIGNAL_FRAMES = 0.57;

/** The shortest target that makes sense at a rate, ns. */
function stretchedTargetNsOf(rateBitsPerSec: number, direction: Direction): number {
  const trainFrames = trainSegmentsOf(rateBitsPerSec, FULL_FRAME_BYTES);
  const fewFramesNs = framesNs(
    Math.max(MIN_TARGET_FRAMES, MIN_TARGET_TRAINS * trainFrames),
    rateBitsPerSec,
  );
  const seldomNs = Math.sqrt((framesNs(1, rateBitsPerSec) * INGRESS_SIGNAL_NS) / SIGNAL_FRAMES);
  const stretchedNs =
    direction === 'egress' ? fewFramesNs : Math.max(fewFramesNs, Math.ceil(seldomNs));
  return Math.min(stretchedNs, MAX_STRETCHED_TARGET_NS);
}

/**
 * The AQM's target for one cap: the node's, stretched at low rates, and always below the cap's
 * horizon.
 */
export function aqmTargetNsOf(
  rateBitsPerSec: number,
  nodeTargetNs: number,
  horizonNs: number,
  direction: Direction = 'egress',
): number {
  if (nodeTargetNs === 0) return 0;
  const targetNs = Math.max(nodeTargetNs, stretchedTargetNsOf(rateBitsPerSec, direction));
  return targetNs < horizonNs ? targetNs : Math.floor(horizonNs / 2);
}

/**
 * Or, where that is more, this part of the queue that the AQM leaves standing: what a sparse flow
 * has sent is on loan for as long as the queue is, so its credit has to grow with it.
 */
const BURST_QUEUES = 0.2;

/**
 * The burst of a cap for which none is set, ns. Out of a pod it grows with the queue as far as
 * trains make that, and no further: four frames of 1 Mbit/s are 48 ms, and a burst of 10 ms would
 * let a second have 101 % of the cap.
 */
function defaultBurstNsOf(
  rateBitsPerSec: number,
  aqmTargetNs: number,
  direction: Direction,
): number {
  const trainFrames = trainSegmentsOf(rateBitsPerSec, FULL_FRAME_BYTES);
  const trainsNs =
    trainFrames === 1 ? 0 : framesNs(MIN_TARGET_TRAINS * trainFrames, rateBitsPerSec);
  const queueNs = direction === 'egress' ? trainsNs : aqmTargetNs;
  return Math.min(Math.max(DEFAULT_BURST_NS, Math.floor(queueNs * BURST_QUEUES)), MAX_BURST_NS);
}

/**
 * An interval of fewer targets would judge the queue before a reaction to the last signal can show.
 */
const MIN_INTERVAL_TARGETS = 4;

/**
 * How a cap is paced: as it was asked for, as it was changed since, and as the node is configured,
 * in this order of weight from the last. Undefined when neither asks for a rate.
 */
export function effectiveCapOf(
  asked: Cap | undefined,
  changes: CapChanges,
  defaults: NodeDefaults,
  direction: Direction = 'egress',
): EffectiveCap | undefined {
  const rateBitsPerSec = changes.rateBitsPerSec ?? asked?.rateBitsPerSec;
  if (rateBitsPerSec === undefined) return undefined;
  const burstBits = changes.burstBits ?? asked?.burstBits;
  const horizonNs = changes.horizonNs ?? horizonNsOf(rateBitsPerSec, defaults.horizonNs, direction);
  const aqmTargetNs =
    changes.aqmTargetNs ??
    aqmTargetNsOf(rateBitsPerSec, defaults.aqmTargetNs, horizonNs, direction);
  const stretchedNs = Math.min(aqmTargetNs * MIN_INTERVAL_TARGETS, MAX_INTERVAL_NS);
  const defaultBurstNs = defaultBurstNsOf(rateBitsPerSec, aqmTargetNs, direction);
  const cap = burstBits === undefined ? { rateBitsPerSec } : { rateBitsPerSec, burstBits };
  return {
    rateBitsPerSec,
    burstNs: burstNsOf(cap, defaultBurstNs),
    horizonNs,
    aqmTargetNs,
    aqmIntervalNs: changes.aqmIntervalNs ?? Math.max(defaults.aqmIntervalNs, stretchedNs),
    changed: Object.keys(changes) as (keyof CapChanges)[],
  };
}

/** Why horizon, target and interval cannot go together; undefined when they can. */
export function contradictionIn({
  horizonNs,
  aqmTargetNs,
  aqmIntervalNs,
}: NodeDefaults): string | undefined {
  if (aqmTargetNs === 0) return undefined;
  if (aqmTargetNs >= horizonNs) {
    return `the AQM target ${formatDuration(aqmTargetNs)} is not below the horizon ${formatDuration(horizonNs)}`;
  }
  if (aqmIntervalNs < aqmTargetNs) {
    return `the AQM interval ${formatDuration(aqmIntervalNs)} is below the target ${formatDuration(aqmTargetNs)}`;
  }
  return undefined;
}

/**
 * What the datapath is told for a cap. Bytes per second are rounded down: rounding never exceeds
 * the cap.
 */
export function aggregateConfigOf(cap: EffectiveCap, exemptions = 0): AggregateConfig {
  const mostNs = Math.max(
    MAX_SPARSE_CREDIT_NS,
    Math.floor(cap.aqmTargetNs * MAX_SPARSE_CREDIT_TARGETS),
  );
  const sparseCreditNs = Math.min(Math.floor((cap.burstNs * 7) / 8), mostNs);
  return {
    rateBytesPerSec: Math.floor(cap.rateBitsPerSec / 8),
    horizonNs: cap.horizonNs,
    idleCreditNs: cap.burstNs - sparseCreditNs,
    sparseCreditNs,
    targetNs: cap.aqmTargetNs,
    intervalNs: cap.aqmIntervalNs,
    exemptions,
  };
}

/** Segment offload limits of a pod's interface. */
export interface GsoLimit {
  readonly gsoMaxSegs: number;
  readonly gsoMaxSizeBytes: number;
}

/** GSO_MAX_SIZE and GSO_MAX_SEGS of linux/netdevice.h: what an unlimited device has. */
export const UNLIMITED_GSO: GsoLimit = { gsoMaxSegs: 65535, gsoMaxSizeBytes: 65536 };

/**
 * TCP takes MAX_TCP_HEADER (net/tcp.h, at most 320 bytes) off the size before it divides by the
 * segment size.
 */
const TCP_HEADER_RESERVE_BYTES = 320;

/**
 * Segment offload that holds one packet to a short train, or to about 1 ms of the rate where that
 * is more, so that a low cap is a stream and not a row of 64 KB trains (52 ms each at 10 Mbit/s).
 * At least one full segment always fits.
 */
export function gsoLimitOf(rateBitsPerSec: number, mtuBytes: number): GsoLimit {
  const ofOneMs = Math.floor(rateBitsPerSec / 8 / 1000 / mtuBytes);
  const segments = Math.max(trainSegmentsOf(rateBitsPerSec, mtuBytes), ofOneMs);
  const gsoMaxSegs = Math.min(UNLIMITED_GSO.gsoMaxSegs, segments);
  const wanted = gsoMaxSegs * mtuBytes + TCP_HEADER_RESERVE_BYTES;
  if (wanted >= UNLIMITED_GSO.gsoMaxSizeBytes) return UNLIMITED_GSO;
  return { gsoMaxSegs, gsoMaxSizeBytes: wanted };
}
