// The compiled, shipped programs against the oracle. The kernel's clock is not ours, but the
// aggregate's state says when the latest packet came: the oracle is asked what should have become
// of it at that very nanosecond.

import { isDeepStrictEqual } from 'node:util';
import test from 'ava';
import fc from 'fast-check';
import { USUAL_CONFIG } from '../kit/usual-config.ts';
import { AGGREGATE_ID_MAX, AGGREGATE_ID_MIN } from '../../helper/wire/aggregate.ts';
import {
  ETHER_TYPE_ARP,
  ETHER_TYPE_IPV6,
  ETHER_TYPE_MPLS,
  type TestOutcome,
  type TestPacket,
} from '../bed/test-packet.ts';
import { AGGREGATE_GATE_SIZE, TestDatapath, TC_ACT_SHOT, TC_ACT_UNSPEC } from '../kit/datapath.ts';
import { configs, usualConfigs } from '../model/arbitraries.ts';
import { Aggregate, chargeOf, isDrop, max, VERDICTS, type Config } from '../model/departure.ts';

const ID = AGGREGATE_ID_MIN + 1234;
const NS_PER_SEC = 1_000_000_000n;
const NS_PER_MS = 1_000_000n;
const UNITS_PER_NS = 1n << 16n;
const CONGESTION_EXPERIENCED = 3;

let datapath: TestDatapath;

test.before(() => {
  datapath = new TestDatapath();
  datapath.aimAt('podpace_depart');
});

test.after.always(() => {
  datapath?.close();
});

test.beforeEach(() => {
  for (const id of [AGGREGATE_ID_MIN, ID, AGGREGATE_ID_MAX]) {
    datapath.configure(id, USUAL_CONFIG);
    datapath.forget(id);
  }
});

function monotonicNs(): bigint {
  return process.hrtime.bigint();
}

/** What happens to an aggregate; times are relative to the moment at which it happens. */
type Event =
  | {
      readonly kind: 'packet';
      readonly wireLen: number;
      readonly tstampAheadNs: bigint;
      readonly flow: number;
      readonly ecn: number;
    }
  | { readonly kind: 'config'; readonly config: Config }
  | { readonly kind: 'clock'; readonly aheadNs: bigint; readonly copyAheadNs: bigint };

const packets = fc.record({
  kind: fc.constant('packet' as const),
  wireLen: fc.oneof(
    fc.integer({ min: 60, max: 300 }),
    fc.integer({ min: 60, max: 65_536 }),
    fc.constant(1514),
  ),
  tstampAheadNs: fc.oneof(
    { weight: 9, arbitrary: fc.constant(0n) },
    { weight: 2, arbitrary: fc.bigInt({ min: 1n, max: 5n * NS_PER_MS }) },
    { weight: 1, arbitrary: fc.bigInt({ min: -NS_PER_SEC, max: 1n << 60n }) },
  ),
  flow: fc.oneof(fc.integer({ min: 0, max: 3 }), fc.integer({ min: 0, max: 400 })),
  ecn: fc.integer({ min: 0, max: 3 }),
});

const aheads = fc.oneof(
  fc.bigInt({ min: 0n, max: 60n * NS_PER_MS }),
  fc.bigInt({ min: -NS_PER_SEC, max: 5n * NS_PER_SEC }),
  fc.bigInt({ min: NS_PER_SEC, max: 1n << 60n }),
);

const histories = fc.tuple(
  fc.oneof({ weight: 1, arbitrary: configs }, { weight: 3, arbitrary: usualConfigs }),
  fc.array(
    fc.oneof(
      { weight: 40, arbitrary: packets },
      { weight: 1, arbitrary: configs.map((config) => ({ kind: 'config' as const, config })) },
      {
        weight: 1,
        arbitrary: fc.record({
          kind: fc.constant('clock' as const),
          aheadNs: aheads,
          copyAheadNs: aheads,
        }),
      },
    ),
    { minLength: 1, maxLength: 60, size: 'max' },
  ),
);

/** One aggregate in the kernel beside its oracle. */
class Pair {
  readonly seen = new Map<string, number>();
  #oracle = new Aggregate();
  #isDamaged = false;
  #config = USUAL_CONFIG;

  begin(config: Config): void {
    datapath.forget(ID);
    this.#oracle = new Aggregate();
    this.#isDamaged = false;
    this.#configure(config);
  }

  /** How long the next packet would wait for those before it. */
  get queueNs(): bigint {
    return this.#oracle.clock.lastNs - monotonicNs();
  }

