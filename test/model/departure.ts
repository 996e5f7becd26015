// The oracle of the departure step: what bpf/departure.h must do, said again in integers without
// bounds.

import { FlowTable, type Flow } from './flow-table.ts';

const NS_PER_SEC = 1_000_000_000n;
const UNITS_PER_NS = 1n << 16n;
const COARSE_NS = 1024n;

export const RATE_MAX_BYTES_PER_SEC = 125_000_000_000_000n;
export const HORIZON_MIN_NS = 1_000_000n;
export const HORIZON_MAX_NS = 0xffff_ffffn;
export const CREDIT_MAX_NS = 20_000_000n;
export const INTERVAL_MIN_NS = 1_000_000n;
export const WIRE_LEN_MAX = 1n << 21n;
export const SMALL_WIRE_LEN = 576n;
const FAIR_TIME_AT_BOOT = 1n << 62n;
const SPARED_FRAMES = 2n;
const URGENT_TARGETS = 5n;
const URGENT_AHEAD_NS = 20_000_000n;
const DROPPED_SEGMENTS = 2n;
const RECOVERY_QUEUES = 4n;
const DROPPED_SHIFT = 16n;
const FULL_FRAME = 1514n;
const SPARSE_DIVISOR = 8n;
const SPARSE_ALLOWANCE_NS = 250_000n;
const SPARSE_MEMORY_NS = 100_000_000n;
const LOAN_PARTS = 16n;
const SIGNAL_COUNT_MAX = 1n << 20n;
const BULK_FLOWS_MAX = 65_535n;

/** An aggregate's settings, as they may stand in the map. */
export interface Config {
  readonly rateBytesPerSec: bigint;
  readonly horizonNs: bigint;
  readonly idleCreditNs: bigint;
  readonly sparseCreditNs: bigint;
  /** 0n: neither AQM nor fairness. */
  readonly targetNs: bigint;
  readonly intervalNs: bigint;
}

/**
 * The link is busy until lastNs, of whose last nanosecond `prepaid` units of 2^-16 ns are unused.
 */
export interface Clock {
  readonly lastNs: bigint;
  readonly prepaid: bigint;
}

/** A packet as the step sees it. */
export interface Packet {
  readonly nowNs: bigint;
  readonly tstampNs: bigint;
  readonly wireLen: bigint;
  /** 32 bits. */
  readonly flowHash: number;
  readonly isEcnCapable: boolean;
  /** On the link; 0n counts as one. */
  readonly segments: bigint;
  /** By others than the socket that sends it. */
  readonly isMerged: boolean;
  /** It cannot be held: so far its flow may be ahead of its share; 0n, or absent, when it can. */
  readonly policeNs?: bigint;
}

/** `enum departure_verdict`, in its order. */
export const VERDICTS = [
  'depart',
  'sparse',
  'marked',
  'drop-horizon',
  'drop-aqm',
  'drop-flow',
] as const;
export type Verdict = (typeof VERDICTS)[number];

/** What becomes of a packet. */
export interface Outcome {
  readonly verdict: Verdict;
  /** How long it waits; 0n for one that is dropped. */
  readonly sojournNs: bigint;
  readonly isRepaired: boolean;
}

/** Whether a packet is gone. */
export function isDrop({ verdict }: Outcome): boolean {
  return verdict.startsWith('drop');
}

export function max(a: bigint, b: bigint): bigint {
  return a > b ? a : b;
}

export function min(a: bigint, b: bigint): bigint {
  return a < b ? a : b;
}

function divideUp(dividend: bigint, divisor: bigint): bigint {
  return (dividend + divisor - 1n) / divisor;
}

/** How far a lies ahead of b. */
function ahead(a: bigint, b: bigint): bigint {
  return max(0n, a - b);
}

/** A moment as a flow keeps it. */
function droppedAtOf(nowNs: bigint): bigint {
  return BigInt.asUintN(32, nowNs >> DROPPED_SHIFT);
}

/** Time since a moment; for ever, when that has yet to come: then it was damaged. */
function since(momentNs: bigint, nowNs: bigint): bigint {
  return BigInt.asUintN(64, nowNs - momentNs);
}

