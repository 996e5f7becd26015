// Packets of BPF_PROG_TEST_RUN: they go through a program and nowhere else.

import { testRun } from '../../helper/kernel/bpf-test-run.ts';
import { encodeAddress } from '../../helper/wire/ip-address.ts';

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

/** What became of it. */
export interface TestOutcome {
  readonly verdict: number;
  readonly tstampNs: bigint;
}

/** What became of it, what only shows on the packet, and the mean time of a run. */
export interface TestDetails extends TestOutcome {
  readonly flowHash: number;
  readonly ecn: number;
  readonly priority: number;
  readonly durationNs: number;
}

/** The two fields that an aggregate's id stands in. */
export interface Signs {
  readonly queueMapping: number;
  readonly tcIndex: number;
}

/** What it comes out with; `clock` is the one that the time is of: `tstamp_type`. */
export interface TestReport extends Signs {
  readonly tstampNs: bigint;
  readonly clock: number;
}

const ECN_OFFSET = 15;
/** In struct __sk_buff. */
const [PRIORITY_OFFSET, INGRESS_IFINDEX_OFFSET, TSTAMP_OFFSET] = [32, 36, 152];
/** In its cb, where test/bpf/enter.bpf.c leaves the hash, and in a report the clock. */
const FLOW_HASH_OFFSET = 64;
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
function frameOf(packet: TestPacket): Buffer {
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
function encodeContext(
  { queueMapping = 0, tcIndex = 0, tstampNs = 0n, wireLen = 62, gsoSegs = 0, ...more }: TestPacket,
  report: number,
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
 * Sends one packet `repeat` times through a loaded program, such as `enter` of that file. What
 * became of it is that of the last time. KernelError EINTR when a signal ended it early, for
 * instance that of a child's end; some of the packets have been sent then.
 */
export function sendThrough(programFd: number, packet: TestPacket, repeat = 1): TestDetails {
  const context = encodeContext(packet, packet.wasIp ? RUN_TAGGED : RUN);
  const run = testRun(programFd, { data: frameOf(packet), context, repeat });
  return {
    verdict: run.returnValue,
    tstampNs: run.contextOut.readBigUInt64LE(TSTAMP_OFFSET),
    flowHash: run.contextOut.readUInt32LE(FLOW_HASH_OFFSET),
    ecn: (run.dataOut[ECN_OFFSET] ?? 0) & 3,
    priority: run.contextOut.readUInt32LE(PRIORITY_OFFSET),
    durationNs: run.durationNs,
  };
}

/** Sends one packet through `enter`, which reports what it comes out with. */
export function reportThrough(enterFd: number, packet: TestPacket): TestReport {
  const context = encodeContext(packet, packet.isTai ? RUN_TAI_AND_REPORT : RUN_AND_REPORT);
  const { contextOut } = testRun(enterFd, { data: frameOf(packet), context, repeat: 2 });
  return {
    queueMapping: contextOut.readUInt16LE(8),
    tcIndex: contextOut.readUInt16LE(10),
    tstampNs: contextOut.readBigUInt64LE(TSTAMP_OFFSET),
    clock: contextOut.readUInt32LE(FLOW_HASH_OFFSET),
  };
}