  /** Whether both agree on what becomes of it. */
  happens(event: Event): boolean {
    if (event.kind === 'config') this.#configure(event.config);
    else if (event.kind === 'clock') this.#damage(event.aheadNs, event.copyAheadNs);
    else return this.#send(event);
    return true;
  }

  #configure(config: Config): void {
    this.#config = config;
    datapath.configure(ID, config);
  }

  #damage(aheadNs: bigint, copyAheadNs: bigint): void {
    if (datapath.state(ID) === undefined) return;
    const nowNs = monotonicNs();
    const [lastNs, copyNs] = [aheadNs, copyAheadNs].map((ns) =>
      nowNs + ns > 0n ? nowNs + ns : 0n,
    );
    const { prepaid } = datapath.clock(ID);
    datapath.setClock(ID, { lastNs: lastNs ?? 0n, prepaid }, copyNs);
    this.#oracle.clock = {
      lastNs: (lastNs ?? 0n) < (copyNs ?? 0n) ? (lastNs ?? 0n) : (copyNs ?? 0n),
      prepaid,
    };
    this.#isDamaged = lastNs !== copyNs;
  }

  #send({ wireLen, tstampAheadNs, flow, ecn }: Event & { kind: 'packet' }): boolean {
    const tstampNs = tstampAheadNs === 0n ? 0n : BigInt.asUintN(64, monotonicNs() + tstampAheadNs);
    const packet = { queueMapping: ID, tstampNs, wireLen, flow, ecn };
    const {
      verdict,
      tstampNs: stampedNs,
      flowHash,
      ecn: ecnAfter,
    } = datapath.sendForDetails(packet);
    const state = datapath.state(ID);
    if (state === undefined) return false;
    const { nowNs, ...latest } = state.latest;
    const asSeen = {
      nowNs,
      tstampNs,
      wireLen: BigInt(wireLen),
      flowHash,
      isEcnCapable: ecn !== 0,
      segments: 1n,
      isMerged: false,
    };
    const expected = this.#oracle.schedule(this.#config, asSeen, this.#isDamaged);
    this.#isDamaged = false;
    this.seen.set(expected.verdict, (this.seen.get(expected.verdict) ?? 0) + 1);
    const isMarked = expected.verdict === 'marked';
    return (
      isDeepStrictEqual({ ...latest, verdict: VERDICTS[latest.verdict] }, expected) &&
      isDeepStrictEqual(state.clock, this.#oracle.clock) &&
      verdict === (isDrop(expected) ? TC_ACT_SHOT : TC_ACT_UNSPEC) &&
      stampedNs === (isDrop(expected) ? tstampNs : nowNs + expected.sojournNs) &&
      ecnAfter === (isMarked ? CONGESTION_EXPERIENCED : ecn)
    );
  }
}

test.serial('podpace_depart equals the oracle through whole lives of aggregates', (t) => {
  const pair = new Pair();
  fc.assert(
    fc.property(histories, ([config, events]) => {
      pair.begin(config);
      return events.every((event) => pair.happens(event));
    }),
    { numRuns: 400, endOnFailure: true },
  );
  t.log(Object.fromEntries(pair.seen));
  for (const verdict of ['depart', 'sparse', 'drop-horizon'])
    t.true((pair.seen.get(verdict) ?? 0) > 10, verdict);
});

test.serial('podpace_depart equals the oracle where a queue stands', (t) => {
  const pair = new Pair();
  const packet = { kind: 'packet', wireLen: 1514, tstampAheadNs: 0n } as const;
  pair.begin(USUAL_CONFIG);
  const startNs = monotonicNs();
  for (let sent = 0; sent < 500; sent++) pair.happens({ ...packet, flow: 0, ecn: 0 });
  // Slower than the test sends, whose speed is not always the same: it waits while the queue is
  // long.
  const rateBytesPerSec = (200n * 1514n * NS_PER_SEC) / (monotonicNs() - startNs);
  const frameNs = chargeOf(rateBytesPerSec, 1514n).ns;
  const longNs = 20n * frameNs;
  // Flows that share the rate are those of an interval: all three send in it.
  const aqm = { targetNs: 100_000n, intervalNs: NS_PER_MS + 10n * frameNs };
  pair.begin({ ...USUAL_CONFIG, ...aqm, rateBytesPerSec, horizonNs: 4n * NS_PER_SEC });
  for (let sent = 0; sent < 2000; sent++) {
    while (pair.queueNs > longNs);
    t.true(pair.happens({ ...packet, flow: sent % 3, ecn: sent % 2 }), `packet ${sent}`);
  }
  t.log(Object.fromEntries(pair.seen));
  for (const verdict of ['depart', 'marked', 'drop-aqm'])
    t.true((pair.seen.get(verdict) ?? 0) > 0, verdict);
});

