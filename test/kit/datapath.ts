// The compiled programs of podpace in the kernel, on maps of their own, with a way to send packets
// through them.

import path from 'node:path';
import { deleteElement, mapKeys, pinObject, updateElement } from '../../helper/kernel/bpf.ts';
import type { LoadedObject } from '../../helper/kernel/bpf-loader.ts';
import type { MapPages } from '../../helper/kernel/map-pages.ts';
import {
  AGGREGATE_CLOCK,
  AGGREGATE_CONFIG,
  AGGREGATE_COUNTERS,
  aggregateIndex,
  aggregatePage,
  AGGREGATE_KEY,
  FRAME_OVERHEAD,
  HOST_INTERFACE,
  INTERFACE_KEY,
  sumAggregateCounters,
  type AggregateCounters,
  type FrameOverhead,
  type HostInterface,
} from '../../helper/wire/aggregate.ts';
import {
  encodeExemption,
  encodeExemptionKey,
  EXEMPTION_KEY_SIZE,
  parseExemption,
} from '../../helper/wire/exemption.ts';
import { decodeAggregateBook, type AggregateBook } from '../../helper/wire/book.ts';
import type { Clock, Config } from '../model/departure.ts';
import {
  giveBackPrograms,
  mapFd,
  programFd,
  putContinuation,
  takePrograms,
} from './shared-programs.ts';
import { mountTemporaryBpffs, type TemporaryBpffs } from '../bed/temporary-bpffs.ts';
import {
  reportThrough,
  sendThrough,
  type Signs,
  type TestDetails,
  type TestOutcome,
  type TestPacket,
  type TestReport,
} from '../bed/test-packet.ts';

/** Verdicts of linux/pkt_cls.h. */
export const TC_ACT_UNSPEC = -1;
export const TC_ACT_SHOT = 2;

/** The device that a test run's packets are on: loopback. */
const TEST_IFINDEX = 1;

/** An aggregate's state, as far as tests know it: bpf/podpace.bpf.c, struct aggregate_state. */
export interface AggregateState {
  readonly clock: Clock;
  /** What the latest packet was told, and when. */
  readonly latest: {
    readonly nowNs: bigint;
    readonly sojournNs: bigint;
    /** enum departure_verdict. */
    readonly verdict: number;
    readonly isRepaired: boolean;
  };
}

/**
 * struct aggregate_gate of bpf/podpace.bpf.c: the lock, and the clock of an aggregate without
 * state.
 */
export const AGGREGATE_GATE_SIZE = 16;

/**
 * Offsets in struct aggregate_state: those of struct departure_state, which it begins with, and
 * from the end.
 */
const CLOCK_COPY_OFFSET = AGGREGATE_CLOCK.lastNs + 8;
const PREPAID_OFFSET = AGGREGATE_CLOCK.lastNs + 16 + AGGREGATE_CONFIG.size;
const LATEST_FROM_END = 24;

/**
 * The programs, on empty maps, for the tests of one file; of the next one when this is closed.
 */
export class TestDatapath {
  readonly #podpace: LoadedObject;
  readonly #enter: LoadedObject;
  #pins: TemporaryBpffs | undefined;

  constructor() {
    const { podpace, enter } = takePrograms();
    this.#podpace = podpace;
    this.#enter = enter;
  }

  close(): void {
    this.#pins?.remove();
    giveBackPrograms();
  }

