// The compiled programs of podpace in the kernel, on maps of their own, with a way to send packets
// through them.

import path from 'node:path';
import { deleteElement, mapKeys, pinObject, updateElement } from '../../helper/kernel/bpf.ts';
import type { LoadedObject } from '../../helper/kernel/bpf-loader.ts';
import type { MapPages } from '../../helper/kernel/map-pages.ts';
import { testRun } from '../../helper/kernel/bpf-test-run.ts';
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
import { encodeAddress } from '../../helper/wire/ip-address.ts';
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

/** Verdicts of linux/pkt_cls.h. */
export const TC_ACT_UNSPEC = -1;
export const TC_ACT_SHOT = 2;

/** The device that a test run's packets are on: loopback. */
const TEST_IFINDEX = 1;

/** A packet for the program under test. */
export interface TestPacket {
  readonly queueMapping?: number;
  readonly tcIndex?: number;
  readonly tstampNs?: bigint;
  /** At most 65536: a test run takes no more. */
  readonly wireLen?: number;
  /** Number of a flow: packets of one flow have the same addresses and ports. */
  readonly flow?: number;
  /** The two ECN bits of the IP header. */
  readonly ecn?: number;
  /** What the frame says it carries, IPv4 when absent. */
  readonly etherType?: number;
  /** IPv4 or, for a frame of that type, IPv6. */
  readonly source?: string;
  readonly destination?: string;
  readonly gsoSegs?: number;
  /** Link address that it goes to; the host's own when absent. */
  readonly mac?: readonly number[];
  readonly priority?: number;
  /** Flags and offset of a fragment, as the header of IPv4 has them. */
  readonly fragment?: number;
  /** What the IP header says that it carries, UDP when absent. */
  readonly protocol?: number;
  /** The device that it came in by. */
  readonly ingressIfindex?: number;
  /** The classifier has seen it as IP, and by now it is under two VLAN tags. */
  readonly wasIp?: true;
  /** Its time is one of CLOCK_TAI; only where the time that it comes out with is asked for. */
  readonly isTai?: true;
}

/** The two fields that an aggregate's id stands in. */
export interface Signs {
  readonly queueMapping: number;
  readonly tcIndex: number;
}

/** What became of it. */
export interface TestOutcome {
  readonly verdict: number;
  readonly tstampNs: bigint;
}

/** What became of it, and what only shows on the packet. */
export interface TestDetails extends TestOutcome {
  readonly flowHash: number;
  readonly ecn: number;
  readonly priority: number;
}

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

const ECN_OFFSET = 15;
/** In struct __sk_buff. */
const [PRIORITY_OFFSET, INGRESS_IFINDEX_OFFSET] = [32, 36];
const PROTOCOL_UDP = 17;
export const ETHER_TYPE_IPV4 = 0x0800;
export const ETHER_TYPE_IPV6 = 0x86dd;
export const ETHER_TYPE_ARP = 0x0806;
/** A frame with two VLAN tags (IEEE 802.1ad). */
export const ETHER_TYPE_QINQ = 0x88a8;
export const ETHER_TYPE_MPLS = 0x8847;

/**
 * An Ethernet frame with an IPv4 header and UDP ports; what the wire length says may be much
 * longer.
 */
export function frameOf(packet: TestPacket): Buffer {
  const frame = packet.etherType === ETHER_TYPE_IPV6 ? ipv6FrameOf(packet) : ipv4FrameOf(packet);
  frame.set(packet.mac ?? []);
  return frame;
}