test.serial('the counters tell what the oracle told', (t) => {
  const oracle = new Aggregate();
  const told = new Map<string, number>();
  let bytes = 0;
  let delayed = 0;
  // So that there is a queue however slowly packets come.
  const queued = { lastNs: monotonicNs() + 20n * NS_PER_MS, prepaid: 0n };
  datapath.setClock(ID, queued);
  oracle.clock = queued;
  let throttledNs = 0n;
  let throttledUntilNs = queued.lastNs - USUAL_CONFIG.idleCreditNs;
  for (let sent = 0; sent < 3000; sent++) {
    const packet = {
      queueMapping: ID,
      wireLen: sent % 9 === 0 ? 100 : 1514,
      flow: sent % 9,
      ecn: sent % 2,
    };
    const { flowHash } = datapath.sendForDetails(packet);
    const { nowNs } = datapath.state(ID)?.latest ?? { nowNs: 0n };
    const asSeen = {
      nowNs,
      tstampNs: 0n,
      wireLen: BigInt(packet.wireLen),
      flowHash,
      isEcnCapable: packet.ecn === 1,
      segments: 1n,
      isMerged: false,
    };
    const outcome = oracle.schedule(USUAL_CONFIG, asSeen);
    told.set(outcome.verdict, (told.get(outcome.verdict) ?? 0) + 1);
    // Time in which the clock is ahead by more than the idle credit: each moment once.
    const untilNs = oracle.clock.lastNs - USUAL_CONFIG.idleCreditNs;
    throttledNs += max(0n, untilNs - max(nowNs, throttledUntilNs));
    throttledUntilNs = max(untilNs, throttledUntilNs);
    if (isDrop(outcome)) continue;
    bytes += packet.wireLen;
    if (outcome.sojournNs > 0n) delayed++;
  }
  const of = (verdict: string): bigint => BigInt(told.get(verdict) ?? 0);
  const { sojourn, ...counters } = datapath.counters(ID);
  t.deepEqual(counters, {
    packets: of('depart') + of('sparse') + of('marked'),
    bytes: BigInt(bytes),
    delayed: BigInt(delayed),
    sparse: of('sparse'),
    ceMarked: of('marked'),
    droppedHorizon: of('drop-horizon'),
    droppedAqm: of('drop-aqm'),
    droppedFlow: of('drop-flow'),
    repaired: 0n,
    throttledNs,
  });
  t.true(throttledNs > 0n);
  t.is(
    sojourn.reduce((sum, packets) => sum + packets),
    counters.packets,
  );
});

test.serial('the histogram has a bucket for each power of two', (t) => {
  datapath.configure(ID, {
    ...USUAL_CONFIG,
    horizonNs: 0xffff_ffffn,
    targetNs: 0n,
    sparseCreditNs: 0n,
  });
  datapath.send({ queueMapping: ID });
  const expected = datapath.counters(ID).sojourn.map(Number);
  // How long it takes until the packet is there: on a slow machine longer than the first buckets
  // are wide.
  let lagNs = 0n;
  const wait = (sojournNs: bigint): void => {
    const aheadNs = lagNs + sojournNs;
    datapath.setClock(ID, { lastNs: monotonicNs() + aheadNs, prepaid: 0n });
    datapath.send({ queueMapping: ID });
    const waitedNs = datapath.state(ID)?.latest.sojournNs ?? 0n;
    lagNs = aheadNs - waitedNs;
    const units = waitedNs >> 16n;
    const bucket = Math.min(units === 0n ? 0 : units.toString(2).length, 15);
    expected[bucket] = (expected[bucket] ?? 0) + 1;
  };
  for (let round = 0; round < 20 && (round === 0 || expected.includes(0)); round += 1)
    for (let sojournNs = 3n << 13n; sojournNs < 1n << 32n; sojournNs += sojournNs / 24n)
      wait(sojournNs);
  t.deepEqual(datapath.counters(ID).sojourn.map(Number), expected);
  t.true(expected.every((packets) => packets > 0));
});

