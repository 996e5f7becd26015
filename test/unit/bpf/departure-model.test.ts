// What the departure step promises, proved of the oracle; departure-host.test.ts shows that bpf/departure.h is
// the same function.

import test from 'ava';
import fc from 'fast-check';
import { USUAL_CONFIG } from '../../kit/usual-config.ts';
import {
  configs,
  packetSequences,
  rates,
  usualConfigs,
  usualSequences,
  wireLengths,
} from '../../model/arbitraries.ts';
import {
  Aggregate,
  chargeOf,
  HORIZON_MAX_NS,
  isDrop,
  max,
  SMALL_WIRE_LEN,
  WIRE_LEN_MAX,
  type Clock,
  type Config,
  type Outcome,
  type Packet,
} from '../../model/departure.ts';

const NS_PER_SEC = 1_000_000_000n;
const NS_PER_MS = 1_000_000n;
const UNITS_PER_NS = 1n << 16n;
const HALF_YEAR_NS = 183n * 86_400n * NS_PER_SEC;

interface Step {
  readonly packet: Packet;
  readonly before: Clock;
  readonly after: Clock;
  readonly outcome: Outcome;
  readonly departureNs: bigint;
}

function run(config: Config, packets: readonly Packet[]): Step[] {
  const aggregate = new Aggregate();
  return packets.map((packet) => {
    const before = aggregate.clock;
    const outcome = aggregate.schedule(config, packet);
    return { packet, before, after: aggregate.clock, outcome, departureNs: packet.nowNs + outcome.sojournNs };
  });
}

const inputs = fc.oneof(
  fc.tuple(configs, packetSequences),
  fc.tuple(usualConfigs, usualSequences),
  fc.tuple(configs, usualSequences),
);

/** The property must hold for every step of every sequence. */
function everyStep(holds: (step: Step, config: Config) => boolean): void {
  fc.assert(
    fc.property(inputs, ([config, packets]) => run(config, packets).every((step) => holds(step, config))),
    { numRuns: 500, endOnFailure: true },
  );
}

function packetAt(nowNs: bigint, rest: Partial<Packet> = {}): Packet {
  return { nowNs, tstampNs: 0n, wireLen: 1514n, flowHash: 1, isEcnCapable: false, segments: 0n, ...rest };
}

test('bytes that leave in any window are at most rate * (window + burst) + one packet', (t) => {
  fc.assert(
    fc.property(inputs, ([config, packets]) => {
      const leaving = run(config, packets)
        .filter(({ outcome }) => !isDrop(outcome))
        .map(({ departureNs, packet }) => ({ departureNs, wireLen: packet.wireLen }))
        .sort((a, b) => Number(a.departureNs - b.departureNs));
      const burstNs = config.idleCreditNs + config.sparseCreditNs;
      for (const [first, { departureNs: opensNs }] of leaving.entries()) {
        let bytes = 0n;
        let largest = 0n;
        for (const { departureNs, wireLen } of leaving.slice(first)) {
          bytes += wireLen;
          largest = max(largest, wireLen);
          // The instants of both ends belong to the window: that is the nanosecond more.
          const windowNs = departureNs - opensNs + 1n;
          if ((bytes - largest) * NS_PER_SEC > config.rateBytesPerSec * (windowNs + burstNs)) return false;
        }
      }
      return true;
    }),
    { numRuns: 500, endOnFailure: true },
  );
  t.pass();
});

test('departures of one flow never go back', (t) => {
  let sparse = 0;
  fc.assert(
    fc.property(inputs, ([config, packets]) => {
      const latest = new Map<number, bigint>();
      return run(config, packets).every(({ packet, outcome, departureNs }) => {
        if (isDrop(outcome)) return true;
        if (outcome.verdict === 'sparse') sparse++;
        const inOrder = departureNs >= (latest.get(packet.flowHash) ?? 0n);
        latest.set(packet.flowHash, departureNs);
        return inOrder;
      });
    }),
    { numRuns: 1000, endOnFailure: true },
  );
  t.log(`${sparse} packets departed before their slot`);
  t.true(sparse > 1000);
});

