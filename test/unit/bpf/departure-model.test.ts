// What the departure step promises of the clock and of every packet, proved of the oracle;
// departure-host.test.ts shows that bpf/departure.h is the same function.

import test from 'ava';
import fc from 'fast-check';
import { NS_PER_MS, NS_PER_SEC, packetAt } from '../../kit/departures.ts';
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
  WIRE_LEN_MAX,
  type Clock,
  type Config,
  type Outcome,
  type Packet,
} from '../../model/departure.ts';

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
    return {
      packet,
      before,
      after: aggregate.clock,
      outcome,
      departureNs: packet.nowNs + outcome.sojournNs,
    };
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
    fc.property(inputs, ([config, packets]) =>
      run(config, packets).every((step) => holds(step, config)),
    ),
    { numRuns: 500, endOnFailure: true },
  );
}

/** When a packet may leave as far as its socket is concerned. */
function readyOf({ nowNs, tstampNs }: Packet): bigint {
  return tstampNs > nowNs && tstampNs - nowNs <= HORIZON_MAX_NS ? tstampNs : nowNs;
}

/** Which packets leave when, the earliest first. */
function leavingOf(config: Config, packets: readonly Packet[]): Step[] {
  return run(config, packets)
    .filter(({ outcome }) => !isDrop(outcome))
    .sort((a, b) => Number(a.departureNs - b.departureNs));
}

/**
 * What a window may hold beyond rate * (window + burst): told of one packet after the other, it
 * says how much that is by now.
 */
type Allowance = (packet: Packet) => bigint;

/**
 * Whether no window holds more than its rate and burst and what an allowance, a new one for each
 * window, says.
 */
function areWindowsWithin(
  config: Config,
  packets: readonly Packet[],
  newAllowance: () => Allowance,
): boolean {
  const leaving = leavingOf(config, packets);
  const burstNs = config.idleCreditNs + config.sparseCreditNs;
  return leaving.every(({ departureNs: opensNs }, first) => {
    const allowance = newAllowance();
    let bytes = 0n;
    return leaving.slice(first).every(({ departureNs, packet }) => {
      bytes += packet.wireLen;
      // The instants of both ends belong to the window: that is the nanosecond more.
      const windowNs = departureNs - opensNs + 1n;
      return (
        (bytes - allowance(packet)) * NS_PER_SEC <= config.rateBytesPerSec * (windowNs + burstNs)
      );
    });
  });
}

function onePacket(): Allowance {
  let longest = 0n;
  return ({ wireLen }) => (longest = max(longest, wireLen));
}

/** One packet, and one that others merged: the longest merged one and the longest of the rest. */
function oneAndOneMerged(): Allowance {
  let [merged, other] = [0n, 0n];
  return ({ wireLen, isMerged }) => {
    if (isMerged && wireLen > merged) [merged, other] = [wireLen, max(merged, other)];
    else other = max(other, wireLen);
    return merged + other;
  };
}

test('bytes that leave in any window are at most rate * (window + burst) + one packet', (t) => {
  fc.assert(
    fc.property(inputs, ([config, packets]) => {
      const single = packets.map((packet) => ({ ...packet, isMerged: false }));
      return areWindowsWithin(config, single, onePacket);
    }),
    { numRuns: 500, endOnFailure: true },
  );
  t.pass();
});

test('where packets come merged it is one packet, and one merged packet', (t) => {
  fc.assert(
    fc.property(inputs, ([config, packets]) => areWindowsWithin(config, packets, oneAndOneMerged)),
    { numRuns: 500, endOnFailure: true },
  );
  t.pass();
});

test('from the first packet on it is one segment or packet of a sparse flow', (t) => {
  let held = 0;
  fc.assert(
    fc.property(inputs, ([config, packets]) => {
      const leaving = leavingOf(config, packets);
      const burstNs = config.idleCreditNs + config.sparseCreditNs;
      const [{ departureNs: beginsNs } = { departureNs: 0n }] = leaving;
      let bytes = 0n;
      let largest = 0n;
      let isSentAtNs = 0n;
      for (const { departureNs, packet, before, outcome } of leaving) {
        const { wireLen, segments, isMerged, nowNs } = packet;
        const { ns: chargeNs } = chargeOf(config.rateBytesPerSec, wireLen);
        bytes += wireLen;
        largest = max(
          largest,
          outcome.verdict === 'sparse' || !isMerged ? wireLen : wireLen / max(1n, segments) + 1n,
        );
        // Nothing is said while a packet is on the link that had not to wait, or whose end lies
        // beyond the horizon.
        const endNs = before.lastNs + chargeNs;
        if (before.lastNs <= readyOf(packet) || endNs - nowNs >= config.horizonNs)
          isSentAtNs = max(isSentAtNs, max(endNs, departureNs + chargeNs));
        if (departureNs <= isSentAtNs) continue;
        if (isMerged && segments > 1n) held += 1;
        const timeNs = departureNs - beginsNs + 1n;
        if ((bytes - largest) * NS_PER_SEC > config.rateBytesPerSec * (timeNs + burstNs))
          return false;
      }
      return true;
    }),
    { numRuns: 1000, endOnFailure: true },
  );
  t.log(`${held} merged packets waited`);
  t.true(held > 1000);
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
          before.lastNs > packet.nowNs ||
          (outcome.verdict === 'depart' && outcome.sojournNs === 0n),
      );
    }),
    { numRuns: 500, endOnFailure: true },
  );
  t.pass();
});

test('a packet never leaves before the time that its socket asked for', (t) => {
  everyStep(
    ({ packet, outcome, departureNs }) => isDrop(outcome) || departureNs >= readyOf(packet),
  );
  t.pass();
});

test('the clock is never in need of repair by what the step itself did', (t) => {
  everyStep(
    ({ packet, after, outcome }, { rateBytesPerSec }) =>
      !outcome.isRepaired &&
      after.lastNs <=
        packet.nowNs + HORIZON_MAX_NS + chargeOf(rateBytesPerSec, WIRE_LEN_MAX).ns + 1n,
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