test.serial('packets in a row are charged to the nanosecond', (t) => {
  const repeat = 100_000;
  for (const rateBytesPerSec of [1_250_000_000n, 125_000_000_000n, 125_000_000_000_000n]) {
    datapath.configure(ID, {
      ...USUAL_CONFIG,
      rateBytesPerSec,
      horizonNs: 0xffff_ffffn,
      targetNs: 0n,
    });
    const lastNs = monotonicNs() + 3n * NS_PER_SEC;
    datapath.setClock(ID, { lastNs, prepaid: 0n });
    datapath.send({ queueMapping: ID, wireLen: 1514 }, repeat);
    const after = datapath.clock(ID);
    const units = BigInt(repeat) * chargeOf(rateBytesPerSec, 1514n).units;
    t.is(after.lastNs * UNITS_PER_NS - after.prepaid, lastNs * UNITS_PER_NS + units);
  }
});

test.serial('a packet beyond the horizon is dropped and not charged', (t) => {
  const clock = { lastNs: monotonicNs() + NS_PER_SEC, prepaid: 77n };
  datapath.configure(ID, { ...USUAL_CONFIG, sparseCreditNs: 0n });
  datapath.setClock(ID, clock);
  t.is(datapath.send({ queueMapping: ID, wireLen: 1514 }, 1000).verdict, TC_ACT_SHOT);
  t.deepEqual(datapath.clock(ID), clock);
});

test.serial(
  'an aggregate that was idle since boot passes a packet at once and keeps the credit',
  (t) => {
    const { verdict, tstampNs } = datapath.send({ queueMapping: ID, wireLen: 1250 });
    const { clock, latest } = datapath.state(ID) ?? t.fail();
    t.is(verdict, TC_ACT_UNSPEC);
    t.is(tstampNs, latest.nowNs);
    t.is(clock.lastNs - 100_000n + USUAL_CONFIG.idleCreditNs, latest.nowNs);
  },
);

test.serial(
  'a 64 KB packet at 10 Mbit/s passes an idle aggregate, though it takes longer than the horizon',
  (t) => {
    datapath.configure(ID, { ...USUAL_CONFIG, rateBytesPerSec: 1_250_000n });
    const { verdict, tstampNs } = datapath.send({ queueMapping: ID, wireLen: 65_536 });
    t.is(verdict, TC_ACT_UNSPEC);
    t.is(tstampNs, datapath.state(ID)?.latest.nowNs ?? -1n);
  },
);

// fq sorts a flow by these times, and its timer may be late: an older time would let the packet
// overtake others.
test.serial('a packet that departs at once does not keep an older time of its socket', (t) => {
  const packet = { queueMapping: ID, wireLen: 1250, tstampNs: monotonicNs() - NS_PER_MS };
  const { tstampNs } = datapath.send(packet);
  t.is(tstampNs, datapath.state(ID)?.latest.nowNs ?? -1n);
});

test.serial(
  'a clock that was written far ahead by hand neither stops the pod nor frees it',
  (t) => {
    datapath.send({ queueMapping: ID, wireLen: 1514 });
    for (const damageNs of [NS_PER_SEC, 3600n * NS_PER_SEC, 1n << 62n]) {
      const lastNs = monotonicNs() + 20n * NS_PER_MS;
      datapath.setClock(ID, { lastNs: lastNs + damageNs, prepaid: 0n }, lastNs);
      datapath.send({ queueMapping: ID, wireLen: 100, flow: 7 });
      const { clock, latest } = datapath.state(ID) ?? t.fail();
      t.true(latest.isRepaired);
      // A machine that is slow to send it finds the true clock in the past.
      const busyUntilNs = lastNs > latest.nowNs ? lastNs : latest.nowNs;
      t.true(clock.lastNs >= lastNs && clock.lastNs <= busyUntilNs + 100_000n);
    }
    t.is(datapath.counters(ID).repaired, 3n);
  },
);

test.serial(
  'a clock that was written far ahead with its copy is pulled back to the horizon',
  (t) => {
    datapath.configure(ID, { ...USUAL_CONFIG, sparseCreditNs: 0n });
    datapath.send({ queueMapping: ID, wireLen: 1514 });
    datapath.setClock(ID, { lastNs: monotonicNs() + 3600n * NS_PER_SEC, prepaid: 0n });
    const { verdict, tstampNs } = datapath.send({ queueMapping: ID, wireLen: 1514 });
    t.is(verdict, TC_ACT_UNSPEC);
    t.true(tstampNs < monotonicNs() + USUAL_CONFIG.horizonNs);
    t.true(datapath.clock(ID).lastNs < monotonicNs() + USUAL_CONFIG.horizonNs + NS_PER_MS);
  },
);

