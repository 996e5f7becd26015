// Keys and values of the maps that the helper shares with bpf/podpace.bpf.c, byte for byte the
// structs there and in bpf/departure.h. Everything is in the machine's own byte order, which is
// little-endian where podpace runs.

import {
  requireRange,
  Struct,
  U32,
  type Decoder,
  type Members,
  type Sized,
  type SizedCodec,
} from './struct.ts';

/**
 * Ids that the datapath knows; they lie above any receive queue that a driver records in
 * queue_mapping.
 */
export const AGGREGATE_ID_MIN = 4096;
export const AGGREGATE_ID_MAX = 20479;
export const AGGREGATE_COUNT = AGGREGATE_ID_MAX - AGGREGATE_ID_MIN + 1;

/** Stands for no aggregate in a HostInterface. */
export const AGGREGATE_ID_NONE = 0;

/** The fastest rate the departure step tells from a faster one: 1 Pbit/s. */
export const RATE_MAX_BYTES_PER_SEC = 125_000_000_000_000;

/** The longest horizon and burst that the map can hold, about 4.3 s. */
export const DURATION_MAX_NS = 0xffff_ffff;

/** Aggregates whose state and counters stand in one page. */
export const AGGREGATES_PER_PAGE = 64;

/** Buckets of the sojourn histogram. */
export const SOJOURN_BUCKETS = 16;

/**
 * struct aggregate_config: how an aggregate is paced. A rate of 0 marks an entry that is not in
 * use.
 */
export interface AggregateConfig {
  readonly rateBytesPerSec: number;
  readonly horizonNs: number;
  /** Credit that idleness earns for any packet. */
  readonly idleCreditNs: number;
  /** Further credit, for packets of sparse flows only. Both together are the burst. */
  readonly sparseCreditNs: number;
  /** Sojourn that the AQM tolerates; 0 turns it off. */
  readonly targetNs: number;
  /** How long the sojourn may stay above the target before the AQM acts. */
  readonly intervalNs: number;
  /** Lists of exempt addresses that its packets are looked up in: EXEMPT_OWN, EXEMPT_NODE. */
  readonly exemptions: number;
}

/** Bits of AggregateConfig.exemptions. */
export const EXEMPT_OWN = 1;
export const EXEMPT_NODE = 2;

/** The start of struct aggregate_state: until when the aggregate has been charged, monotonic. */
export interface AggregateClock {
  readonly lastNs: bigint;
}

interface CounterKind {
  readonly unit: 'packets' | 'bytes' | 'times' | 'ns';
  /** Its column in `podpaced counters`; absent: only `--json` has it. */
  readonly heading?: string;
}

/**
 * The counters of struct aggregate_counters, in its order: everything that reads, adds up, sends or
 * shows them goes by this table. The next one stands behind the histogram, and makes a new layout
 * (layout.ts).
 */
const KINDS = {
  /** Accepted. */
  packets: { unit: 'packets', heading: 'PACKETS' },
  /** Accepted, wire length. */
  bytes: { unit: 'bytes', heading: 'BYTES' },
  /** Accepted, but not to leave at once. */
  delayed: { unit: 'packets', heading: 'DELAYED' },
  /** Accepted, of sparse flows: ahead of the bulk. */
  sparse: { unit: 'packets', heading: 'SPARSE' },
  ceMarked: { unit: 'packets', heading: 'CE' },
  droppedHorizon: { unit: 'packets', heading: 'DROP:HORIZON' },
  droppedAqm: { unit: 'packets', heading: 'DROP:AQM' },
  droppedFlow: { unit: 'packets', heading: 'DROP:FLOW' },
  /** That a damaged clock was put right. */
  repaired: { unit: 'times' },
  /**
   * Time for which a packet of the bulk that came would have waited for more than the idle credit.
   * In the map it runs ahead: what of that is still to come is in it already.
   */
  throttledNs: { unit: 'ns', heading: 'THROTTLED' },
} satisfies Readonly<Record<string, CounterKind>>;

export type CounterName = keyof typeof KINDS;

export const COUNTERS: Readonly<Record<CounterName, CounterKind>> = KINDS;
const COUNTER_NAMES = Object.keys(COUNTERS) as CounterName[];

/** Of each counter what a function says of its name. */
export function eachCounter<T>(of: (name: CounterName) => T): Record<CounterName, T> {
  const counters = COUNTER_NAMES.map((name) => [name, of(name)]);
  return Object.fromEntries(counters) as Record<CounterName, T>;
}

/**
 * struct aggregate_counters: what became of an aggregate's packets, of one CPU or of several
 * together.
 */
export interface AggregateCounters extends Readonly<Record<CounterName, bigint>> {
  /**
   * Accepted packets by sojourn: bucket 0 below 2^16 ns, bucket i below 2^(16+i) ns, the last takes
   * the rest.
   */
  readonly sojourn: readonly bigint[];
}

/** struct host_interface: the aggregates of the pod behind a host interface. */
export interface HostInterface {
  readonly egressId: number;
  readonly ingressId: number;
}