test('a packet that departs waits for less than the horizon', (t) => {
  everyStep(({ outcome }, { horizonNs }) => outcome.sojournNs < horizonNs);
  t.pass();
});

test('a dropped packet leaves the clock alone, any other is charged exactly', (t) => {
  const unitsOf = ({ lastNs, prepaid }: Clock): bigint => lastNs * UNITS_PER_NS - prepaid;
  everyStep(({ before, after, outcome, packet }, { rateBytesPerSec }) => {
    if (isDrop(outcome)) return unitsOf(after) === unitsOf(before);
    const { units } = chargeOf(rateBytesPerSec, packet.wireLen);
    // With a backlog and nothing asked for, the clock advances by the charge and by nothing else.
    if (before.lastNs > packet.nowNs && packet.tstampNs === 0n)
      return unitsOf(after) === unitsOf(before) + units;
    return unitsOf(after) >= unitsOf(before) + units;
  });
  t.pass();
});

test('an aggregate without backlog neither delays nor drops', (t) => {
  fc.assert(
    fc.property(inputs, ([config, packets]) => {
      const unasked = packets.map((packet) => ({ ...packet, tstampNs: 0n }));
      return run(config, unasked).every(
        ({ packet, before, outcome }) =>
          before.lastNs > packet.nowNs || (outcome.verdict === 'depart' && outcome.sojournNs === 0n),
      );
    }),
    { numRuns: 500, endOnFailure: true },
  );
  t.pass();
});

test('a packet never leaves before the time that its socket asked for', (t) => {
  everyStep(({ packet, outcome, departureNs }) => {
    const isAskedFor = packet.tstampNs > packet.nowNs && packet.tstampNs - packet.nowNs <= HORIZON_MAX_NS;
    return !isAskedFor || isDrop(outcome) || departureNs >= packet.tstampNs;
  });
  t.pass();
});

test('the clock is never in need of repair by what the step itself did', (t) => {
  everyStep(
    ({ packet, after, outcome }, { rateBytesPerSec }) =>
      !outcome.isRepaired &&
      after.lastNs <= packet.nowNs + HORIZON_MAX_NS + chargeOf(rateBytesPerSec, WIRE_LEN_MAX).ns + 1n,
  );
  t.pass();
});

test('rounding never exceeds the rate, and costs less than 0.1 % of it up to 1 Tbit/s', (t) => {
  const upTo1Tbit = rates.map((rate) => (rate > 125_000_000_000n ? 125_000_000_000n : rate));
  fc.assert(
    fc.property(upTo1Tbit, wireLengths, (rateBytesPerSec, wireLen) => {
      const count = 2000n;
      const config = { ...USUAL_CONFIG, rateBytesPerSec, idleCreditNs: 0n, sparseCreditNs: 0n };
      const aggregate = new Aggregate();
      aggregate.clock = { lastNs: NS_PER_SEC, prepaid: 0n };
      // Each as soon as the one before has been sent.
      for (let sent = 0n; sent < count; sent++)
        aggregate.schedule(config, packetAt(aggregate.clock.lastNs, { wireLen }));
      const elapsedNs = aggregate.clock.lastNs - NS_PER_SEC;
      const exact = count * wireLen * NS_PER_SEC; // in ns, times the rate
      const got = elapsedNs * rateBytesPerSec;
      return got >= exact && (got - count * rateBytesPerSec) * 1000n <= exact * 1001n;
    }),
  );
  t.pass();
});

test('months of idleness earn the idle credit and no more', (t) => {
  fc.assert(
    fc.property(configs, wireLengths, (config, wireLen) => {
      const aggregate = new Aggregate();
      aggregate.clock = { lastNs: NS_PER_SEC, prepaid: 0n };
      const nowNs = NS_PER_SEC + HALF_YEAR_NS;
      const { sojournNs } = aggregate.schedule(config, packetAt(nowNs, { wireLen }));
      return sojournNs === 0n && aggregate.clock.lastNs > nowNs - config.idleCreditNs;
    }),
  );
  t.pass();
});

