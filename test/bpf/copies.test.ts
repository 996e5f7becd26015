// One frame, one charge: what the node makes several packets of is charged once, and nothing else
// passes for a copy.

import test from 'ava';
import { AGGREGATE_ID_MIN } from '../../helper/wire/aggregate.ts';
import { ETHER_TYPE_IPV6, type TestPacket } from '../bed/test-packet.ts';
import { AGGREGATE_GATE_SIZE, TC_ACT_SHOT, TestDatapath } from '../kit/datapath.ts';

/** A byte takes 80 ns. */
const CONFIG = {
  ...{
    rateBytesPerSec: 12_500_000n,
    horizonNs: 4_000_000_000n,
    idleCreditNs: 0n,
    sparseCreditNs: 0n,
  },
  ...{ targetNs: 0n, intervalNs: 100_000_000n },
};
const BYTE_NS = 80n;
const ID = AGGREGATE_ID_MIN + 5;
const WIRE_LEN = 1514;
/**
 * What an exit knows a packet by, and the number of a frame of one segment that the classifier has
 * given it.
 */
const SIGNED = { queueMapping: ID, wireLen: WIRE_LEN };
const SEGMENTS = 1n << 6n;
const NUMBER = 1000n * SEGMENTS;
/** Numbers are times of the first second. */
const NUMBERS_END_NS = 1n << 30n;
const MONOTONIC = 1;
const GROUP = [0x01, 0x00, 0x5e, 0x01, 0x02, 0x03];
const [MORE_FRAGMENTS, HOP_BY_HOP] = [0x2000, 0];

let datapath: TestDatapath;
test.before(() => {
  datapath = new TestDatapath();
});
test.after.always(() => datapath.close());
test.beforeEach(() => {
  datapath.configure(ID, CONFIG);
  datapath.forget(ID);
  datapath.writeGate(ID, Buffer.alloc(AGGREGATE_GATE_SIZE));
  datapath.setHostInterface({ egressId: ID, ingressId: 0 });
  datapath.setClock(ID, { lastNs: process.hrtime.bigint() + 1_000_000_000n, prepaid: 0n });
});

/** Frames that the packets were charged as. */
function charged(packets: readonly TestPacket[]): number {
  const before = datapath.clock(ID).lastNs;
  for (const packet of packets) datapath.send(packet);
  return Number((datapath.clock(ID).lastNs - before) / BYTE_NS) / WIRE_LEN;
}

for (const program of ['podpace_depart', 'podpace_depart_upper', 'podpace_deliver']) {
  test.serial(
    `${program}: copies have the departure of the frame that was charged, and no charge`,
    (t) => {
      datapath.aimAt(program);
      const frame = { ...SIGNED, tstampNs: NUMBER };
      const first = datapath.send(frame);
      const { lastNs } = datapath.clock(ID);
      for (let copy = 0; copy < 4; copy += 1) t.deepEqual(datapath.send(frame), first);
      t.is(datapath.clock(ID).lastNs, lastNs);
      t.is(datapath.counters(ID).packets, 1n);
      t.deepEqual(datapath.book(ID).settled, { frames: 1n, bytes: BigInt(WIRE_LEN) });
      t.is(charged([{ ...SIGNED, tstampNs: NUMBER + SEGMENTS }]), 1);
    },
  );
}

const ROWS: Readonly<Record<string, readonly [packets: readonly TestPacket[], frames: number]>> = {
  'a merged frame and its copy': [[8, 8].map((gsoSegs) => merged(gsoSegs, 8n)), 1],
  'what a merged frame was taken apart to': [[0, 0, 0].map((gsoSegs) => merged(gsoSegs, 3n)), 3],
  'fragments of a frame': [
    [MORE_FRAGMENTS, MORE_FRAGMENTS | 185, 370].map((fragment) => ({ ...numbered(), fragment })),
    3,
  ],
  'IPv6 frames and copies': [[numbered6(17), numbered6(17)], 1],
  'IPv6 frames in which fragments could hide': [[numbered6(HOP_BY_HOP), numbered6(HOP_BY_HOP)], 2],
  'frames without a number': [[SIGNED, SIGNED], 2],
  'times that are over but no number': [[0, 1].map(() => ({ ...SIGNED, tstampNs: 5n })), 2],
  'times with the bits of a number': [
    [NUMBER + NUMBERS_END_NS, NUMBER, NUMBER + NUMBERS_END_NS].map((tstampNs) => ({
      ...SIGNED,
      tstampNs,
    })),
    3,
  ],
  'a frame, another, and the first once more': [
    [0n, SEGMENTS, 0n].map((more) => ({ ...SIGNED, tstampNs: NUMBER + more })),
    3,
  ],
};