/** Time of a packet on the virtual link. */
export interface Charge {
  /** In units of 2^-16 ns, rounded up; in whole nanoseconds from COARSE_NS on. */
  readonly units: bigint;
  /** In whole nanoseconds: rounded down below COARSE_NS, up from there on. */
  readonly ns: bigint;
}

/** What a packet is charged. */
export function chargeOf(rateBytesPerSec: bigint, wireLen: bigint): Charge {
  const byteNs = wireLen * NS_PER_SEC;
  const fullNs = byteNs / rateBytesPerSec;
  if (fullNs < COARSE_NS)
    return { units: divideUp(byteNs * UNITS_PER_NS, rateBytesPerSec), ns: fullNs };
  const ns = divideUp(byteNs, rateBytesPerSec);
  return { units: ns * UNITS_PER_NS, ns };
}

/**
 * The settings that are in force when these stand in the map; without a rate those of before go on.
 */
export function inForce(config: Config, formerRate: bigint): Config {
  const { rateBytesPerSec, horizonNs, idleCreditNs, sparseCreditNs, targetNs, intervalNs } = config;
  return {
    rateBytesPerSec:
      rateBytesPerSec === 0n ? formerRate : min(rateBytesPerSec, RATE_MAX_BYTES_PER_SEC),
    horizonNs: max(horizonNs, HORIZON_MIN_NS),
    idleCreditNs: min(idleCreditNs, CREDIT_MAX_NS),
    sparseCreditNs: min(sparseCreditNs, CREDIT_MAX_NS),
    targetNs,
    intervalNs: max(intervalNs, INTERVAL_MIN_NS),
  };
}

/** A packet on its way through the step. */
interface Passage extends Packet {
  readonly config: Config;
  readonly flow: Flow;
  /** When it may leave as far as its socket is concerned. */
  readonly readyNs: bigint;
  readonly startNs: bigint;
  readonly charge: Charge;
  readonly isSmall: boolean;
}

/** One aggregate: its clock, its flows, its AQM. */
export class Aggregate {
  #lastNs = 0n;
  #prepaid = 0n;
  #rate = 0n;
  readonly #flows = new FlowTable();

  #bulkFlows = 0n;
  #sharers = 0n;
  #round = 0;
  #roundEndNs = 0n;

  #signalAtNs = 0n;
  #signalLastNs = 0n;
  #signalSpacingNs = 0n;
  #signalCount = 0n;

  /** For which the link was busy with packets of the sparse lane. */
  #sparseNs = 0n;
  /**
   * Slots with which the latest LOAN_PARTS parts of the sparse credit are paid back, the oldest
   * first.
   */
  #loans = Array.from({ length: Number(LOAN_PARTS) }, () => 0n);
  #loanRestNs = 0n;
  #loanCreditNs = 0n;
  #areLoansRepaired = false;

  get clock(): Clock {
    return { lastNs: this.#lastNs, prepaid: this.#prepaid };
  }

  /** As somebody may have set it, or a test wants it. */
  set clock({ lastNs, prepaid }: Clock) {
    this.#lastNs = lastNs;
    this.#prepaid = prepaid;
  }

  /**
   * The departure step. `isDamaged`: the clock was found in two versions, this is the earlier one.
   */
  schedule(map: Config, packet: Packet, isDamaged = false): Outcome {
    const config = inForce(map, this.#rate);
    this.#rate = config.rateBytesPerSec;
    const isRepaired = isDamaged || map.rateBytesPerSec === 0n;
    if (config.rateBytesPerSec === 0n)
      return { verdict: 'depart', sojournNs: 0n, isRepaired: true };
    const { nowNs, tstampNs, wireLen } = packet;
    this.#startRound(nowNs, config);

    const readyNs = ahead(tstampNs, nowNs) <= HORIZON_MAX_NS ? max(tstampNs, nowNs) : nowNs;
    const passage = {
      ...packet,
      config,
      flow: this.#flows.find(packet.flowHash, nowNs, {
        lastOf: (flow) => this.#lastOf(flow),
        fairExcessOf: (flow) => this.#fairExcessOf(flow, nowNs),
      }),
      readyNs,
      startNs: max(this.#lastNs, ahead(readyNs, config.idleCreditNs)),
      charge: chargeOf(config.rateBytesPerSec, wireLen),
      isSmall: wireLen <= SMALL_WIRE_LEN,
    };
    this.#areLoansRepaired = false;
    const outcome = this.#sparseLane(passage) ?? this.#slotLane(passage);
    return isRepaired || this.#areLoansRepaired ? { ...outcome, isRepaired: true } : outcome;
  }

  /** A flow's latest departure, as far as it can be true. */
  #lastOf({ lastNs }: Flow): bigint {
    return lastNs <= this.#lastNs + CREDIT_MAX_NS ? lastNs : 0n;
  }

