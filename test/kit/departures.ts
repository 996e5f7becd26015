// Packets for the oracle, and streams of them.

import { Aggregate, chargeOf, isDrop, type Config, type Packet } from '../model/departure.ts';

export const NS_PER_SEC = 1_000_000_000n;
export const NS_PER_MS = 1_000_000n;
/** When offers begin: so long after boot that a state of zeros is one that was never signalled. */
const OFFERED_AT_NS = 100n * NS_PER_SEC;

/** A full frame of flow 1, unless `rest` says otherwise. */
export function packetAt(nowNs: bigint, rest: Partial<Packet> = {}): Packet {
  return {
    nowNs,
    tstampNs: 0n,
    wireLen: 1514n,
    flowHash: 1,
    isEcnCapable: false,
    segments: 1n,
    isMerged: false,
    ...rest,
  };
}

/**
 * Offers packets of flows at constant rates for a while; returns how many packets of each departed,
 * and verdicts.
 */
export function offer(
  config: Config,
  flows: readonly {
    share: number;
    wireLen?: bigint;
    isEcnCapable?: boolean;
    segments?: bigint;
    isMerged?: boolean;
  }[],
  durationMs: number,
): { departed: number[]; verdicts: Map<string, number>; sojournsNs: bigint[][] } {
  const aggregate = new Aggregate();
  const departed = flows.map(() => 0);
  const sojournsNs: bigint[][] = flows.map(() => []);
  const verdicts = new Map<string, number>();
  const next = flows.map((_, index) => index * 1000);
  const endNs = durationMs * 1e6;
  for (;;) {
    const index = next.indexOf(Math.min(...next));
    const timeNs = next[index] ?? endNs;
    const {
      share = 1,
      wireLen = 1514n,
      isEcnCapable = false,
      segments = 1n,
      isMerged = false,
    } = flows[index] ?? {};
    if (timeNs >= endNs) return { departed, verdicts, sojournsNs };
    next[index] = timeNs + Number(chargeOf(config.rateBytesPerSec, wireLen).ns) / share;
    const packet = packetAt(OFFERED_AT_NS + BigInt(Math.round(timeNs)), {
      wireLen,
      isEcnCapable,
      segments,
      isMerged,
      flowHash: index + 1,
    });
    const outcome = aggregate.schedule(config, packet);
    verdicts.set(outcome.verdict, (verdicts.get(outcome.verdict) ?? 0) + 1);
    if (isDrop(outcome)) continue;
    departed[index] = (departed[index] ?? 0) + 1;
    sojournsNs[index]?.push(outcome.sojournNs);
  }
}