/** struct upper_exit: what the devices below an exit add to each packet that passes it. */
export interface FrameOverhead {
  /** Headers and trailers. */
  readonly frameBytes: number;
  /** A packet is padded to a multiple of this many bytes; 0: it is not. */
  readonly align: number;
  /** Headers and trailers that are added before it is padded; none when absent. */
  readonly innerBytes?: number;
  /** But not beyond this many. */
  readonly mtu: number;
  /** What else is added stands with each packet (TOLD_FAMILY and the like); nothing when absent. */
  readonly told?: number;
}

/** bpf/tunnels.h: the outer header may be IPv6, GRE's fields, Geneve's options. */
export const TOLD_FAMILY = 1;
export const TOLD_GRE = 2;
export const TOLD_OPTIONS = 4;

/**
 * Where an aggregate stands in the maps whose names begin with aggregate. Throws RangeError for an
 * id out of range.
 */
export function aggregateIndex(id: number): number {
  requireRange('aggregate id', id, AGGREGATE_ID_MIN, AGGREGATE_ID_MAX);
  return id - AGGREGATE_ID_MIN;
}

/**
 * Number of the page that an aggregate's state and counters stand in. Throws RangeError for an id
 * out of range.
 */
export function aggregatePage(id: number): number {
  return Math.floor(aggregateIndex(id) / AGGREGATES_PER_PAGE);
}

/** Keys of those of these maps that have no pages: ids. Throws RangeError for one out of range. */
export const AGGREGATE_KEY: SizedCodec<number> = {
  size: U32.size,
  encode: (id) => U32.encode(aggregateIndex(id)),
  decode: (key) => AGGREGATE_ID_MIN + U32.decode(key),
};

const CONFIG = new Struct('aggregate config', {
  rateBytesPerSec: 'u64',
  horizonNs: 'u32',
  idleCreditNs: 'u32',
  sparseCreditNs: 'u32',
  targetNs: 'u32',
  intervalNs: 'u32',
  exemptions: 'u32',
});

/**
 * Values of the map aggregate_config. Throws RangeError when a number is out of range; reads also a
 * damaged one that it would not write: a rate beyond 2^53 comes out rounded, and so unequal to any
 * that is valid.
 */
export const AGGREGATE_CONFIG: SizedCodec<AggregateConfig> = {
  size: CONFIG.size,
  encode(config) {
    requireRange('rateBytesPerSec', config.rateBytesPerSec, 0, RATE_MAX_BYTES_PER_SEC);
    requireRange('exemptions', config.exemptions, 0, EXEMPT_OWN | EXEMPT_NODE);
    return CONFIG.encode({ ...config, rateBytesPerSec: BigInt(config.rateBytesPerSec) });
  },
  decode(value) {
    const config = CONFIG.decode(value);
    return { ...config, rateBytesPerSec: Number(config.rateBytesPerSec) };
  },
};

/**
 * Whether a value of the map aggregate_config, whose bytes begin at `at`, is of an aggregate in
 * use: most are empty.
 */
export function isConfigInUse(values: Buffer, at: number): boolean {
  const place = at + CONFIG.offsets.rateBytesPerSec;
  return values.readUInt32LE(place) !== 0 || values.readUInt32LE(place + 4) !== 0;
}

/** The start of struct aggregate_state: the clock, and the copy of it. */
const CLOCK = new Struct('aggregate state', { lastNs: 'u64', lastCopyNs: 'u64' });
/** Where they stand, in bytes. */
export const AGGREGATE_CLOCK = CLOCK.offsets;

/** Reads the clock in a value of aggregate_state, whatever follows it there. */
export function decodeAggregateClock(value: Buffer): AggregateClock {
  if (value.length < CLOCK.offsets.lastCopyNs)
    throw new RangeError(`Cannot decode aggregate state: ${value.length} bytes hold no clock`);
  return { lastNs: value.readBigUInt64LE(CLOCK.offsets.lastNs) };
}

/** Reads the idle credit that is in force, from a whole value of aggregate_state; ns. */
export function decodeIdleCreditNs(value: Buffer): number {
  return value.readUInt32LE(CLOCK.size + CONFIG.offsets.idleCreditNs);
}

/** Sets the clock in a value of aggregate_state, and the copy of it that stands behind. */
export function writeAggregateClock(value: Buffer, { lastNs }: AggregateClock): void {
  CLOCK.encode({ lastNs, lastCopyNs: lastNs }).copy(value);
}

/** Words in front of the histogram. */
const FIRST_WORDS = 10;

const counterWords = Object.entries(eachCounter(() => 'u64' as const));
const COUNTER_MEMBERS: Members = {
  ...Object.fromEntries(counterWords.slice(0, FIRST_WORDS)),
  sojourn: SOJOURN_BUCKETS * 8,
  ...Object.fromEntries(counterWords.slice(FIRST_WORDS)),
};
const COUNTERS_STRUCT = new Struct('aggregate counters', COUNTER_MEMBERS);

