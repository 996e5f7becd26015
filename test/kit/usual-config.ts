// What the helper tells the datapath for a cap of 100 Mbit/s when nothing else is set.

import { aggregateConfigOf, DEFAULTS, effectiveCapOf } from '../../helper/shaping/rates.ts';
import type { Config } from '../model/departure.ts';

const CAP_BITS_PER_SEC = 100_000_000;

function usualConfig(): Config {
  const cap = effectiveCapOf({ rateBitsPerSec: CAP_BITS_PER_SEC }, {}, DEFAULTS);
  if (cap === undefined) throw new Error('A cap that asks for a rate has none');
  const { rateBytesPerSec, horizonNs, idleCreditNs, sparseCreditNs, targetNs, intervalNs } =
    aggregateConfigOf(cap);
  return {
    rateBytesPerSec: BigInt(rateBytesPerSec),
    horizonNs: BigInt(horizonNs),
    idleCreditNs: BigInt(idleCreditNs),
    sparseCreditNs: BigInt(sparseCreditNs),
    targetNs: BigInt(targetNs),
    intervalNs: BigInt(intervalNs),
  };
}

/** In the numbers of the oracle. */
export const USUAL_CONFIG = usualConfig();
