// Options of the fq qdisc: TCA_FQ_* of linux/pkt_sched.h. Attributes that later kernels added
// (priority bands, weights, offload horizon) are not written, and read only to tell whether
// somebody has chosen them.

import { Attributes, AttributeTable, WireError } from './attributes.ts';

const QUANTUM = 3;
const INITIAL_QUANTUM = 4;
/** TCA_FQ_*. */
const OPTIONS = new AttributeTable({
  limitPackets: [1, 'u32'],
  flowLimitPackets: [2, 'u32'],
  quantumBytes: [QUANTUM, 'u32'],
  initialQuantumBytes: [INITIAL_QUANTUM, 'u32'],
  flowMaxRateBytesPerSec: [7, 'u32'],
  flowRefillDelayUs: [9, 'u32'],
  orphanMask: [10, 'u32'],
  lowRateThresholdBytesPerSec: [11, 'u32'],
  ceThresholdUs: [12, 'u32'],
  timerSlackNs: [13, 'u32'],
  horizonUs: [14, 'u32'],
  bucketsLog: [8, 'u32'],
  rateEnable: [5, 'u32'],
  horizonDropByte: [15, 'u8'],
});

/** The kernel's bound on TCA_FQ_BUCKETS_LOG (ilog2(256 K), net/sched/sch_fq.c). */
const MAX_BUCKETS_LOG = 18;

/** What can be set on an fq qdisc; what is absent keeps the kernel's default. */
export interface FqOptions {
  /** Packets that the qdisc holds before it drops. */
  readonly limitPackets?: number;
  /** Packets that one flow may hold. */
  readonly flowLimitPackets?: number;
  /** Hash buckets for flows: a power of two from 2 to 262144. */
  readonly buckets?: number;
  /** Bits of the hash by which packets without a socket are put into flows. */
  readonly orphanMask?: number;
  /** How far ahead of now a departure time may lie, in microseconds. */
  readonly horizonUs?: number;
  /** True: packets beyond the horizon are dropped. False: their departure time is cut to it. */
  readonly horizonDrop?: boolean;
  /** Bytes that a flow may send per round. */
  readonly quantumBytes?: number;
  /** Bytes that a new flow may send at first. */
  readonly initialQuantumBytes?: number;
  /**
   * True: TCP sockets that send here pace themselves, as many as there are. Departure times hold
   * either way.
   */
  readonly pacing?: boolean;
  /** Highest rate of one flow, in bytes per second. */
  readonly flowMaxRateBytesPerSec?: number;
  /** After this idle time, in microseconds, a flow gets its quantum again. */
  readonly flowRefillDelayUs?: number;
  /** Below this rate, in bytes per second, every packet is paced on its own. */
  readonly lowRateThresholdBytesPerSec?: number;
  /** Packets that waited longer, in microseconds, get a CE mark. */
  readonly ceThresholdUs?: number;
  /** How late the timer may fire, in nanoseconds, so that departures are taken together. */
  readonly timerSlackNs?: number;
}

/**
 * Content of TCA_OPTIONS for an fq qdisc. Throws RangeError for a number of buckets that the kernel
 * refuses.
 */
export function encodeFqOptions({ buckets, pacing, horizonDrop, ...numbers }: FqOptions): Buffer {
  return OPTIONS.encode({
    ...numbers,
    bucketsLog: buckets === undefined ? undefined : bucketsLog(buckets),
    rateEnable: pacing === undefined ? undefined : Number(pacing),
    horizonDropByte: horizonDrop === undefined ? undefined : Number(horizonDrop),
  });
}

/**
 * Decodes TCA_OPTIONS of an fq qdisc; fields the kernel did not report are absent. Throws
 * WireError.
 */
export function decodeFqOptions(bytes: Buffer): FqOptions {
  const { bucketsLog: log, rateEnable, horizonDropByte, ...numbers } = OPTIONS.decode(bytes);
  if (log !== undefined && log > MAX_BUCKETS_LOG) {
    throw new WireError(
      `Cannot decode fq options: 2^${log} buckets, 2^${MAX_BUCKETS_LOG} is the kernel's bound`,
    );
  }
  return {
    ...numbers,
    ...(log !== undefined && { buckets: 2 ** log }),
    ...(rateEnable !== undefined && { pacing: rateEnable !== 0 }),
    ...(horizonDropByte !== undefined && { horizonDrop: horizonDropByte !== 0 }),
  };
}

/**
 * Whether somebody has chosen an option of an fq: one that is not as in an `untouched` fq, which
 * this kernel made without being told anything. Both are contents of TCA_OPTIONS; every attribute
 * counts, also one that is not known here. Throws WireError.
 *
 * The two quanta follow the MTU that the device had when its fq was made (fq_init,
 * net/sched/sch_fq.c), which it need not have any more: they count when they are to each other as
 * no MTU has it.
 */
export function isTunedFq(options: Buffer, untouched: Buffer): boolean {
  const [own, usual] = [Attributes.decode(options), Attributes.decode(untouched)];
  const quanta = (attributes: Attributes): readonly [number, number] => [
    attributes.u32(QUANTUM) ?? 0,
    attributes.u32(INITIAL_QUANTUM) ?? 0,
  ];
  const [[quantum, initial], [usualQuantum, usualInitial]] = [quanta(own), quanta(usual)];
  if (initial * usualQuantum !== quantum * usualInitial) return true;
  const types = new Set([...own.types(), ...usual.types()]);
  return [...types].some((type) => {
    if (type === QUANTUM || type === INITIAL_QUANTUM) return false;
    const [value, usualValue] = [own.bytes(type), usual.bytes(type)];
    return value === undefined || usualValue === undefined || !value.equals(usualValue);
  });
}

function bucketsLog(buckets: number): number {
  const log = Math.log2(buckets);
  if (Number.isInteger(log) && log >= 1 && log <= MAX_BUCKETS_LOG) return log;
  throw new RangeError(
    `Cannot encode fq options: ${buckets} buckets, a power of two from 2 to 262144 is needed`,
  );
}