test.serial('a rate of zero leaves the last good one in force', (t) => {
  datapath.send({ queueMapping: ID, wireLen: 1514 });
  datapath.configure(ID, { ...USUAL_CONFIG, rateBytesPerSec: 0n });
  const before = datapath.clock(ID).lastNs;
  for (let sent = 0; sent < 100; sent++)
    t.is(datapath.send({ queueMapping: ID, wireLen: 1514 }).verdict, TC_ACT_UNSPEC);
  t.true(datapath.clock(ID).lastNs - before >= 100n * 121_120n);
  t.is(datapath.counters(ID).repaired, 100n);
});

test.serial('an absurd config neither stops the pod nor frees it', (t) => {
  datapath.writeConfig(ID, Buffer.alloc(32, 0xff));
  t.is(datapath.send({ queueMapping: ID, wireLen: 65_536 }, 1000).verdict, TC_ACT_UNSPEC);
  // The rate is there, all else is zero: no credit, the shortest horizon.
  datapath.forget(ID);
  datapath.configure(ID, {
    ...{
      rateBytesPerSec: 12_500_000n,
      horizonNs: 0n,
      idleCreditNs: 0n,
      sparseCreditNs: 0n,
      targetNs: 0n,
    },
    intervalNs: 0n,
  });
  t.is(datapath.send({ queueMapping: ID, wireLen: 1514 }).verdict, TC_ACT_UNSPEC);
  t.is(datapath.send({ queueMapping: ID, wireLen: 1514 }, 100).verdict, TC_ACT_SHOT);
  const { clock, latest } = datapath.state(ID) ?? t.fail();
  t.true(clock.lastNs - latest.nowNs < 2n * NS_PER_MS);
});

/** Large, so that a queue stands however slowly they are sent. */
const LARGE_WIRE_LEN = 65_536;
const LARGE_CHARGE_NS = 5_242_880n;

test.serial('an aggregate whose page was taken away is neither freed nor stopped', (t) => {
  datapath.losePage(ID);
  let departed = 0;
  let waited = 0;
  let latestNs = 0n;
  for (let sent = 0; sent < 300; sent++) {
    const packet = { queueMapping: ID, wireLen: LARGE_WIRE_LEN, flow: sent % 7 };
    const { verdict, tstampNs } = datapath.send(packet);
    if (verdict !== TC_ACT_UNSPEC) continue;
    const nextNs = latestNs + LARGE_CHARGE_NS + 1n;
    // One behind the other as long as a queue stands, and never sooner.
    if (tstampNs > monotonicNs()) {
      t.is(tstampNs, nextNs);
      waited += 1;
    } else t.true(tstampNs >= nextNs);
    latestNs = tstampNs;
    departed += 1;
  }
  t.true(waited > 5);
  t.true(latestNs < monotonicNs() + USUAL_CONFIG.horizonNs);
  const { packets, repaired, droppedHorizon } = datapath.counters(ID);
  t.deepEqual(
    [packets, droppedHorizon, repaired],
    [BigInt(departed), BigInt(300 - departed), 300n],
  );

  datapath.makePage(ID);
  t.is(datapath.send({ queueMapping: ID, wireLen: 1514 }).verdict, TC_ACT_UNSPEC);
  t.is(datapath.counters(ID).repaired, 300n);
});

test.serial('without its page an aggregate has a clock that no damage stops or frees', (t) => {
  datapath.losePage(ID);
  const absurd = Buffer.alloc(AGGREGATE_GATE_SIZE, 0xff);
  absurd.fill(0, 0, 8);
  datapath.writeGate(ID, absurd);
  const { verdict, tstampNs } = datapath.send({ queueMapping: ID, wireLen: LARGE_WIRE_LEN });
  t.is(verdict, TC_ACT_UNSPEC);
  t.true(tstampNs < monotonicNs() + USUAL_CONFIG.horizonNs);
  datapath.writeGate(ID, Buffer.alloc(AGGREGATE_GATE_SIZE));
  datapath.makePage(ID);
});

test.serial('an aggregate whose counters were taken away is capped as before', (t) => {
  const startNs = monotonicNs();
  datapath.losePage(ID, 'aggregate_counters');
  datapath.send({ queueMapping: ID, wireLen: LARGE_WIRE_LEN }, 5);
  t.true(datapath.clock(ID).lastNs >= startNs + 5n * LARGE_CHARGE_NS - USUAL_CONFIG.idleCreditNs);
  t.is(datapath.counters(ID).packets, 0n);
});

