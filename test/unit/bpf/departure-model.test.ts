// What the departure step promises, proved of the oracle; departure-host.test.ts shows that bpf/departure.h is
// the same function.

import test from 'ava';
import fc from 'fast-check';
import { configs, packetSequences, rates, wireLengths } from '../../model/arbitraries.ts';
import {
  aheadMaxNs,
  HORIZON_MAX_NS,
  schedule,
  WIRE_LEN_MAX,
  type Clock,
  type Config,
  type Packet,
} from '../../model/departure.ts';

const NS_PER_SEC = 1_000_000_000n;
const FRESH: Clock = { lastNs: 0n, prepaid: 0n };
const HALF_YEAR_NS = 183n * 86_400n * NS_PER_SEC;

interface Step {
  readonly packet: Packet;
  readonly before: Clock;
  readonly after: Clock;
  readonly departureNs: bigint | undefined;
}

function run(config: Config, packets: readonly Packet[]): Step[] {
  let clock = FRESH;
  return packets.map((packet) => {
    const before = clock;
    const { departureNs, clock: after } = schedule(config, before, packet);
    clock = after;
    return { packet, before, after, departureNs };
  });
}

interface Departed {
  readonly departureNs: bigint;
  readonly wireLen: bigint;
}

function departed(steps: readonly Step[]): Departed[] {
  return steps.flatMap(({ departureNs, packet }) =>
    departureNs === undefined ? [] : [{ departureNs, wireLen: packet.wireLen }],
  );
}

/** The property must hold for every step of every sequence. */
function everyStep(holds: (step: Step, config: Config) => boolean): void {
  fc.assert(
    fc.property(configs, packetSequences, (config, packets) =>
      run(config, packets).every((step) => holds(step, config)),
    ),
  );
}

/** One-size packets offered at one instant after the other, each as soon as the one before may leave. */
function saturate(config: Config, wireLen: bigint, count: number): Clock {
  let clock: Clock = { lastNs: NS_PER_SEC, prepaid: 0n };
  for (let sent = 0; sent < count; sent++) {
    clock = schedule(config, clock, { nowNs: clock.lastNs, tstampNs: 0n, wireLen }).clock;
  }
  return clock;
}

test('bytes that leave in any window are at most rate * (window + burst) + one packet', (t) => {
  fc.assert(
    fc.property(configs, packetSequences, (config, packets) => {
      const leaving = departed(run(config, packets));
      for (const [first, { departureNs: opensNs }] of leaving.entries()) {
        let bytesBeforeLast = 0n;
        for (const { departureNs, wireLen } of leaving.slice(first)) {
          // The instants of both ends belong to the window: that is the nanosecond more.
          const windowNs = departureNs - opensNs + 1n;
          if (bytesBeforeLast * NS_PER_SEC > config.rateBytesPerSec * (windowNs + config.burstNs))
            return false;
          bytesBeforeLast += wireLen;
        }
      }
      return true;
    }),
  );
  t.pass();
});

test('departures of an aggregate never go back', (t) => {
  fc.assert(
    fc.property(configs, packetSequences, (config, packets) => {
      const times = departed(run(config, packets)).map(({ departureNs }) => departureNs);
      return times.every((time, index) => index === 0 || time >= (times[index - 1] ?? 0n));
    }),
  );
  t.pass();
});

test('a packet that must wait waits for less than the horizon', (t) => {
  everyStep(
    ({ packet, departureNs }, { horizonNs }) =>
      departureNs === undefined || departureNs === packet.nowNs || departureNs - packet.nowNs < horizonNs,
  );
  t.pass();
});

test('a dropped packet leaves the clock alone', (t) => {
  everyStep(({ before, after, departureNs }) => departureNs !== undefined || before === after);
  t.pass();
});

test('an aggregate without backlog neither delays nor drops', (t) => {
  everyStep(
    ({ packet, before, departureNs }) =>
      before.lastNs > packet.nowNs || packet.tstampNs !== 0n || departureNs === packet.nowNs,
  );
  t.pass();
});

test('a packet never leaves before the time that its socket asked for', (t) => {
  everyStep(({ packet, departureNs }) => {
    const isAskedFor = packet.tstampNs > packet.nowNs && packet.tstampNs - packet.nowNs <= HORIZON_MAX_NS;
    return !isAskedFor || departureNs === undefined || departureNs >= packet.tstampNs;
  });
  t.pass();
});

test('the clock is never in need of repair by what the step itself did', (t) => {
  everyStep(
    ({ packet, after }, { rateBytesPerSec }) => after.lastNs <= packet.nowNs + aheadMaxNs(rateBytesPerSec),
  );
  t.pass();
});

