// BPF_PROG_TEST_RUN: what a loaded program does to a packet that goes nowhere. For tests and
// benchmarks.

import { BpfAttr, COMMAND, TEST } from './bpf-attr.ts';

/** A packet and its metadata for testRun. */
export interface TestRunInput {
  /** The frame, Ethernet header first; at least 14 bytes. */
  readonly data: Buffer;
  /** struct __sk_buff; fields that cannot be set must be zero. */
  readonly context?: Buffer;
  /** How often the program runs over the same packet; its result is that of the last time. */
  readonly repeat?: number;
}

/** What a program did to the packet. */
export interface TestRunResult {
  readonly returnValue: number;
  readonly dataOut: Buffer;
  readonly contextOut: Buffer;
  /** Mean time of one run. */
  readonly durationNs: number;
}

/** BPF_PROG_TEST_RUN: runs a loaded program over a packet that goes nowhere. */
export function testRun(
  fd: number,
  { data, context = Buffer.alloc(0), repeat = 1 }: TestRunInput,
): TestRunResult {
  // Room for what a program may add in front.
  const dataOut = Buffer.alloc(data.length + 256);
  const contextOut = Buffer.alloc(context.length);
  const attr = new BpfAttr()
    .u32(TEST.progFd, fd)
    .u32(TEST.dataSizeIn, data.length)
    .u32(TEST.dataSizeOut, dataOut.length)
    .pointer(TEST.dataIn, data)
    .pointer(TEST.dataOut, dataOut)
    .u32(TEST.repeat, repeat)
    .u32(TEST.ctxSizeIn, context.length)
    .u32(TEST.ctxSizeOut, contextOut.length)
    .pointer(TEST.ctxIn, context)
    .pointer(TEST.ctxOut, contextOut);
  attr.call('run a BPF program on a test packet', COMMAND.PROG_TEST_RUN);
  return {
    // TC verdicts are signed: TC_ACT_UNSPEC is -1.
    returnValue: attr.readU32(TEST.retval) | 0,
    dataOut: dataOut.subarray(0, attr.readU32(TEST.dataSizeOut)),
    contextOut,
    durationNs: attr.readU32(TEST.duration),
  };
}
