import type { DirectionCounters } from '../../helper/protocol/messages.ts';
import type { Measured } from '../../helper/shaping/counters.ts';
import { DEFAULTS, effectiveCapOf } from '../../helper/shaping/rates.ts';
import { eachCounter, SOJOURN_BUCKETS } from '../../helper/wire/aggregate.ts';

const CAP = effectiveCapOf({ rateBitsPerSec: 10_000_000 }, {}, DEFAULTS);

export const POD_COUNTERS: DirectionCounters = {
  total: {
    ...eachCounter(() => 7),
    throttledNs: 3_102_000_000,
    // One packet in each bucket of the datapath.
    sojourn: Array.from({ length: SOJOURN_BUCKETS }, () => 1),
  },
  backlogNs: 5_000_000,
};

/** A pod whose egress is capped at 10 Mbit/s, as the shaper measures it. */
export function measuredPod(containerId: string, names: object = {}): Measured {
  return {
    ...{ containerId, ifname: 'eth0', hostInterface: 'veth0', ...names },
    ...{ egress: POD_COUNTERS, effective: CAP === undefined ? {} : { egress: CAP } },
    notEnforced: [],
  };
}