  /** Time as bulk flows have it: it stands still while the sparse lane is served. */
  #fairTime(nowNs: bigint): bigint {
    return FAIR_TIME_AT_BOOT + nowNs - this.#sparseNs;
  }

  /** How far a flow is ahead of its fair share. */
  #fairExcessOf({ fairClockNs }: Flow, nowNs: bigint): bigint {
    const excessNs = ahead(fairClockNs, this.#fairTime(nowNs));
    return excessNs <= 2n * HORIZON_MAX_NS ? excessNs : 0n;
  }

  #startRound(nowNs: bigint, { intervalNs }: Config): void {
    if (nowNs < this.#roundEndNs && this.#roundEndNs - nowNs <= intervalNs) return;
    const isNext = nowNs < this.#roundEndNs + intervalNs;
    this.#sharers = isNext ? max(1n, this.#bulkFlows) : 1n;
    this.#bulkFlows = 0n;
    this.#round += 1;
    this.#roundEndNs = nowNs + intervalNs;
  }

  #sparseDivisor(isSmall: boolean): bigint {
    return max(SPARSE_DIVISOR, isSmall ? this.#sharers : this.#sharers + this.#sharers / 2n);
  }

  /**
   * Whether the packet is the first after a pause of its flow, or follows it within the allowance;
   * a large one with all of its length.
   */
  #isSparse({ flow, nowNs, charge, isSmall }: Passage): boolean {
    const aheadNs = ahead(flow.sparseClockNs, nowNs);
    const divisor = this.#sparseDivisor(isSmall);
    const ownNs = isSmall || aheadNs === 0n ? 0n : min(charge.ns, HORIZON_MAX_NS) * divisor;
    return aheadNs + ownNs <= SPARSE_ALLOWANCE_NS * divisor;
  }

  #sparseLane(passage: Passage): Outcome | undefined {
    const { config, flow, nowNs, readyNs, startNs } = passage;
    if (startNs <= readyNs || !this.#isSparse(passage)) return undefined;
    const loanNs = passage.charge.ns + 1n;
    const reserveNs = passage.isSmall ? 0n : config.sparseCreditNs / 2n;
    const loanTimeNs = this.#loanTime(config, loanNs + reserveNs);
    if (loanTimeNs === undefined || (reserveNs > 0n && loanTimeNs > readyNs)) return undefined;
    const timeNs = max(max(readyNs, this.#lastOf(flow)), loanTimeNs);
    if (timeNs >= startNs || timeNs - nowNs >= config.horizonNs) return undefined;
    this.#takeLoan(loanNs, startNs);
    this.#sparseNs += passage.charge.ns;
    return this.#depart(passage, 'sparse', startNs, timeNs);
  }

  #loanTime({ sparseCreditNs }: Config, loanNs: bigint): bigint | undefined {
    if (this.#loanCreditNs !== sparseCreditNs) this.#resetLoans(sparseCreditNs);
    const partNs = sparseCreditNs / LOAN_PARTS;
    if (partNs === 0n || loanNs > partNs * (LOAN_PARTS - 1n)) return undefined;
    // The parts that it touches, the last one perhaps not to its end, are lent again.
    const touched = divideUp(this.#loanRestNs + loanNs, partNs);
    const paidBackNs = this.#loans[Number(touched) - 1];
    if (paidBackNs === undefined || paidBackNs <= this.#lastNs) return paidBackNs;
    this.#areLoansRepaired = true;
    this.#resetLoans(sparseCreditNs);
    return undefined;
  }

  /** If there was a credit before, all of it is out until the present backlog has left. */
  #resetLoans(sparseCreditNs: bigint): void {
    if (this.#loanCreditNs !== 0n) this.#loans = this.#loans.map(() => this.#lastNs);
    this.#loanRestNs = 0n;
    this.#loanCreditNs = sparseCreditNs;
  }

  #takeLoan(loanNs: bigint, startNs: bigint): void {
    const partNs = this.#loanCreditNs / LOAN_PARTS;
    const lentNs = this.#loanRestNs + loanNs;
    for (let filled = lentNs / partNs; filled > 0n; filled -= 1n) {
      this.#loans.shift();
      this.#loans.push(startNs);
    }
    this.#loanRestNs = lentNs % partNs;
  }

  #slotLane(passage: Passage): Outcome {
    const { config, flow, nowNs, readyNs, startNs } = passage;
    const timeNs = max(max(startNs, readyNs), this.#lastOf(flow));
    const verdict = this.#slotVerdict(passage, ahead(startNs, readyNs), timeNs - nowNs);
    if (verdict === 'drop-horizon' && this.#isOutOfReach(config.rateBytesPerSec, nowNs)) {
      const endNs = nowNs + config.horizonNs - 1n;
      this.#countBulk(flow, endNs > readyNs);
      return { ...this.#depart(passage, 'depart', endNs, endNs), isRepaired: true };
    }
    if (verdict.startsWith('drop')) return { verdict, sojournNs: 0n, isRepaired: false };
    this.#countBulk(flow, startNs > readyNs);
    const heldNs = startNs > readyNs ? max(timeNs, this.#lastSegmentOf(passage)) : timeNs;
    return this.#depart(passage, verdict, startNs, heldNs);
  }

  /**
   * When the last segment of a merged packet leaves that had to wait: at its time, but below the
   * horizon.
   */
  #lastSegmentOf({ config, nowNs, startNs, charge, segments, isMerged }: Passage): bigint {
    if (!isMerged || segments < 2n) return startNs;
    return min(startNs + charge.ns - charge.ns / segments, nowNs + config.horizonNs - 1n);
  }

  #slotVerdict(passage: Passage, queueNs: bigint, waitNs: bigint): Verdict {
    const { config, flow, nowNs, isSmall, isEcnCapable, policeNs = 0n } = passage;
    const { horizonNs, targetNs } = config;
    const fairNs = this.#fairExcessOf(flow, nowNs);
    const roomNs = isSmall ? horizonNs : horizonNs - horizonNs / 16n;
    if (waitNs >= roomNs) return 'drop-horizon';
    const sparedNs =
      this.#sharers * SPARED_FRAMES * chargeOf(config.rateBytesPerSec, FULL_FRAME).ns;
    if (policeNs > 0n && queueNs > 0n && fairNs >= max(policeNs, sparedNs)) return 'drop-flow';
    if (targetNs === 0n) return 'depart';
    if (queueNs >= targetNs && fairNs >= horizonNs) return 'drop-flow';
    if (!this.#isSignalDue(config, nowNs, queueNs) || isSmall || fairNs < queueNs / 2n)
      return 'depart';
    if (fairNs < sparedNs) return 'depart';
    if (!isEcnCapable && this.#doesSignalWait(passage, queueNs)) return 'depart';
    this.#giveSignal(nowNs);
    if (isEcnCapable) return 'marked';
    flow.droppedAt = droppedAtOf(nowNs);
    return 'drop-aqm';
  }

  #isSignalDue(
    { targetNs, intervalNs, horizonNs }: Config,
    nowNs: bigint,
    queueNs: bigint,
  ): boolean {
    if (queueNs < targetNs) {
      this.#signalAtNs = 0n;
      return false;
    }
    if (this.#signalAtNs === 0n || this.#signalAtNs > nowNs + intervalNs) {
      this.#signalAtNs = nowNs + intervalNs / this.#sharers;
      const isAnew =
        this.#signalSpacingNs === 0n || since(this.#signalLastNs, nowNs) > 16n * intervalNs;
      this.#signalCount = isAnew ? 1n : this.#signalCount / 4n + 1n;
      this.#signalSpacingNs = isAnew ? intervalNs : min(2n * this.#signalSpacingNs, intervalNs);
    }
    const urgentNs = min(
      horizonNs / 2n,
      min(URGENT_TARGETS * targetNs, targetNs + URGENT_AHEAD_NS),
    );
    const isUrgent = queueNs >= urgentNs && since(this.#signalLastNs, nowNs) >= queueNs;
    return nowNs >= this.#signalAtNs || isUrgent;
  }

  /**
   * A drop waits until the flow has recovered from the last one, and then for a packet of few
   * segments: not for long, and not in a slow start that has heard of nothing yet.
   */
  #doesSignalWait({ config, flow, nowNs, segments }: Passage, queueNs: bigint): boolean {
    if (queueNs >= config.horizonNs / 2n) return false;
    const recovering = BigInt.asUintN(32, droppedAtOf(nowNs) - flow.droppedAt) << DROPPED_SHIFT;
    if (recovering < RECOVERY_QUEUES * queueNs) return true;
    const isFirst =
      nowNs < this.#signalAtNs && since(this.#signalLastNs, nowNs) >= 16n * config.intervalNs;
    return segments > DROPPED_SEGMENTS && !isFirst;
  }

  #giveSignal(nowNs: bigint): void {
    this.#signalLastNs = nowNs;
    this.#signalCount = max(this.#signalCount, min(this.#signalCount + 1n, SIGNAL_COUNT_MAX));
    this.#signalSpacingNs -= this.#signalSpacingNs / (2n * (this.#signalCount + 1n));
    this.#signalAtNs = nowNs + this.#signalSpacingNs / this.#sharers;
  }

  #isOutOfReach(rateBytesPerSec: bigint, nowNs: bigint): boolean {
    return (
      ahead(this.#lastNs, nowNs) > HORIZON_MAX_NS + chargeOf(rateBytesPerSec, WIRE_LEN_MAX).ns + 1n
    );
  }

  #countBulk(flow: Flow, isQueued: boolean): void {
    if (!isQueued || flow.round === this.#round || this.#bulkFlows === BULK_FLOWS_MAX) return;
    flow.round = this.#round;
    this.#bulkFlows += 1n;
    this.#sharers = max(this.#sharers, this.#bulkFlows);
  }

  #depart(
    { config, flow, nowNs, charge, isSmall }: Passage,
    verdict: Verdict,
    startNs: bigint,
    timeNs: bigint,
  ): Outcome {
    const busyUntil = startNs * UNITS_PER_NS - this.#prepaid + charge.units;
    this.#lastNs = divideUp(busyUntil, UNITS_PER_NS);
    this.#prepaid = this.#lastNs * UNITS_PER_NS - busyUntil;

    const busyNs = min(charge.ns, HORIZON_MAX_NS);
    const divisor = this.#sparseDivisor(isSmall);
    const backlogNs = ahead(this.#lastNs, nowNs) * this.#sharers;
    const carry = (clockNs: bigint, timeNow: bigint, by: bigint, memoryNs: bigint): bigint =>
      min(max(clockNs, timeNow) + busyNs * by, timeNow + memoryNs);
    flow.lastNs = timeNs;
    flow.sparseClockNs = carry(flow.sparseClockNs, nowNs, divisor, SPARSE_MEMORY_NS);
    flow.fairClockNs = carry(
      flow.fairClockNs,
      this.#fairTime(nowNs),
      this.#sharers,
      min(backlogNs, 2n * config.horizonNs),
    );
    return { verdict, sojournNs: timeNs - nowNs, isRepaired: false };
  }
}
