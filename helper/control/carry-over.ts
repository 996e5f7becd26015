// Counters and clocks of aggregates that do not stand in the maps of a former layout any more but
// in ours.
//
// The clock. While programs are replaced one by one both layouts charge packets of one aggregate,
// each on its own clock, and what the one has granted the other does not know. So ours are closed
// until no former program is left: their links are busy for CLOSED_NS from now on, nothing is lent
// and nobody waits, and whoever asks is dropped and not charged. Then the former clock stands
// still, and ours goes on from where it stands: the slots that were granted by both are those of
// one link, and never more than the cap. What is lost are the packets that came to our programs
// before the last former one was gone, which is milliseconds with a few pods, and grows with their
// number. A former clock that cannot be read may be ahead by as much as its horizon and one packet,
// and is taken to be.
//
// Counters are copied before, and what the former ones have counted meanwhile is added afterwards.
// What is counted in the microseconds of that addition is lost.
//
// Whoever goes on with an upgrade that another process has begun knows by its settings whether an
// aggregate is still closed, and adds nothing to counters that have been copied.

import { lookupElement, mapInfo, updateElement } from '../kernel/bpf.ts';
import type { LoadedPodpace } from '../kernel/bpf-loader.ts';
import { MapPages } from '../kernel/map-pages.ts';
import type { MapUpgrade } from '../kernel/map-upgrade.ts';
import {
  AGGREGATE_CONFIG,
  AGGREGATE_KEY,
  aggregateIndex,
  aggregatePage,
  AGGREGATES_PER_PAGE,
  decodeAggregateClock,
  isConfigInUse,
  writeAggregateClock,
  type AggregateConfig,
} from '../wire/aggregate.ts';

/**
 * Longer than any upgrade, and still so near that the departure step takes it for true
 * (HORIZON_MAX_NS).
 */
const CLOSED_NS = 4_000_000_000n;

/** The shortest that the departure step knows; nothing is lent, nothing is signalled. */
const CLOSED_HORIZON_NS = 1_000_000;
const CLOSED = {
  horizonNs: CLOSED_HORIZON_NS,
  idleCreditNs: 0,
  sparseCreditNs: 0,
  targetNs: 0,
} as const;

/**
 * The largest packet that a pod's interface hands on by default, headers of its segments included.
 */
const PACKET_BYTES = 70_000;

function isClosed(config: AggregateConfig): boolean {
  return (Object.keys(CLOSED) as (keyof typeof CLOSED)[]).every(
    (name) => config[name] === CLOSED[name],
  );
}

function packetNs({ rateBytesPerSec }: AggregateConfig): bigint {
  return BigInt(Math.ceil((PACKET_BYTES * 1e9) / rateBytesPerSec));
}

function later(a: bigint, b: bigint): bigint {
  return a > b ? a : b;
}

/** Adds what `now` has more than `before`, word by word. */
function addGrowth(value: Buffer, now: Buffer, before: Buffer): void {
  for (let at = 0; at + 8 <= value.length; at += 8) {
    const growth = now.readBigUInt64LE(at) - before.readBigUInt64LE(at);
    value.writeBigUInt64LE(BigInt.asUintN(64, value.readBigUInt64LE(at) + growth), at);
  }
}

export class CarryOver {
  readonly #loaded: LoadedPodpace;
  readonly #upgrade: MapUpgrade;
  /** Pages of the former maps, of those that are not shared. */
  readonly #states: MapPages | undefined;
  readonly #counters: MapPages | undefined;
  /** Aggregates in use, with their settings. */
  readonly #aggregates: ReadonlyMap<number, AggregateConfig>;
  /** Counters as they were copied, of each CPU, in our layout. */
  readonly #copied = new Map<number, readonly Buffer[]>();

  constructor(loaded: LoadedPodpace, upgrade: MapUpgrade) {
    this.#loaded = loaded;
    this.#upgrade = upgrade;
    this.#states = this.#formerPages('aggregate_state');
    this.#counters = this.#formerPages('aggregate_counters');
    const isNeeded = this.#states !== undefined || this.#counters !== undefined;
    this.#aggregates = new Map(isNeeded ? loaded.maps.aggregateConfig.entries(isConfigInUse) : []);
  }

