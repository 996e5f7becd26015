// What fq qdiscs have done with packets that came with a time.

import { execFileSync } from 'node:child_process';
import { inNamespace } from '../bed/testbed.ts';

/** Of all fq on one device. */
export interface Held {
  readonly packets: number;
  /** How often a flow had to wait for the time of its next packet. */
  readonly throttled: number;
  /** Packets whose time lay beyond the horizon. */
  readonly horizonDrops: number;
}

interface Qdisc {
  readonly kind: string;
  readonly dev: string;
  readonly packets: number;
  readonly throttled?: number;
  readonly horizon_drops?: number;
}

/** The statistics of each device in the namespace at a path that has an fq. */
export function heldBy(netns: string): ReadonlyMap<string, Held> {
  const json = execFileSync(...inNamespace(netns, 'tc', '-s', '-j', 'qdisc', 'show'), {
    encoding: 'utf8',
  });
  const held = new Map<string, Held>();
  for (const { kind, dev, packets, throttled = 0, horizon_drops: horizonDrops = 0 } of JSON.parse(
    json,
  ) as Qdisc[]) {
    if (kind !== 'fq') continue;
    const sum = held.get(dev) ?? { packets: 0, throttled: 0, horizonDrops: 0 };
    held.set(dev, {
      packets: sum.packets + packets,
      throttled: sum.throttled + throttled,
      horizonDrops: sum.horizonDrops + horizonDrops,
    });
  }
  return held;
}