test('rounding never exceeds the rate, and costs less than 0.1 % of it up to 1 Tbit/s', (t) => {
  const upTo1Tbit = rates.map((rate) => (rate > 125_000_000_000n ? 125_000_000_000n : rate));
  fc.assert(
    fc.property(upTo1Tbit, wireLengths, (rateBytesPerSec, wireLen) => {
      const count = 2000;
      const config = { rateBytesPerSec, horizonNs: 50_000_000n, burstNs: 0n };
      const elapsedNs = saturate(config, wireLen, count).lastNs - NS_PER_SEC;
      const exact = BigInt(count) * wireLen * NS_PER_SEC; // in ns, times the rate
      const got = elapsedNs * rateBytesPerSec;
      return got >= exact && (got - rateBytesPerSec) * 1000n <= exact * 1001n;
    }),
  );
  t.pass();
});

test('months of idleness earn the burst and no more', (t) => {
  fc.assert(
    fc.property(configs, wireLengths, (config, wireLen) => {
      const nowNs = NS_PER_SEC + HALF_YEAR_NS;
      const packet = { nowNs, tstampNs: 0n, wireLen };
      const { departureNs, clock } = schedule(config, { lastNs: NS_PER_SEC, prepaid: 0n }, packet);
      return departureNs === nowNs && clock.lastNs > nowNs - config.burstNs;
    }),
  );
  t.pass();
});

test('a 64 KB packet that takes longer than the horizon passes, and again as soon as it has been sent', (t) => {
  const config = { rateBytesPerSec: 1_250_000n, horizonNs: 50_000_000n, burstNs: 0n };
  const send = (clock: Clock, nowNs: bigint) =>
    schedule(config, clock, { nowNs, tstampNs: 0n, wireLen: 65_536n });

  const first = send(FRESH, NS_PER_SEC);
  t.is(first.departureNs, NS_PER_SEC);
  t.is(first.clock.lastNs - NS_PER_SEC, 52_428_800n);
  t.is(send(first.clock, NS_PER_SEC).departureNs, undefined);
  t.is(send(first.clock, NS_PER_SEC + 2_428_801n).departureNs, first.clock.lastNs);
});

test('a 64 KB packet at 1 kbit/s is not taken for damage', (t) => {
  const config = { rateBytesPerSec: 125n, horizonNs: 50_000_000n, burstNs: 0n };
  const { clock } = schedule(config, FRESH, { nowNs: NS_PER_SEC, tstampNs: 0n, wireLen: 65_536n });
  const aheadNs = clock.lastNs - NS_PER_SEC;
  t.is(aheadNs, 524_288_000_000n);
  const next = { nowNs: NS_PER_SEC + 1n, tstampNs: 0n, wireLen: 60n };
  t.deepEqual(schedule(config, clock, next), { departureNs: undefined, clock });
});

test('a clock left by a much lower rate, or damaged, holds the pod up no longer than the horizon', (t) => {
  const config = { rateBytesPerSec: 12_500_000n, horizonNs: 50_000_000n, burstNs: 1_000_000n };
  const packet = { nowNs: NS_PER_SEC, tstampNs: 0n, wireLen: 1514n };
  for (const lastNs of [NS_PER_SEC + 524_288_000_000n, 1n << 63n, (1n << 64n) - 1n]) {
    const { departureNs, clock } = schedule(config, { lastNs, prepaid: 0n }, packet);
    t.is(departureNs, NS_PER_SEC + config.horizonNs - 1n);
    t.is(clock.lastNs, NS_PER_SEC + config.horizonNs - 1n + 121_120n);
  }
});

test('a horizon of zero polices: what need not wait passes', (t) => {
  const config = { rateBytesPerSec: 1_250_000n, horizonNs: 0n, burstNs: 0n };
  const packet = { nowNs: NS_PER_SEC, tstampNs: 0n, wireLen: 1514n };
  const first = schedule(config, FRESH, packet);
  t.is(first.departureNs, NS_PER_SEC);
  t.is(schedule(config, first.clock, packet).departureNs, undefined);
  const later = { ...packet, nowNs: first.clock.lastNs };
  t.is(schedule(config, first.clock, later).departureNs, later.nowNs);
});

test('the largest packet is no smaller than any that BIG TCP can make', (t) => {
  const gsoSizeMax = 8n * 65_536n;
  const mssMin = 48n;
  const headers = 14n + 40n + 60n;
  t.true(gsoSizeMax + (gsoSizeMax / mssMin + 1n) * headers <= WIRE_LEN_MAX);
});
