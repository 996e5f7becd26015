// Keys and values of the maps that the helper shares with bpf/podpace.bpf.c, byte for byte the
// structs there and in bpf/departure.h. Everything is in the machine's own byte order, which is
// little-endian where podpace runs.

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

/** Bytes of a value of the map aggregate_config. */
export const AGGREGATE_CONFIG_SIZE = 32;
/** Bytes of one CPU's value in the map aggregate_counters. */
export const AGGREGATE_COUNTERS_SIZE = 208;
const EXEMPTIONS_OFFSET = 28;
/** Aggregates whose state and counters stand in one page. */
export const AGGREGATES_PER_PAGE = 64;
/** Where the clock stands in an aggregate's state. */
export const AGGREGATE_CLOCK_OFFSET = 0;
/** Bytes of a value of the map host_interfaces. */
export const HOST_INTERFACE_SIZE = 8;
/** Bytes of a value of the map upper_exits. */
export const FRAME_OVERHEAD_SIZE = 16;

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

/** The counters of struct aggregate_counters, in its order. */
const COUNTER_NAMES = [
  /** Accepted. */
  'packets',
  /** Accepted, wire length. */
  'bytes',
  /** Accepted, but not to leave at once. */
  'delayed',
  /** Accepted, of sparse flows: ahead of the bulk. */
  'sparse',
  'ceMarked',
  'droppedHorizon',
  'droppedAqm',
  'droppedFlow',
  /** Times that a damaged clock was put right. */
  'repaired',
] as const;

export type CounterName = (typeof COUNTER_NAMES)[number];

/** Of each counter what a function says of its name. */
export function eachCounter<T>(of: (name: CounterName) => T): Record<CounterName, T> {
  const counters = COUNTER_NAMES.map((name) => [name, of(name)]);
  return Object.fromEntries(counters) as Record<CounterName, T>;
}

/** Words in front of the histogram: the counters and a reserved one. */
const SOJOURN_WORD = 10;

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

/** Where each number of a frame overhead stands, and its bits. */
const FRAME_OVERHEAD_FIELDS = [
  ['frameBytes', 0, 32],
  ['align', 4, 16],
  ['innerBytes', 6, 16],
  ['mtu', 8, 32],
  ['told', 12, 32],
] as const;

function requireRange(what: string, value: number, min: number, max: number): void {
  if (Number.isSafeInteger(value) && value >= min && value <= max) return;
  throw new RangeError(`Cannot encode ${what} ${value}: expected an integer from ${min} to ${max}`);
}

function requireLength(what: string, value: Buffer, length: number): void {
  if (value.length === length) return;
  throw new RangeError(`Cannot decode ${what}: ${value.length} bytes, expected ${length}`);
}

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

/** Key of those of these maps that have no pages. Throws RangeError for an id out of range. */
export function encodeAggregateKey(id: number): Buffer {
  const key = Buffer.alloc(4);
  key.writeUInt32LE(aggregateIndex(id));
  return key;
}

/**
 * The durations of struct aggregate_config behind the rate, in its order; the exemptions follow.
 */
const DURATION_NAMES = [
  'horizonNs',
  'idleCreditNs',
  'sparseCreditNs',
  'targetNs',
  'intervalNs',
] as const;

/** Value of the map aggregate_config. Throws RangeError when a number is out of range. */
export function encodeAggregateConfig(config: AggregateConfig): Buffer {
  requireRange('rateBytesPerSec', config.rateBytesPerSec, 0, RATE_MAX_BYTES_PER_SEC);
  const value = Buffer.alloc(AGGREGATE_CONFIG_SIZE);
  value.writeBigUInt64LE(BigInt(config.rateBytesPerSec), 0);
  for (const [index, name] of DURATION_NAMES.entries()) {
    requireRange(name, config[name], 0, DURATION_MAX_NS);
    value.writeUInt32LE(config[name], 8 + index * 4);
  }
  requireRange('exemptions', config.exemptions, 0, EXEMPT_OWN | EXEMPT_NODE);
  value.writeUInt32LE(config.exemptions, EXEMPTIONS_OFFSET);
  return value;
}

/**
 * Reads a value of aggregate_config, also a damaged one that encodeAggregateConfig would refuse: a
 * rate beyond 2^53 comes out rounded, and so unequal to any that is valid.
 */
export function decodeAggregateConfig(value: Buffer): AggregateConfig {
  requireLength('aggregate config', value, AGGREGATE_CONFIG_SIZE);
  return {
    rateBytesPerSec: Number(value.readBigUInt64LE(0)),
    horizonNs: value.readUInt32LE(8),
    idleCreditNs: value.readUInt32LE(12),
    sparseCreditNs: value.readUInt32LE(16),
    targetNs: value.readUInt32LE(20),
    intervalNs: value.readUInt32LE(24),
    exemptions: value.readUInt32LE(EXEMPTIONS_OFFSET),
  };
}