function numbered(): TestPacket {
  return { ...SIGNED, tstampNs: NUMBER };
}

function numbered6(protocol: number): TestPacket {
  return { ...numbered(), etherType: ETHER_TYPE_IPV6, protocol };
}

function merged(gsoSegs: number, segments: bigint): TestPacket {
  return { ...SIGNED, gsoSegs, tstampNs: NUMBER + segments };
}

for (const [what, [packets, frames]] of Object.entries(ROWS)) {
  test.serial(`${what}: ${frames} of ${packets.length} charged`, (t) => {
    datapath.aimAt('podpace_depart');
    t.is(charged(packets), frames);
  });
}

test.serial('a copy of a frame that was dropped is dropped, and counted once', (t) => {
  datapath.aimAt('podpace_depart');
  datapath.setClock(ID, { lastNs: process.hrtime.bigint() + 2_000_000_000n, prepaid: 0n });
  datapath.configure(ID, { ...CONFIG, horizonNs: 1_000_000_000n });
  for (let copy = 0; copy < 3; copy += 1) t.is(datapath.send(numbered()).verdict, TC_ACT_SHOT);
  t.is(datapath.counters(ID).droppedHorizon, 1n);
});

test.serial(
  'the classifier numbers frames anew, whatever time that is over they come with',
  (t) => {
    datapath.aimAt('podpace_classify');
    const numbers = [{}, {}, { gsoSegs: 5 }].map((packet) => datapath.timeAfter(packet));
    for (const { tstampNs, clock } of numbers) {
      t.is(clock, MONOTONIC);
      t.true(tstampNs >= SEGMENTS && tstampNs < NUMBERS_END_NS, String(tstampNs));
    }
    t.is(new Set(numbers.map(({ tstampNs }) => tstampNs)).size, 3);
    t.is((numbers[2]?.tstampNs ?? 0n) % SEGMENTS, 5n);
  },
);

test.serial(
  'nor does a pod choose a number by a time of CLOCK_TAI, which is over just as long',
  (t) => {
    datapath.aimAt('podpace_classify');
    const asked = { tstampNs: NUMBER, isTai: true } as const;
    const times = [asked, asked].map((packet) => datapath.timeAfter(packet).tstampNs);
    t.is(new Set([NUMBER, ...times]).size, 3);
  },
);

test.serial('no time that a pod asks for makes copies of what it sends to many', (t) => {
  datapath.aimAt('podpace_classify');
  const before = datapath.clock(ID).lastNs;
  for (let frame = 0; frame < 3; frame += 1) datapath.send({ mac: GROUP, tstampNs: NUMBER });
  t.is(datapath.clock(ID).lastNs - before, 3n * 60n * BYTE_NS);
});

test.serial(
  'what was charged on its way out keeps its time whatever priority it has at an exit',
  (t) => {
    datapath.aimAt('podpace_depart');
    const ahead = { tstampNs: process.hrtime.bigint() + 1_000_000_000n, wasIp: true as const };
    for (const [ingressIfindex, priority, expected] of [
      [1, 7, 6],
      [1, 0x1_0017, 0x1_0016],
      [1, 5, 5],
      // Of the node's own.
      [0, 7, 7],
    ] as const)
      t.is(datapath.sendForDetails({ ...ahead, ingressIfindex, priority }).priority, expected);
  },
);