test('a 64 KB packet that takes longer than the horizon passes, and again as soon as it has been sent', (t) => {
  const config = { ...USUAL_CONFIG, rateBytesPerSec: 1_250_000n, idleCreditNs: 0n, targetNs: 0n };
  const aggregate = new Aggregate();
  const send = (nowNs: bigint) => aggregate.schedule(config, packetAt(nowNs, { wireLen: 65_536n }));

  t.is(send(NS_PER_SEC).sojournNs, 0n);
  t.is(aggregate.clock.lastNs - NS_PER_SEC, 52_428_800n);
  t.is(send(NS_PER_SEC).verdict, 'drop-horizon');
  t.is(send(NS_PER_SEC + 10n * NS_PER_MS).sojournNs, 42_428_800n);
});

/** Queues full packets of flow 1 at one instant until the clock is `backlogNs` ahead. */
function withBacklog(config: Config, nowNs: bigint, backlogNs: bigint): Aggregate {
  const aggregate = new Aggregate();
  while (aggregate.clock.lastNs < nowNs + backlogNs) aggregate.schedule(config, packetAt(nowNs));
  return aggregate;
}

test('a request leaves at once, however long its pod queues, and is charged', (t) => {
  for (const backlogMs of [1n, 5n, 20n, 40n]) {
    const aggregate = withBacklog(USUAL_CONFIG, NS_PER_SEC, backlogMs * NS_PER_MS);
    const before = aggregate.clock;
    const outcome = aggregate.schedule(USUAL_CONFIG, packetAt(NS_PER_SEC, { wireLen: 298n, flowHash: 2 }));
    t.deepEqual(outcome, { verdict: 'sparse', sojournNs: 0n, isRepaired: false });
    t.is(aggregate.clock.lastNs - before.lastNs, chargeOf(USUAL_CONFIG.rateBytesPerSec, 298n).ns);
  }
});

/** An aggregate whose backlog of `backlogNs` is of so many flows, in turn. */
function withBulkFlows(flows: number, nowNs: bigint, backlogNs: bigint): Aggregate {
  const aggregate = new Aggregate();
  const bulk = (flow: number): void => {
    aggregate.schedule(USUAL_CONFIG, packetAt(nowNs, { flowHash: 100 + flow }));
  };
  for (let sent = 0; aggregate.clock.lastNs < nowNs + backlogNs; sent++) bulk(sent % flows);
  return aggregate;
}

test('a flow may send some requests at once, however many bulk flows there are', (t) => {
  for (const flows of [1, 4, 32, 60]) {
    const aggregate = withBulkFlows(flows, NS_PER_SEC, 12n * NS_PER_MS);
    const verdicts = Array.from(
      { length: 8 },
      () => aggregate.schedule(USUAL_CONFIG, packetAt(NS_PER_SEC, { wireLen: 298n, flowHash: 2 })).verdict,
    );
    t.deepEqual([...new Set(verdicts)], ['sparse'], `${flows} bulk flows`);
  }
});

test('large packets of sparse flows leave half of the credit to requests', (t) => {
  const aggregate = withBulkFlows(32, NS_PER_SEC, 20n * NS_PER_MS);
  // By then the loans that the bulk flows began with have been paid back.
  const laterNs = NS_PER_SEC + 8n * NS_PER_MS;
  const waitOf = (flowHash: number, wireLen: bigint) =>
    aggregate.schedule(USUAL_CONFIG, packetAt(laterNs, { wireLen, flowHash })).sojournNs;
  const large = Array.from({ length: 8 }, (_, flow) => waitOf(200 + flow, 1514n));
  t.is(large[0], 0n);
  t.true(large.at(-1)! > 10n * NS_PER_MS);
  const requests = Array.from({ length: 8 }, (_, flow) => waitOf(300 + flow, 298n));
  t.deepEqual([...new Set(requests)], [0n]);
});