test.serial('an entry that is not in use makes no state and delays nothing', (t) => {
  datapath.writeConfig(ID, Buffer.alloc(32));
  t.deepEqual(datapath.send({ queueMapping: ID, wireLen: 65_536 }, 1000), {
    verdict: TC_ACT_UNSPEC,
    tstampNs: 0n,
  });
  t.is(datapath.clock(ID).lastNs, 0n);
  t.is(datapath.counters(ID).packets, 0n);
});

test.serial(
  'a flood of flows that collide slows no other aggregate and stays within its own cap',
  (t) => {
    const other = AGGREGATE_ID_MIN;
    const startNs = monotonicNs();
    let departed = 0n;
    for (let sent = 0; sent < 5000; sent++) {
      const { verdict } = datapath.send({ queueMapping: ID, wireLen: 1514, flow: sent });
      if (verdict === TC_ACT_UNSPEC) departed += 1514n;
    }
    const elapsedNs = monotonicNs() - startNs + USUAL_CONFIG.horizonNs + 2n * NS_PER_MS;
    t.true(departed * NS_PER_SEC <= USUAL_CONFIG.rateBytesPerSec * elapsedNs);
    const { verdict, tstampNs } = datapath.send({ queueMapping: other });
    t.is(verdict, TC_ACT_UNSPEC);
    t.is(tstampNs, datapath.state(other)?.latest.nowNs ?? -1n);
  },
);

test.serial('the id is taken from the packet: the device hashes again', (t) => {
  for (const id of [AGGREGATE_ID_MIN, ID, AGGREGATE_ID_MAX])
    t.is(datapath.signsAfter({ queueMapping: id }).queueMapping, 0);
});

test.serial('every id of the range has a clock of its own', (t) => {
  const ids = [AGGREGATE_ID_MIN, ID, AGGREGATE_ID_MAX];
  for (const [index, id] of ids.entries()) {
    datapath.send({ queueMapping: id });
    t.deepEqual(
      ids.map((other) => datapath.clock(other).lastNs > 0n),
      ids.map((_, other) => other <= index),
    );
  }
});

/** A packet that finds the aggregate's clock a second ahead. */
function sendBehindQueue(packet: TestPacket): {
  readonly outcome: TestOutcome;
  readonly lastNs: bigint;
} {
  datapath.forget(ID);
  const lastNs = monotonicNs() + NS_PER_SEC;
  datapath.configure(ID, {
    ...USUAL_CONFIG,
    horizonNs: 4n * NS_PER_SEC,
    targetNs: 0n,
    sparseCreditNs: 0n,
  });
  datapath.setClock(ID, { lastNs, prepaid: 0n });
  return { outcome: datapath.send({ queueMapping: ID, wireLen: 1514, ...packet }), lastNs };
}

test.serial('what left the pod as IP waits for its slot whatever it is at the exit', (t) => {
  for (const packet of [{}, { etherType: ETHER_TYPE_IPV6 }, { wasIp: true }] as const) {
    const { outcome, lastNs } = sendBehindQueue(packet);
    t.deepEqual(outcome, { verdict: TC_ACT_UNSPEC, tstampNs: lastNs }, JSON.stringify(packet));
  }
});

test.serial(
  'a frame that never was IP is charged, and gets no time: the kernel takes no clock for it',
  (t) => {
    // ARP, MPLS (RFC 5332), a PPPoE session (RFC 2516), IEEE 802.1Q.
    for (const etherType of [ETHER_TYPE_ARP, ETHER_TYPE_MPLS, 0x8864, 0x8100]) {
      const { outcome, lastNs } = sendBehindQueue({ etherType });
      t.deepEqual(outcome, { verdict: TC_ACT_UNSPEC, tstampNs: 0n }, `0x${etherType.toString(16)}`);
      t.true(datapath.clock(ID).lastNs > lastNs);
    }
  },
);

test.serial('a packet that no classifier marked is left as it is', (t) => {
  for (const queueMapping of [0, 1, AGGREGATE_ID_MIN - 1, AGGREGATE_ID_MAX + 1]) {
    t.is(datapath.signsAfter({ queueMapping }).queueMapping, queueMapping);
    t.deepEqual(datapath.send({ queueMapping, tstampNs: 5n }), {
      verdict: TC_ACT_UNSPEC,
      tstampNs: 5n,
    });
  }
  t.is(datapath.clock(AGGREGATE_ID_MIN).lastNs, 0n);
  t.is(datapath.clock(AGGREGATE_ID_MAX).lastNs, 0n);
});