function ipv4FrameOf({
  flow = 0,
  ecn = 0,
  etherType = ETHER_TYPE_IPV4,
  ...ends
}: TestPacket): Buffer {
  const {
    source = '10.0.0.1',
    destination = '10.0.0.2',
    fragment = 0,
    protocol = PROTOCOL_UDP,
  } = ends;
  const frame = Buffer.alloc(60);
  frame.writeUInt16BE(etherType, 12);
  frame[14] = 0x45;
  frame[ECN_OFFSET] = ecn;
  frame.writeUInt16BE(frame.length - 14, 16);
  frame.writeUInt16BE(fragment, 20);
  frame[22] = 64;
  frame[23] = protocol;
  encodeAddress(source).copy(frame, 26);
  encodeAddress(destination).copy(frame, 30);
  frame.writeUInt32BE(flow, 34);
  return frame;
}

function ipv6FrameOf({ protocol = PROTOCOL_UDP, ...ends }: TestPacket): Buffer {
  const { source = '2001:db8::1', destination = '2001:db8::2' } = ends;
  const frame = Buffer.alloc(62);
  frame.writeUInt16BE(ETHER_TYPE_IPV6, 12);
  frame[14] = 0x60;
  frame.writeUInt16BE(frame.length - 54, 18);
  frame[20] = protocol;
  frame[21] = 64;
  encodeAddress(source).copy(frame, 22);
  encodeAddress(destination).copy(frame, 38);
  return frame;
}

/** `REPORT` of test/bpf/enter.bpf.c. */
const [RUN, RUN_AND_REPORT, RUN_TAGGED, RUN_TAI_AND_REPORT] = [0, 1, 3, 4];

/** struct __sk_buff of linux/bpf.h, with the orders to test/bpf/enter.bpf.c in cb. */
export function encodeContext(
  { queueMapping = 0, tcIndex = 0, tstampNs = 0n, wireLen = 62, gsoSegs = 0, ...more }: TestPacket,
  report: number = RUN,
): Buffer {
  const { priority = 0, ingressIfindex = 0 } = more;
  const context = Buffer.alloc(192);
  context.writeUInt32LE(ingressIfindex, INGRESS_IFINDEX_OFFSET);
  context.writeUInt32LE(priority, PRIORITY_OFFSET);
  context.writeUInt16LE(queueMapping, 48);
  context.writeUInt16LE(tcIndex, 50);
  context.writeBigUInt64LE(tstampNs, 52);
  context.writeUInt32LE(report, 60);
  context.writeUInt32LE(wireLen, 160);
  context.writeUInt32LE(gsoSegs, 164);
  return context;
}

/**
 * Sends one packet `repeat` times through a loaded `enter`. What became of it is that of the last
 * time.
 */
export function sendThrough(enterFd: number, packet: TestPacket, repeat = 1): TestDetails {
  const report = packet.wasIp ? RUN_TAGGED : RUN;
  const run = testRun(enterFd, {
    data: frameOf(packet),
    context: encodeContext(packet, report),
    repeat,
  });
  return {
    verdict: run.returnValue,
    tstampNs: run.contextOut.readBigUInt64LE(152),
    flowHash: run.contextOut.readUInt32LE(64),
    ecn: (run.dataOut[ECN_OFFSET] ?? 0) & 3,
    priority: run.contextOut.readUInt32LE(PRIORITY_OFFSET),
  };
}

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
    const { contextOut } = this.#report(packet);
    return { queueMapping: contextOut.readUInt16LE(8), tcIndex: contextOut.readUInt16LE(10) };
  }

  /**
   * Sends one packet and returns the time that it comes out with, and which clock that is of:
   * `tstamp_type`.
   */
  timeAfter(packet: TestPacket): { readonly tstampNs: bigint; readonly clock: number } {
    const { contextOut } = this.#report(packet);
    return { tstampNs: contextOut.readBigUInt64LE(152), clock: contextOut.readUInt32LE(64) };
  }

  #report(packet: TestPacket): { readonly contextOut: Buffer } {
    const enterFd = programFd(this.#enter, 'enter');
    const context = encodeContext(packet, packet.isTai ? RUN_TAI_AND_REPORT : RUN_AND_REPORT);
    return testRun(enterFd, { data: frameOf(packet), context, repeat: 2 });
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