test('a flow that had to queue once is sparse again as soon as that packet leaves', (t) => {
  const aggregate = withBacklog(USUAL_CONFIG, NS_PER_SEC, 20n * NS_PER_MS);
  const request = (nowNs: bigint, wireLen = 298n) =>
    nowNs + aggregate.schedule(USUAL_CONFIG, packetAt(nowNs, { wireLen, flowHash: 2 })).sojournNs;
  // More than a sparse flow may send at once: its last packet queues.
  const queuedUntilNs = [1514n, 1514n, 1514n, 1514n]
    .map((wireLen) => request(NS_PER_SEC, wireLen))
    .reduce(max);
  t.true(queuedUntilNs > NS_PER_SEC + 15n * NS_PER_MS);
  t.is(request(NS_PER_SEC + 10n * NS_PER_MS), queuedUntilNs);
  t.is(request(queuedUntilNs), queuedUntilNs);
});

test('hundreds of sparse flows that offer three times the rate get the rate', (t) => {
  const aggregate = new Aggregate();
  const leaving: bigint[] = [];
  const count = 30_000;
  // 400 flows, a packet of 298 bytes every 7.95 us: 300 Mbit/s.
  for (let sent = 0; sent < count; sent++) {
    const packet = packetAt(NS_PER_SEC + BigInt(sent) * 7947n, {
      wireLen: 298n,
      flowHash: (sent * 7919) % 400,
    });
    const outcome = aggregate.schedule(USUAL_CONFIG, packet);
    if (!isDrop(outcome)) leaving.push(packet.nowNs + outcome.sojournNs - NS_PER_SEC);
  }
  const bytesPerSecond = (298n * BigInt(leaving.length) * NS_PER_SEC) / leaving.reduce(max);
  t.true(bytesPerSecond <= (USUAL_CONFIG.rateBytesPerSec * 1005n) / 1000n, `${bytesPerSecond}`);
  t.true(bytesPerSecond >= (USUAL_CONFIG.rateBytesPerSec * 995n) / 1000n, `${bytesPerSecond}`);
});

/** Offers packets of flows at constant rates for a while; returns how many packets of each departed, and verdicts. */
function offer(
  config: Config,
  flows: readonly { share: number; wireLen?: bigint; isEcnCapable?: boolean; segments?: bigint }[],
  durationMs: number,
): { departed: number[]; verdicts: Map<string, number>; sojournsNs: bigint[][] } {
  const aggregate = new Aggregate();
  const departed = flows.map(() => 0);
  const sojournsNs: bigint[][] = flows.map(() => []);
  const verdicts = new Map<string, number>();
  const next = flows.map((_, index) => index * 1000);
  const endNs = durationMs * 1e6;
  for (;;) {
    const index = next.indexOf(Math.min(...next));
    const timeNs = next[index] ?? endNs;
    const { share = 1, wireLen = 1514n, isEcnCapable = false, segments = 0n } = flows[index] ?? {};
    if (timeNs >= endNs) return { departed, verdicts, sojournsNs };
    next[index] = timeNs + Number(chargeOf(config.rateBytesPerSec, wireLen).ns) / share;
    const packet = packetAt(NS_PER_SEC + BigInt(Math.round(timeNs)), {
      wireLen,
      isEcnCapable,
      segments,
      flowHash: index + 1,
    });
    const outcome = aggregate.schedule(config, packet);
    verdicts.set(outcome.verdict, (verdicts.get(outcome.verdict) ?? 0) + 1);
    if (isDrop(outcome)) continue;
    departed[index] = (departed[index] ?? 0) + 1;
    sojournsNs[index]?.push(outcome.sojournNs);
  }
}

