// Maps whose entries are found by one number: by a device's index, or by an aggregate's id.

import {
  deleteElement,
  lookupBatches,
  lookupElement,
  mapKeys,
  updateElement,
} from '../kernel/bpf.ts';
import {
  AGGREGATE_CONFIG_SIZE,
  AGGREGATE_ID_MIN,
  decodeAggregateConfig,
  decodeInterfaceKey,
  encodeInterfaceKey,
  type AggregateConfig,
} from '../wire/aggregate.ts';

/** How the entries of a map look. */
interface Codec<T> {
  readonly size: number;
  readonly encode: (entry: T) => Buffer;
  readonly decode: (value: Buffer) => T;
}

/** A map of devices, by their indexes. */
export class DeviceMap<T> {
  readonly #fd: number;
  readonly #codec: Codec<T>;

  constructor(fd: number, codec: Codec<T>) {
    this.#fd = fd;
    this.#codec = codec;
  }

  read(ifindex: number): T | undefined {
    const value = lookupElement(this.#fd, encodeInterfaceKey(ifindex), this.#codec.size);
    return value && this.#codec.decode(value);
  }

  /** The entries that some devices have, by their indexes. */
  readAmong(indexes: Iterable<number>): Map<number, T> {
    const entries = new Map<number, T>();
    for (const ifindex of indexes) {
      const entry = this.read(ifindex);
      if (entry !== undefined) entries.set(ifindex, entry);
    }
    return entries;
  }

  write(ifindex: number, entry: T): void {
    updateElement(this.#fd, encodeInterfaceKey(ifindex), this.#codec.encode(entry));
  }

  remove(ifindex: number): void {
    deleteElement(this.#fd, encodeInterfaceKey(ifindex));
  }

  /** Indexes of all devices that have an entry. */
  indexes(): number[] {
    return [...mapKeys(this.#fd, 4)].map(decodeInterfaceKey);
  }
}

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