/** One CPU's value of the map aggregate_counters; only read. */
export const AGGREGATE_COUNTERS: Sized<Decoder<AggregateCounters>> = {
  size: COUNTERS_STRUCT.size,
  decode(value) {
    const words = COUNTERS_STRUCT.decode(value);
    const sojourn = words['sojourn'] as Buffer;
    const bucket = (_: unknown, at: number): bigint => sojourn.readBigUInt64LE(at * 8);
    return {
      ...eachCounter((name) => words[name] as bigint),
      sojourn: Array.from({ length: SOJOURN_BUCKETS }, bucket),
    };
  },
};

/** The counters of several CPUs together; all zero for none. */
export function sumAggregateCounters(values: readonly AggregateCounters[]): AggregateCounters {
  const sum = (pick: (counters: AggregateCounters) => bigint): bigint =>
    values.reduce((total, counters) => total + pick(counters), 0n);
  return {
    ...eachCounter((name) => sum((each) => each[name])),
    sojourn: Array.from({ length: SOJOURN_BUCKETS }, (_, bucket) =>
      sum((each) => each.sojourn[bucket] ?? 0n),
    ),
  };
}

/** What a history goes by, as numbers: exact below 2^53. */
export interface CounterSums {
  readonly bytes: number;
  readonly throttledNs: number;
  /** For whatever cause. */
  readonly droppedPackets: number;
  readonly ceMarkedPackets: number;
  /** As in AggregateCounters. */
  readonly sojourn: readonly number[];
}

const { offsets: OFFSETS } = COUNTERS_STRUCT;
const SUM_OFFSETS = eachCounter((name) => OFFSETS[name] ?? 0);
const SOJOURN_OFFSET = OFFSETS['sojourn'] ?? 0;
const U32_RANGE = 2 ** 32;

/**
 * The same of one aggregate from the values of all CPUs, which stand one behind the other: without
 * a bigint for each word, since a thousand pods on many processors have millions of them.
 */
export function sumCounterWords(values: Buffer, cpus: number): CounterSums {
  const sumAt = (offset: number): number => {
    let total = 0;
    for (let cpu = 0; cpu < cpus; cpu++) {
      const at = cpu * COUNTERS_STRUCT.size + offset;
      total += values.readUInt32LE(at) + values.readUInt32LE(at + 4) * U32_RANGE;
    }
    return total;
  };
  const sum = (...names: readonly CounterName[]): number =>
    names.reduce((total, name) => total + sumAt(SUM_OFFSETS[name]), 0);
  return {
    ...{ bytes: sum('bytes'), throttledNs: sum('throttledNs') },
    droppedPackets: sum('droppedHorizon', 'droppedAqm', 'droppedFlow'),
    ceMarkedPackets: sum('ceMarked'),
    sojourn: Array.from({ length: SOJOURN_BUCKETS }, (_, bucket) =>
      sumAt(SOJOURN_OFFSET + bucket * 8),
    ),
  };
}

/** Keys of maps that devices stand in: their indexes. */
export const INTERFACE_KEY: SizedCodec<number> = {
  ...U32,
  encode(ifindex) {
    requireRange('ifindex', ifindex, 1, 0x7fff_ffff);
    return U32.encode(ifindex);
  },
};

const IDS = new Struct('host interface', { egressId: 'u32', ingressId: 'u32' });

/**
 * Values of the map host_interfaces. Throws RangeError for an id that is neither in range nor
 * AGGREGATE_ID_NONE.
 */
export const HOST_INTERFACE: SizedCodec<HostInterface> = {
  size: IDS.size,
  encode(ids) {
    for (const name of ['egressId', 'ingressId'] as const)
      if (ids[name] !== AGGREGATE_ID_NONE)
        requireRange(name, ids[name], AGGREGATE_ID_MIN, AGGREGATE_ID_MAX);
    return IDS.encode(ids);
  },
  decode: (value) => IDS.decode(value),
};

/** Headers and trailers, without padding and what only each packet tells. */
export function addedBytes({ frameBytes, innerBytes = 0 }: FrameOverhead): number {
  return frameBytes + innerBytes;
}

const OVERHEAD = new Struct('frame overhead', {
  ...{ frameBytes: 'u32', align: 'u16', innerBytes: 'u16', mtu: 'u32', told: 'u32' },
});

/** Whether two entries of upper_exits are the same. */
export function isSameFrameOverhead(a: FrameOverhead, b: FrameOverhead): boolean {
  const names = Object.keys(OVERHEAD.offsets) as (keyof FrameOverhead)[];
  return names.every((name) => (a[name] ?? 0) === (b[name] ?? 0));
}

/** Values of the map upper_exits. Throws RangeError when a number is out of range. */
export const FRAME_OVERHEAD: SizedCodec<FrameOverhead> = {
  size: OVERHEAD.size,
  encode: (overhead) => OVERHEAD.encode(overhead),
  decode(value) {
    const { innerBytes, told, ...base } = OVERHEAD.decode(value);
    return { ...base, ...(innerBytes > 0 && { innerBytes }), ...(told > 0 && { told }) };
  },
};