/** Waits of requests, evenly sent by flows at a part of the rate each, beside flows that keep a queue of about 6 ms. */
function requestWaits(bulkFlows: number, requestFlows: number, share: number): bigint[] {
  const aggregate = new Aggregate();
  const waits: bigint[] = [];
  const pauseNs = Number(chargeOf(USUAL_CONFIG.rateBytesPerSec, 340n).ns) / share;
  // Each departure makes room for the next packet, as acknowledgements do.
  const due = Array.from({ length: Math.max(50, bulkFlows) }, (_, sent) => ({
    atNs: sent,
    flow: sent % bulkFlows,
    isRequest: false,
  }));
  for (let flow = 0; flow < requestFlows; flow += 1)
    due.push({ atNs: (flow * pauseNs) / requestFlows, flow: bulkFlows + flow, isRequest: true });
  for (let events = 0; events < 20_000; events += 1) {
    const event = due.reduce((first, each) => (each.atNs < first.atNs ? each : first));
    const { sojournNs } = aggregate.schedule(
      { ...USUAL_CONFIG, targetNs: 40n * NS_PER_MS },
      packetAt(NS_PER_SEC + BigInt(Math.round(event.atNs)), {
        wireLen: event.isRequest ? 340n : 1514n,
        // Numbers that differ in more than the bit that every tag has.
        flowHash: Math.imul(event.flow + 1, 0x9e37_79b1) >>> 0,
      }),
    );
    if (event.isRequest && events > 5000) waits.push(sojournNs);
    event.atNs += event.isRequest ? pauseNs : Number(sojournNs);
  }
  return waits.toSorted((one, other) => Number(one - other));
}

test('requests within a fair share leave at once, however many bulk flows there are', (t) => {
  for (const flows of [1, 4, 8, 16, 32, 60]) {
    // Together they are within the credit, which is for so long as the queue: 12 % of the rate here.
    const waits = requestWaits(flows, 4, 0.75 / Math.max(32, flows + 2));
    t.true(waits.length > 100);
    t.is(waits[Math.floor(waits.length * 0.99)], 0n, `${flows} bulk flows`);
  }
});

test("a flood gets its share and not its neighbours'", (t) => {
  const {
    departed: [flood = 0, modest = 0],
  } = offer(USUAL_CONFIG, [{ share: 4 }, { share: 0.45 }], 2000);
  const offeredByModest = (0.45 * 2000 * 12_500) / 1514;
  t.true(modest > 0.97 * offeredByModest, `${modest} of ${offeredByModest}`);
  // Nothing is wasted for fairness.
  t.true(flood > (0.53 * 2000 * 12_500) / 1514, String(flood));
});

test('floods share the rate', (t) => {
  const { departed } = offer(USUAL_CONFIG, [{ share: 4 }, { share: 1 }, { share: 2 }, { share: 0.8 }], 3000);
  const fair = (3000 * 12_500) / 1514 / 4;
  for (const packets of departed) t.true(packets > 0.85 * fair && packets < 1.15 * fair, String(departed));
});

test('a standing queue is signalled, by marks to those that can carry them, and the pace grows', (t) => {
  const once = offer(USUAL_CONFIG, [{ share: 1.02, isEcnCapable: true }], 1000);
  t.true((once.verdicts.get('marked') ?? 0) > 5);
  t.is(once.verdicts.get('drop-aqm'), undefined);
  const twice = offer(USUAL_CONFIG, [{ share: 1.02 }], 1000);
  t.true((twice.verdicts.get('drop-aqm') ?? 0) > 5);
  t.is(twice.verdicts.get('marked'), undefined);
});

/** As into a pod at 20 Mbit/s: room for many merged packets below the horizon. */
const MERGED_CONFIG: Config = {
  ...USUAL_CONFIG,
  rateBytesPerSec: 2_500_000n,
  horizonNs: 156_000_000n,
  targetNs: 23_000_000n,
};

