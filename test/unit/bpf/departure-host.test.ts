// bpf/departure.h, compiled for this machine, is the oracle's function, and stays exact under contention.

import path from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import test from 'ava';
import fc from 'fast-check';
import { compileHostProgram, type HostProgram } from '../../kit/host-program.ts';
import { calls, configs, wireLengths, type Call } from '../../model/arbitraries.ts';
import { chargeUnits, schedule, type Clock, type Outcome } from '../../model/departure.ts';

const NS_PER_SEC = 1_000_000_000n;
const UNITS_PER_NS = 1n << 16n;
const DEPARTURE_DROP = (1n << 64n) - 1n;
/** CHARGE_ATTEMPTS of bpf/departure.h. */
const CHARGE_ATTEMPTS = 16n;
/** T_START of departure-host.c. */
const THREADS_START_NS = 2n * NS_PER_SEC;

let program: HostProgram;

test.before(() => {
  program = compileHostProgram(path.join(import.meta.dirname, 'departure-host.c'));
});

test.after.always(() => {
  program.remove();
});

/** Other CPUs that each charge `ns` just before one of our attempts. */
interface Rivals {
  readonly count: bigint;
  readonly ns: bigint;
}

interface HostOutcome extends Outcome {
  readonly rivalsCome: bigint;
}

function caseLine({ config, clock, packet }: Call, rivals: Rivals): string {
  const { rateBytesPerSec, horizonNs, burstNs } = config;
  const { nowNs, tstampNs, wireLen } = packet;
  const { lastNs, prepaid } = clock;
  return [
    ...[rateBytesPerSec, horizonNs, burstNs, lastNs, prepaid, nowNs, tstampNs, wireLen],
    ...[rivals.count, rivals.ns],
  ].join(' ');
}

function runCases(lines: readonly string[]): HostOutcome[] {
  const output = program.run(['cases'], `${lines.join('\n')}\n`).trimEnd();
  return output.split('\n').map((line) => {
    const [departure = 0n, lastNs = 0n, prepaid = 0n, rivalsCome = 0n] = line.split(' ').map(BigInt);
    const departureNs = departure === DEPARTURE_DROP ? undefined : departure;
    return { departureNs, clock: { lastNs, prepaid }, rivalsCome };
  });
}

/** The clock as one number, in units of 2^-16 ns. */
function unitsOf({ lastNs, prepaid }: Clock): bigint {
  return lastNs * UNITS_PER_NS - prepaid;
}

test('the header equals the oracle over the whole range of its inputs', (t) => {
  const batches = fc.array(calls, { minLength: 1, maxLength: 400, size: 'max' });
  let compared = 0;
  let dropped = 0;
  fc.assert(
    fc.property(batches, (batch) => {
      const outcomes = runCases(batch.map((call) => caseLine(call, { count: 0n, ns: 0n })));
      for (const [index, { config, clock, packet }] of batch.entries()) {
        const expected = { ...schedule(config, clock, packet), rivalsCome: 0n };
        if (!isDeepStrictEqual(outcomes[index], expected)) t.deepEqual(outcomes[index], expected);
        compared++;
        if (expected.departureNs === undefined) dropped++;
      }
    }),
  );
  t.log(`${compared} calls compared, ${dropped} of them drops`);
  t.true(dropped > compared / 20 && dropped < compared / 2);
});

test('a packet that loses every race is charged in full, and not at all when it is dropped', (t) => {
  const nowNs = NS_PER_SEC;
  const contended = fc.record({
    config: configs,
    // Busy, so that nothing pulls the clock up to now, and not so far ahead that the rivals put it out of order.
    clock: fc.record({
      lastNs: fc.bigInt({ min: nowNs, max: nowNs + (1n << 31n) }),
      prepaid: fc.bigInt({ min: 0n, max: 0xffffn }),
    }),
    packet: fc.record({ nowNs: fc.constant(nowNs), tstampNs: fc.constant(0n), wireLen: wireLengths }),
    rivals: fc.record({
      count: fc.bigInt({ min: 0n, max: 40n }),
      ns: fc.bigInt({ min: 1n, max: 10_000_000n }),
    }),
  });
  let fellBack = 0;
  fc.assert(
    fc.property(fc.array(contended, { minLength: 1, maxLength: 400, size: 'max' }), (batch) => {
      const outcomes = runCases(batch.map((call) => caseLine(call, call.rivals)));
      for (const [index, { config, clock, packet, rivals }] of batch.entries()) {
        const outcome = outcomes[index];
        if (outcome === undefined) return false;
        const units =
          outcome.departureNs === undefined ? 0n : chargeUnits(config.rateBytesPerSec, packet.wireLen);
        const expected = unitsOf(clock) + outcome.rivalsCome * rivals.ns * UNITS_PER_NS + units;
        if (unitsOf(outcome.clock) !== expected) return false;
        // It departs behind everything that the rivals charged.
        const foundNs = clock.lastNs + outcome.rivalsCome * rivals.ns;
        if (outcome.departureNs !== undefined && outcome.departureNs !== foundNs) return false;
        if (outcome.departureNs !== undefined && outcome.rivalsCome === CHARGE_ATTEMPTS) fellBack++;
      }
      return true;
    }),
  );
  t.log(`${fellBack} packets came through without a single won race`);
  t.true(fellBack > 100);
});

for (const [rateBytesPerSec, wireLen] of [
  [1_250_000_000n, 1514n],
  [125_000_000_000n, 64n],
] as const) {
  test(`four threads on one clock are charged exactly: ${wireLen} bytes at ${rateBytesPerSec} bytes/s`, (t) => {
    const packets = 200_000n;
    const args = [4n, packets, rateBytesPerSec, wireLen].map(String);
    const output = program.run(['threads', ...args]);
    const [departed = 0n, lastNs = 0n, prepaid = 0n] = output.trim().split(' ').map(BigInt);
    t.true(departed > 0n);
    const expected = THREADS_START_NS * UNITS_PER_NS + departed * chargeUnits(rateBytesPerSec, wireLen);
    t.is(unitsOf({ lastNs, prepaid }), expected);
  });
}