/** Reads the clock in a value of aggregate_state, whatever follows it there. */
export function decodeAggregateClock(value: Buffer): AggregateClock {
  if (value.length < AGGREGATE_CLOCK_OFFSET + 8) {
    throw new RangeError(`Cannot decode aggregate state: ${value.length} bytes hold no clock`);
  }
  return { lastNs: value.readBigUInt64LE(AGGREGATE_CLOCK_OFFSET) };
}

/** Sets the clock in a value of aggregate_state, and the copy of it that stands behind. */
export function writeAggregateClock(value: Buffer, { lastNs }: AggregateClock): void {
  for (const offset of [AGGREGATE_CLOCK_OFFSET, AGGREGATE_CLOCK_OFFSET + 8])
    value.writeBigUInt64LE(lastNs, offset);
}

/** Reads one CPU's value of aggregate_counters. */
export function decodeAggregateCounters(value: Buffer): AggregateCounters {
  requireLength('aggregate counters', value, AGGREGATE_COUNTERS_SIZE);
  const word = (index: number): bigint => value.readBigUInt64LE(index * 8);
  return {
    ...eachCounter((name) => word(COUNTER_NAMES.indexOf(name))),
    sojourn: Array.from({ length: SOJOURN_BUCKETS }, (_, bucket) => word(SOJOURN_WORD + bucket)),
  };
}

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

/** Key of the map host_interfaces. */
export function encodeInterfaceKey(ifindex: number): Buffer {
  requireRange('ifindex', ifindex, 1, 0x7fff_ffff);
  const key = Buffer.alloc(4);
  key.writeUInt32LE(ifindex);
  return key;
}

/** Reads a key of host_interfaces: the ifindex. */
export function decodeInterfaceKey(key: Buffer): number {
  requireLength('interface key', key, 4);
  return key.readUInt32LE(0);
}

function requireIdOrNone(what: string, id: number): void {
  if (id !== AGGREGATE_ID_NONE) requireRange(what, id, AGGREGATE_ID_MIN, AGGREGATE_ID_MAX);
}

/**
 * Value of the map host_interfaces. Throws RangeError for an id that is neither in range nor
 * AGGREGATE_ID_NONE.
 */
export function encodeHostInterface(hostInterface: HostInterface): Buffer {
  requireIdOrNone('egressId', hostInterface.egressId);
  requireIdOrNone('ingressId', hostInterface.ingressId);
  const value = Buffer.alloc(HOST_INTERFACE_SIZE);
  value.writeUInt32LE(hostInterface.egressId, 0);
  value.writeUInt32LE(hostInterface.ingressId, 4);
  return value;
}

/** Reads a value of host_interfaces. */
export function decodeHostInterface(value: Buffer): HostInterface {
  requireLength('host interface', value, HOST_INTERFACE_SIZE);
  return { egressId: value.readUInt32LE(0), ingressId: value.readUInt32LE(4) };
}

/** Headers and trailers, without padding and what only each packet tells. */
export function addedBytes({ frameBytes, innerBytes = 0 }: FrameOverhead): number {
  return frameBytes + innerBytes;
}

/** Whether two entries of upper_exits are the same. */
export function isSameFrameOverhead(a: FrameOverhead, b: FrameOverhead): boolean {
  return FRAME_OVERHEAD_FIELDS.every(([name]) => (a[name] ?? 0) === (b[name] ?? 0));
}

/** Value of the map upper_exits. Throws RangeError when a number is out of range. */
export function encodeFrameOverhead(overhead: FrameOverhead): Buffer {
  const value = Buffer.alloc(FRAME_OVERHEAD_SIZE);
  for (const [name, offset, bits] of FRAME_OVERHEAD_FIELDS) {
    const number = overhead[name] ?? 0;
    requireRange(name, number, 0, 2 ** bits - 1);
    value.writeUIntLE(number, offset, bits / 8);
  }
  return value;
}

/** Reads a value of upper_exits. */
export function decodeFrameOverhead(value: Buffer): FrameOverhead {
  requireLength('frame overhead', value, FRAME_OVERHEAD_SIZE);
  const innerBytes = value.readUInt16LE(6);
  const told = value.readUInt32LE(12);
  return {
    ...{
      frameBytes: value.readUInt32LE(0),
      align: value.readUInt16LE(4),
      mtu: value.readUInt32LE(8),
    },
    ...(innerBytes > 0 && { innerBytes }),
    ...(told > 0 && { told }),
  };
}