test('a drop waits for a packet of few segments, and until the last one has been recovered from', (t) => {
  const aggregate = new Aggregate();
  const dropped: { segments: bigint; timeMs: number }[] = [];
  // A queue of 35 ms to begin with, which grows by 10 ms in a second; every 20th packet stands for itself.
  aggregate.schedule(MERGED_CONFIG, packetAt(NS_PER_SEC, { wireLen: 87_500n, segments: 58n }));
  let nowNs = NS_PER_SEC;
  for (let sent = 1; sent <= 500; sent += 1) {
    const segments = sent % 20 === 0 ? 1n : 10n;
    const wireLen = 1514n * segments;
    nowNs += (chargeOf(MERGED_CONFIG.rateBytesPerSec, wireLen).ns * 99n) / 100n;
    const { verdict } = aggregate.schedule(MERGED_CONFIG, packetAt(nowNs, { wireLen, segments }));
    if (verdict === 'drop-aqm') dropped.push({ segments, timeMs: Number((nowNs - NS_PER_SEC) / 1_000_000n) });
  }
  t.true(dropped.length > 5, JSON.stringify(dropped.length));
  t.deepEqual(new Set(dropped.map(({ segments }) => segments)), new Set([1n]));
  const gapsMs = dropped.slice(1).map(({ timeMs }, index) => timeMs - (dropped[index]?.timeMs ?? 0));
  // The queue is 35 ms and more: a retransmission comes after twice that, and what is lost with it later.
  t.true(Math.min(...gapsMs) >= 4 * 35, gapsMs.join(' '));
});

test('a slow start of merged packets hears of the first signal at once, and none is let to the horizon', (t) => {
  const flows = [{ share: 3, wireLen: 15_140n, segments: 10n }];
  const { verdicts, sojournsNs } = offer(MERGED_CONFIG, flows, 60);
  t.is(verdicts.get('drop-aqm'), 1);
  t.true((sojournsNs[0] ?? []).every((ns) => ns < MERGED_CONFIG.targetNs * 5n));
  const { verdicts: later } = offer(MERGED_CONFIG, [{ ...flows[0], share: 1.05 }], 4000);
  t.true((later.get('drop-aqm') ?? 0) > 1);
  t.is(later.get('drop-horizon'), undefined);
  const { verdicts: marks } = offer(MERGED_CONFIG, [{ ...flows[0], share: 1.05, isEcnCapable: true }], 4000);
  t.true((marks.get('marked') ?? 0) > (later.get('drop-aqm') ?? 0));
});

test('small packets are never signalled', (t) => {
  const { verdicts, sojournsNs } = offer(USUAL_CONFIG, [{ share: 1.02, wireLen: SMALL_WIRE_LEN }], 1000);
  t.is(verdicts.get('drop-aqm'), undefined);
  // Others would have been: twice the target for far longer than the interval.
  const longNs = (sojournsNs[0] ?? [])
    .slice(-5000)
    .map((sojournNs) => sojournNs > 2n * USUAL_CONFIG.targetNs);
  t.is(longNs.length, 5000);
  t.true(longNs.every(Boolean));
});

test('without a target nothing is signalled and nothing dropped below the horizon', (t) => {
  const { verdicts } = offer({ ...USUAL_CONFIG, targetNs: 0n }, [{ share: 1.01 }, { share: 0.01 }], 1000);
  t.deepEqual([...verdicts.keys()].sort(), ['depart', 'sparse']);
});

test('a flow in a full set of the flow table keeps its order and its cap', (t) => {
  const aggregate = new Aggregate();
  const latest = new Map<number, bigint>();
  const shared: bigint[] = [];
  // 40 flows that all fall into one set.
  for (let sent = 0; sent < 5000; sent++) {
    const flowHash = ((sent * 13) % 40) * 32;
    const packet = packetAt(NS_PER_SEC + BigInt(sent) * 100_000n, { flowHash });
    const outcome = aggregate.schedule(USUAL_CONFIG, packet);
    if (isDrop(outcome)) continue;
    const departureNs = packet.nowNs + outcome.sojournNs;
    t.true(departureNs >= (latest.get(flowHash) ?? 0n));
    latest.set(flowHash, departureNs);
    shared.push(departureNs);
  }
  const elapsedNs = shared.reduce(max) - NS_PER_SEC;
  t.true(
    BigInt(shared.length) * 1514n * NS_PER_SEC <= USUAL_CONFIG.rateBytesPerSec * (elapsedNs + 2n * NS_PER_MS),
  );
});