  /** Where another process finds the program that sends packets; it is pinned when first asked. */
  get enterPin(): string {
    const isPinned = this.#pins !== undefined;
    this.#pins ??= mountTemporaryBpffs();
    const pin = path.join(this.#pins.directory, 'enter');
    if (!isPinned) pinObject(programFd(this.#enter, 'enter'), pin);
    return pin;
  }

  /** Chooses which of podpace's programs the packets meet. */
  aimAt(program: string): void {
    const target = Buffer.alloc(4);
    target.writeUInt32LE(programFd(this.#podpace, program));
    updateElement(mapFd(this.#enter, 'under_test'), Buffer.alloc(4), target);
  }

  /** Settings with any numbers that fit their fields. */
  configure(id: number, config: Config, exemptions = 0): void {
    const value = Buffer.alloc(AGGREGATE_CONFIG.size);
    const { rateBytesPerSec, horizonNs, idleCreditNs, sparseCreditNs, targetNs, intervalNs } =
      config;
    value.writeUInt32LE(exemptions, AGGREGATE_CONFIG.size - 4);
    value.writeBigUInt64LE(rateBytesPerSec);
    for (const [index, ns] of [
      horizonNs,
      idleCreditNs,
      sparseCreditNs,
      targetNs,
      intervalNs,
    ].entries())
      value.writeUInt32LE(Number(ns), 8 + index * 4);
    this.writeConfig(id, value);
  }

  /** Any bytes, as damage would have them. */
  writeConfig(id: number, value: Buffer): void {
    for (const pages of this.#podpace.pages.values()) pages.make(aggregatePage(id));
    updateElement(mapFd(this.#podpace, 'aggregate_config'), AGGREGATE_KEY.encode(id), value);
  }

  /** Forgets an aggregate's clock, flows and counters. */
  forget(id: number): void {
    for (const pages of this.#podpace.pages.values()) pages.clear(aggregateIndex(id));
  }

  /**
   * Writes an aggregate's entry in aggregate_gates, of AGGREGATE_GATE_SIZE bytes, as damage would.
   */
  writeGate(id: number, value: Buffer): void {
    updateElement(mapFd(this.#podpace, 'aggregate_gates'), AGGREGATE_KEY.encode(id), value);
  }

  /** Takes away the page that an aggregate's state or counters stand in, as damage would. */
  losePage(
    id: number,
    map: 'aggregate_state' | 'aggregate_counters' | 'aggregate_books' = 'aggregate_state',
  ): void {
    this.#pages(map).remove(aggregatePage(id));
  }

  /**
   * Takes the program behind ingress caps away, as damage would; gives back how to put it there
   * again.
   */
  loseContinuation(): () => void {
    deleteElement(mapFd(this.#podpace, 'continuations'), Buffer.alloc(4));
    return () => putContinuation(this.#podpace);
  }

  makePage(id: number): void {
    this.#pages('aggregate_state').make(aggregatePage(id));
  }

  /**
   * Writes an aggregate's clock, and the copy of it: the same, when it is not given. All else is as
   * it was.
   */
  setClock(id: number, clock: Clock, copyNs = clock.lastNs): void {
    const value = this.#stateValue(id);
    if (value === undefined) throw new Error(`aggregate ${id} has no page`);
    value.writeBigUInt64LE(clock.lastNs, AGGREGATE_CLOCK.lastNs);
    value.writeBigUInt64LE(copyNs, CLOCK_COPY_OFFSET);
    value.writeUInt32LE(Number(clock.prepaid), PREPAID_OFFSET);
    this.#pages('aggregate_state').set(aggregateIndex(id), value);
  }

  /** Undefined while it has none. */
  state(id: number): AggregateState | undefined {
    const value = this.#stateValue(id);
    if (value === undefined) return undefined;
    const latest = value.subarray(-LATEST_FROM_END);
    return {
      clock: {
        lastNs: value.readBigUInt64LE(AGGREGATE_CLOCK.lastNs),
        prepaid: BigInt(value.readUInt32LE(PREPAID_OFFSET)),
      },
      latest: {
        nowNs: latest.readBigUInt64LE(16),
        sojournNs: latest.readBigUInt64LE(0),
        verdict: latest.readUInt32LE(8),
        isRepaired: latest.readUInt32LE(12) === 1,
      },
    };
  }

  /** At zero before the first packet. */
  clock(id: number): Clock {
    return this.state(id)?.clock ?? { lastNs: 0n, prepaid: 0n };
  }

  /** Of all CPUs together. */
  counters(id: number): AggregateCounters {
    const values = this.#pages('aggregate_counters').getEachCpu(aggregateIndex(id));
    return sumAggregateCounters(values.map((each) => AGGREGATE_COUNTERS.decode(each)));
  }

  /** Of all CPUs together. */
  book(id: number): AggregateBook {
    return decodeAggregateBook(this.#pages('aggregate_books').getEachCpu(aggregateIndex(id)));
  }

  /** A host interface entry for the device that the packets are on; undefined removes it. */
  setHostInterface(hostInterface: HostInterface | undefined): void {
    const map = mapFd(this.#podpace, 'host_interfaces');
    const key = INTERFACE_KEY.encode(TEST_IFINDEX);
    if (hostInterface === undefined) deleteElement(map, key);
    else updateElement(map, key, HOST_INTERFACE.encode(hostInterface));
  }

  /** What the device that the packets are on adds to each; undefined for nothing. */
  setOverhead(overhead: FrameOverhead | undefined): void {
    const map = mapFd(this.#podpace, 'upper_exits');
    const key = INTERFACE_KEY.encode(TEST_IFINDEX);
    if (overhead === undefined) deleteElement(map, key);
    else updateElement(map, key, FRAME_OVERHEAD.encode(overhead));
  }

  /** Replaces a list of exempt addresses, of an aggregate or of the node. */
  setExemptions(list: number, texts: readonly string[]): void {
    const map = mapFd(this.#podpace, 'exemptions');
    for (const key of mapKeys(map, EXEMPTION_KEY_SIZE))
      if (key.readUInt32LE(4) === list) deleteElement(map, key);
    for (const exemption of texts.map(parseExemption))
      updateElement(map, encodeExemptionKey(list, exemption), encodeExemption(exemption));
  }

  /** Sends one packet `repeat` times; the outcome is that of the last time. */
  send(packet: TestPacket, repeat = 1): TestOutcome {
    const { verdict, tstampNs } = this.sendForDetails(packet, repeat);
    return { verdict, tstampNs };
  }

  sendForDetails(packet: TestPacket, repeat = 1): TestDetails {
    return sendThrough(programFd(this.#enter, 'enter'), packet, repeat);
  }

  /** Sends one packet and returns what it comes out with. */
  signsAfter(packet: TestPacket): Signs {
    const { queueMapping, tcIndex } = this.#report(packet);
    return { queueMapping, tcIndex };
  }

  /** Sends one packet and returns the time that it comes out with, and which clock that is of. */
  timeAfter(packet: TestPacket): Pick<TestReport, 'tstampNs' | 'clock'> {
    const { tstampNs, clock } = this.#report(packet);
    return { tstampNs, clock };
  }

  #report(packet: TestPacket): TestReport {
    return reportThrough(programFd(this.#enter, 'enter'), packet);
  }

  #pages(name: string): MapPages {
    const pages = this.#podpace.pages.get(name);
    if (pages === undefined) throw new Error(`no pages ${name}`);
    return pages;
  }

  #stateValue(id: number): Buffer | undefined {
    return this.#pages('aggregate_state').get(aggregateIndex(id));
  }
}
