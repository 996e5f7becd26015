// Keys and values of the maps that the helper shares with bpf/podpace.bpf.c, byte for byte the structs there
// and in bpf/departure.h. Everything is in the machine's own byte order, which is little-endian where podpace runs.

/** Ids that the datapath knows; they lie above any receive queue that a driver records in queue_mapping. */
export const AGGREGATE_ID_MIN = 4096;
export const AGGREGATE_ID_MAX = 20479;

/** Stands for no aggregate in a HostInterface. */
export const AGGREGATE_ID_NONE = 0;

/** The fastest rate the departure step tells from a faster one: 1 Pbit/s. */
export const RATE_MAX_BYTES_PER_SEC = 125_000_000_000_000;

/** The longest horizon and burst that the map can hold, about 4.3 s. */
export const DURATION_MAX_NS = 0xffff_ffff;

/** Bytes of a value of the map aggregate_config. */
export const AGGREGATE_CONFIG_SIZE = 16;
/** Bytes of a value of the map aggregate_clock. */
export const AGGREGATE_CLOCK_SIZE = 64;
/** Bytes of a value of the map host_interfaces. */
export const HOST_INTERFACE_SIZE = 8;

/** struct aggregate_config: how an aggregate is paced. A rate of 0 marks an entry that is not in use. */
export interface AggregateConfig {
  readonly rateBytesPerSec: number;
  readonly horizonNs: number;
  readonly burstNs: number;
}

/** struct aggregate_clock: until when the aggregate has been charged. */
export interface AggregateClock {
  readonly lastNs: bigint;
  /** In 2^-16 ns; only the low 16 bits mean anything. */
  readonly prepaid: bigint;
}

/** struct host_interface: the aggregates of the pod behind a host interface. */
export interface HostInterface {
  readonly egressId: number;
  readonly ingressId: number;
}

function requireRange(what: string, value: number, min: number, max: number): void {
  if (Number.isSafeInteger(value) && value >= min && value <= max) return;
  throw new RangeError(`Cannot encode ${what} ${value}: expected an integer from ${min} to ${max}`);
}

function requireLength(what: string, value: Buffer, length: number): void {
  if (value.length === length) return;
  throw new RangeError(`Cannot decode ${what}: ${value.length} bytes, expected ${length}`);
}

/** Key of the maps aggregate_config and aggregate_clock. Throws RangeError for an id out of range. */
export function encodeAggregateKey(id: number): Buffer {
  requireRange('aggregate id', id, AGGREGATE_ID_MIN, AGGREGATE_ID_MAX);
  const key = Buffer.alloc(4);
  key.writeUInt32LE(id - AGGREGATE_ID_MIN);
  return key;
}

/** Value of the map aggregate_config. Throws RangeError when a number is out of range. */
export function encodeAggregateConfig(config: AggregateConfig): Buffer {
  requireRange('rateBytesPerSec', config.rateBytesPerSec, 0, RATE_MAX_BYTES_PER_SEC);
  requireRange('horizonNs', config.horizonNs, 0, DURATION_MAX_NS);
  requireRange('burstNs', config.burstNs, 0, DURATION_MAX_NS);
  const value = Buffer.alloc(AGGREGATE_CONFIG_SIZE);
  value.writeBigUInt64LE(BigInt(config.rateBytesPerSec), 0);
  value.writeUInt32LE(config.horizonNs, 8);
  value.writeUInt32LE(config.burstNs, 12);
  return value;
}

/**
 * Reads a value of aggregate_config, also a damaged one that encodeAggregateConfig would refuse: a rate beyond 2^53
 * comes out rounded, and so unequal to any that is valid.
 */
export function decodeAggregateConfig(value: Buffer): AggregateConfig {
  requireLength('aggregate config', value, AGGREGATE_CONFIG_SIZE);
  return {
    rateBytesPerSec: Number(value.readBigUInt64LE(0)),
    horizonNs: value.readUInt32LE(8),
    burstNs: value.readUInt32LE(12),
  };
}

/** Value of the map aggregate_clock. All zeroes is the clock of an aggregate that never sent. */
export function encodeAggregateClock(clock: AggregateClock): Buffer {
  const value = Buffer.alloc(AGGREGATE_CLOCK_SIZE);
  value.writeBigUInt64LE(clock.lastNs, 0);
  value.writeBigUInt64LE(clock.prepaid, 8);
  return value;
}

/** Reads a value of aggregate_clock. */
export function decodeAggregateClock(value: Buffer): AggregateClock {
  requireLength('aggregate clock', value, AGGREGATE_CLOCK_SIZE);
  return { lastNs: value.readBigUInt64LE(0), prepaid: value.readBigUInt64LE(8) };
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

/** Value of the map host_interfaces. Throws RangeError for an id that is neither in range nor AGGREGATE_ID_NONE. */
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
