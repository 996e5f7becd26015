// The map of aggregates' configuration as a whole.

import { lookupBatches } from '../kernel/bpf.ts';
import {
  AGGREGATE_CONFIG_SIZE,
  AGGREGATE_ID_MIN,
  decodeAggregateConfig,
  type AggregateConfig,
} from '../wire/aggregate.ts';

/** Aggregates that are in use, with their configuration: most elements are empty. */
export function readUsedConfigs(map: number): Map<number, AggregateConfig> {
  const configs = new Map<number, AggregateConfig>();
  const size = AGGREGATE_CONFIG_SIZE;
  for (const { keys, values, count } of lookupBatches(map, 4, size)) {
    for (let at = 0; at < count; at++) {
      const config = decodeAggregateConfig(values.subarray(at * size, (at + 1) * size));
      if (config.rateBytesPerSec > 0)
        configs.set(AGGREGATE_ID_MIN + keys.readUInt32LE(at * 4), config);
    }
  }
  return configs;
}
