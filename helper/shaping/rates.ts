// From caps as operators write them (bits) to what the datapath reads (bytes and nanoseconds).

import type { Cap } from '../protocol/messages.ts';
import type { AggregateConfig } from '../wire/aggregate.ts';

/** How far ahead of now a departure may lie before the packet is dropped. */
export const DEFAULT_HORIZON_NS = 50_000_000;

/** Credit that idleness earns when no burst is set: 1 ms of the rate. */
export const DEFAULT_BURST_NS = 1_000_000;

/** A set burst is honoured up to this much time at the rate; beyond, it would be a queue at the receiver. */
export const MAX_BURST_NS = 20_000_000;

/**
 * Bursts that runtimes send when the pod asked for none: math.MaxUint32 (containerd), MaxUint32*8-1 (CRI-O),
 * math.MaxInt32 (dockershim). All are bits.
 */
const PLACEHOLDER_BURST_BITS: ReadonlySet<number> = new Set([4294967295, 34359738359, 2147483647]);

/** Burst of a cap as time at its rate, in nanoseconds. */
export function burstNsOf(cap: Cap): number {
  if (cap.burstBits === undefined || cap.burstBits <= 0 || PLACEHOLDER_BURST_BITS.has(cap.burstBits)) {
    return DEFAULT_BURST_NS;
  }
  const burstNs = (BigInt(cap.burstBits) * 1_000_000_000n) / BigInt(cap.rateBitsPerSec);
  return burstNs > BigInt(MAX_BURST_NS) ? MAX_BURST_NS : Number(burstNs);
}

/** A queue below this many full frames makes TCP wait for retransmission timers instead of sending. */
const MIN_HORIZON_FRAMES = 16;
const FULL_FRAME_BYTES = 1514;

/** Where stretching ends. fq drops beyond its own horizon of 10 s, the map holds 4.3 s. */
const MAX_HORIZON_NS = 2_000_000_000;

/** The horizon of one cap: the node's, stretched at low rates until some full frames fit below it. */
export function horizonNsOf(rateBitsPerSec: number, nodeHorizonNs: number): number {
  const framesNs = Math.ceil((MIN_HORIZON_FRAMES * FULL_FRAME_BYTES * 8 * 1e9) / rateBitsPerSec);
  return Math.max(nodeHorizonNs, Math.min(framesNs, MAX_HORIZON_NS));
}

/** What the datapath is told for a cap. Bytes per second are rounded down: rounding never exceeds the cap. */
export function aggregateConfigOf(cap: Cap, nodeHorizonNs: number): AggregateConfig {
  return {
    rateBytesPerSec: Math.floor(cap.rateBitsPerSec / 8),
    horizonNs: horizonNsOf(cap.rateBitsPerSec, nodeHorizonNs),
    burstNs: burstNsOf(cap),
  };
}

/** Segment offload limits of a pod's interface. */
export interface GsoLimit {
  readonly gsoMaxSegs: number;
  readonly gsoMaxSizeBytes: number;
}

/** GSO_MAX_SIZE and GSO_MAX_SEGS of linux/netdevice.h: what an unlimited device has. */
export const UNLIMITED_GSO: GsoLimit = { gsoMaxSegs: 65535, gsoMaxSizeBytes: 65536 };

/** TCP takes MAX_TCP_HEADER (net/tcp.h, at most 320 bytes) off the size before it divides by the segment size. */
const TCP_HEADER_RESERVE_BYTES = 320;

/**
 * Segment offload that holds one packet to about 1 ms of the rate, so that a low cap is a stream and not a row of
 * 64 KB trains (52 ms each at 10 Mbit/s). At least one full segment always fits.
 */
export function gsoLimitOf(rateBitsPerSec: number, mtuBytes: number): GsoLimit {
  const bytesPerMs = rateBitsPerSec / 8 / 1000;
  const gsoMaxSegs = Math.max(1, Math.min(UNLIMITED_GSO.gsoMaxSegs, Math.floor(bytesPerMs / mtuBytes)));
  const wanted = gsoMaxSegs * mtuBytes + TCP_HEADER_RESERVE_BYTES;
  if (wanted >= UNLIMITED_GSO.gsoMaxSizeBytes) return UNLIMITED_GSO;
  return { gsoMaxSegs, gsoMaxSizeBytes: wanted };
}

/** A rate for people: the largest unit that keeps it exact to three digits after the point. */
export function formatRate(bitsPerSec: number): string {
  const units = ['bit/s', 'kbit/s', 'Mbit/s', 'Gbit/s', 'Tbit/s', 'Pbit/s'] as const;
  let value = bitsPerSec;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${Number(value.toFixed(3))} ${units[unit]}`;
}