  /** Call before the first program is replaced. */
  begin(): void {
    if (this.#upgrade.isResumed) return;
    for (const [id, config] of this.#aggregates) {
      if (this.#states !== undefined) this.#close(id, config);
      if (this.#counters !== undefined) this.#copyCounters(id);
    }
  }

  /** Call when no program charges packets in the former maps any more. */
  end(): void {
    if (this.#aggregates.size > 0) this.#loaded.pages.aggregateState.waitForPrograms();
    if (this.#states !== undefined) for (const id of this.#aggregates.keys()) this.#open(id);
    for (const [id, before] of this.#copied) this.#addCounters(id, before);
    this.#states?.close();
    this.#counters?.close();
  }

  #formerPages(name: string): MapPages | undefined {
    const fd = this.#upgrade.formerMap(name);
    if (fd === undefined) return undefined;
    const page = {
      type: 0,
      name: '',
      keySize: 4,
      valueSize: 0,
      maxEntries: AGGREGATES_PER_PAGE,
      flags: 0,
    };
    return new MapPages(fd, page);
  }

  /** The settings that the former layout had, in ours. */
  #formerConfig(id: number): Buffer | undefined {
    const fd = this.#upgrade.formerMap('aggregate_config');
    if (fd === undefined) return undefined;
    const value = lookupElement(fd, AGGREGATE_KEY.encode(id), mapInfo(fd).valueSize);
    return value && this.#upgrade.convert('aggregate_config', value, AGGREGATE_CONFIG.size);
  }

  /**
   * An aggregate's state in the former layout, in ours; undefined when there is none, or nothing
   * can be made of it.
   */
  #formerState(id: number): Buffer | undefined {
    const value = this.#states?.get(aggregateIndex(id));
    const { valueSize } = this.#loaded.pages.aggregateState;
    return value && this.#upgrade.convert('aggregate_state', value, valueSize);
  }

  #close(id: number, config: AggregateConfig): void {
    const pages = this.#loaded.pages.aggregateState;
    this.#writeState(id, Buffer.alloc(pages.valueSize), process.hrtime.bigint() + CLOSED_NS);
    this.#loaded.maps.aggregateConfig.set(id, { ...config, ...CLOSED });
  }

  #open(id: number): void {
    const settings = this.#formerConfig(id);
    const found = this.#aggregates.get(id);
    // Opened by the process whose upgrade this one goes on with: its clock is right, and running.
    if (
      settings === undefined ||
      found === undefined ||
      (this.#upgrade.isResumed && !isClosed(found))
    )
      return;
    const config = AGGREGATE_CONFIG.decode(settings);
    const nowNs = process.hrtime.bigint();
    const state = this.#formerState(id);
    const formerNs =
      state === undefined
        ? nowNs + BigInt(config.horizonNs) + packetNs(config)
        : decodeAggregateClock(state).lastNs;
    const value = state ?? Buffer.alloc(this.#loaded.pages.aggregateState.valueSize);
    this.#writeState(id, value, later(formerNs, this.#chargedNs(id, nowNs, config)));
    updateElement(this.#loaded.maps.aggregateConfig.fd, AGGREGATE_KEY.encode(id), settings);
  }

  /**
   * Until when packets have been charged on a clock of ours that was closed; 0 for none, as is
   * right while it was.
   */
  #chargedNs(id: number, nowNs: bigint, config: AggregateConfig): bigint {
    const state = this.#loaded.pages.aggregateState.get(aggregateIndex(id));
    if (state === undefined) return 0n;
    const { lastNs } = decodeAggregateClock(state);
    return lastNs > nowNs + BigInt(CLOSED_HORIZON_NS) + packetNs(config) ? 0n : lastNs;
  }

  #writeState(id: number, state: Buffer, lastNs: bigint): void {
    const pages = this.#loaded.pages.aggregateState;
    pages.make(aggregatePage(id));
    writeAggregateClock(state, { lastNs });
    pages.set(aggregateIndex(id), state);
  }

  /**
   * An aggregate's counters in the former layout, in ours; undefined when there are none, or
   * nothing can be made of them.
   */
  #formerCounters(id: number): Buffer[] | undefined {
    const values = this.#counters?.getEachCpu(aggregateIndex(id)) ?? [];
    const { valueSize } = this.#loaded.pages.aggregateCounters;
    const converted = values.flatMap(
      (value) => this.#upgrade.convert('aggregate_counters', value, valueSize) ?? [],
    );
    return converted.length === values.length && converted.length > 0 ? converted : undefined;
  }

  #copyCounters(id: number): void {
    const counters = this.#formerCounters(id);
    const pages = this.#loaded.pages.aggregateCounters;
    pages.make(aggregatePage(id));
    if (counters === undefined) return;
    pages.setEachCpu(aggregateIndex(id), counters);
    this.#copied.set(id, counters);
  }

  #addCounters(id: number, before: readonly Buffer[]): void {
    const now = this.#formerCounters(id);
    if (now === undefined || Buffer.concat(now).equals(Buffer.concat(before))) return;
    const pages = this.#loaded.pages.aggregateCounters;
    const values = pages.getEachCpu(aggregateIndex(id));
    if (values.length === 0) return;
    for (const [cpu, value] of values.entries())
      addGrowth(value, now[cpu] ?? value, before[cpu] ?? value);
    pages.setEachCpu(aggregateIndex(id), values);
  }
}
