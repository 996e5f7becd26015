// The books: what the classifier saw beside what became of it, for every way that a packet can go.

import test from 'ava';
import { AGGREGATE_ID_MIN } from '../../helper/wire/aggregate.ts';
import type { AggregateBook } from '../../helper/wire/book.ts';
import { EXEMPT_OWN } from '../../helper/wire/aggregate.ts';
import type { TestPacket } from '../bed/test-packet.ts';
import { TC_ACT_SHOT, TestDatapath } from '../kit/datapath.ts';

const ID = AGGREGATE_ID_MIN + 3;
const FRAME_BYTES = 60;
const WIRE_LEN = 1500;
/** 10 Mbit/s: a packet takes 1.2 ms. */
const CONFIG = {
  ...{ rateBytesPerSec: 1_250_000n, horizonNs: 50_000_000n, idleCreditNs: 250_000n },
  ...{ sparseCreditNs: 750_000n, targetNs: 0n, intervalNs: 100_000_000n },
};

let datapath: TestDatapath;
test.before(() => {
  datapath = new TestDatapath();
});
test.after.always(() => datapath.close());

const NOTHING = { frames: 0n, bytes: 0n };
const EMPTY: AggregateBook = { seen: NOTHING, settled: NOTHING, exempt: NOTHING, dropped: NOTHING };

function tally(frames: number, bytes: number): AggregateBook['seen'] {
  return { frames: BigInt(frames), bytes: BigInt(bytes) };
}

/** Link address of a group, which bridges copy to their ports. */
const GROUP = [0x01, 0, 0x5e, 0, 0, 1];

interface Row {
  readonly title: string;
  readonly program: string;
  readonly packet: TestPacket;
  readonly packets?: number;
  readonly exempt?: readonly string[];
  readonly isIngress?: boolean;
  readonly book: Partial<AggregateBook>;
}

const settled = tally(3, 3 * WIRE_LEN);
const SIGNED = { queueMapping: ID, wireLen: WIRE_LEN };

const ROWS: readonly Row[] = [
  {
    ...{
      title: 'the classifier sees a packet',
      program: 'podpace_classify',
      packet: {},
      packets: 3,
    },
    book: { seen: tally(3, 3 * FRAME_BYTES) },
  },
  {
    // IPv4 and UDP: each further segment has 14 + 20 + 8 bytes of headers.
    ...{ title: 'the classifier sees a merged packet as its frames', program: 'podpace_classify' },
    ...{ packet: { gsoSegs: 4 }, book: { seen: tally(4, FRAME_BYTES + 3 * 42) } },
  },
  {
    ...{
      title: 'what goes to many is settled where it is seen',
      program: 'podpace_classify',
      packets: 2,
    },
    ...{ packet: { mac: GROUP } },
    book: { seen: tally(2, 2 * FRAME_BYTES), settled: tally(2, 2 * FRAME_BYTES) },
  },
  { title: 'an exit', program: 'podpace_depart', packet: SIGNED, packets: 3, book: { settled } },
  {
    ...{ title: 'an exit, by the second sign', program: 'podpace_depart', packets: 3 },
    ...{ packet: { tcIndex: ID, wireLen: WIRE_LEN }, book: { settled } },
  },
  {
    ...{ title: 'a tunnel, without what it adds', program: 'podpace_depart_upper', packets: 3 },
    ...{ packet: SIGNED, book: { settled } },
  },
  {
    title: 'a pod of the node',
    program: 'podpace_deliver',
    packet: SIGNED,
    packets: 3,
    book: { settled },
  },
  {
    ...{ title: 'a merged packet at an exit', program: 'podpace_depart' },
    ...{ packet: { ...SIGNED, gsoSegs: 4 }, book: { settled: tally(4, WIRE_LEN) } },
  },
  {
    ...{
      title: 'an exempt packet',
      program: 'podpace_depart',
      packets: 3,
      exempt: ['10.0.0.0/24'],
    },
    ...{ packet: SIGNED, book: { settled, exempt: settled } },
  },
  {
    // What a pod receives has nowhere to vanish before it is charged.
    ...{ title: 'an exempt packet into a pod', program: 'podpace_receive', packets: 3 },
    ...{
      isIngress: true,
      exempt: ['10.0.0.0/24'],
      packet: { wireLen: WIRE_LEN },
      book: { exempt: settled },
    },
  },
  {
    ...{
      title: 'a packet of nobody',
      program: 'podpace_depart',
      packets: 3,
      packet: { wireLen: WIRE_LEN },
    },
    book: {},
  },
];

for (const { title, program, packet, packets = 1, exempt, isIngress = false, book } of ROWS) {
  test.serial(`counts ${title}`, (t) => {
    datapath.configure(ID, CONFIG, exempt === undefined ? 0 : EXEMPT_OWN);
    datapath.setExemptions(ID, exempt ?? []);
    datapath.forget(ID);
    datapath.setHostInterface(
      isIngress ? { egressId: 0, ingressId: ID } : { egressId: ID, ingressId: 0 },
    );
    datapath.setOverhead({ frameBytes: 50, align: 0, mtu: 0 });
    datapath.aimAt(program);
    datapath.send(packet, packets);
    t.deepEqual(datapath.book(ID), { ...EMPTY, ...book });
  });
}

test.serial('what the departure step drops is settled, and told apart', (t) => {
  datapath.configure(ID, CONFIG);
  datapath.forget(ID);
  datapath.aimAt('podpace_depart');
  datapath.setClock(ID, { lastNs: process.hrtime.bigint() + 1_000_000_000n, prepaid: 0n });
  t.is(datapath.send(SIGNED, 5).verdict, TC_ACT_SHOT);
  t.deepEqual(datapath.book(ID), {
    ...EMPTY,
    settled: tally(5, 5 * WIRE_LEN),
    dropped: tally(5, 5 * WIRE_LEN),
  });
});

test.serial('without its book a packet is held as ever', (t) => {
  datapath.configure(ID, CONFIG);
  datapath.forget(ID);
  datapath.losePage(ID, 'aggregate_books');
  datapath.aimAt('podpace_depart');
  datapath.send(SIGNED, 3);
  t.is(datapath.counters(ID).bytes, BigInt(3 * WIRE_LEN));
  t.deepEqual(datapath.book(ID), EMPTY);
});
