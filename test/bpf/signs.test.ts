// By what an exit knows a packet of a pod, and that the first exit takes it away, so that the packet is charged once.

import test from 'ava';
import { AGGREGATE_ID_MAX, AGGREGATE_ID_MIN } from '../../helper/wire/aggregate.ts';
import { TC_ACT_UNSPEC, TestDatapath, type TestPacket } from '../kit/datapath.ts';

/** A byte takes 80 ns. */
const CONFIG = {
  rateBytesPerSec: 12_500_000n,
  horizonNs: 4_000_000_000n,
  idleCreditNs: 0n,
  sparseCreditNs: 0n,
  targetNs: 0n,
  intervalNs: 100_000_000n,
};
const BYTE_NS = 80n;
const ID = AGGREGATE_ID_MIN + 5;
const EXITS = ['podpace_depart', 'podpace_depart_upper', 'podpace_deliver'];
/** A receive queue that a network card has recorded. */
const RECEIVE_QUEUE = 3;

let datapath: TestDatapath;

test.before(() => {
  datapath = new TestDatapath();
});

test.after.always(() => {
  datapath?.close();
});

test.beforeEach(() => {
  datapath.setHostInterface(undefined);
  datapath.configure(ID, CONFIG);
  datapath.forget(ID);
  datapath.setExemptions(ID, []);
});

/** Bytes that a packet is charged with; -1 when it did not get the next slot. */
function charged(packet: TestPacket): bigint {
  datapath.forget(ID);
  const lastNs = process.hrtime.bigint() + 2_000_000_000n;
  datapath.setClock(ID, { lastNs, prepaid: 0n });
  const { verdict, tstampNs } = datapath.send(packet);
  if (verdict !== TC_ACT_UNSPEC || tstampNs !== lastNs) return -1n;
  return (datapath.clock(ID).lastNs - lastNs) / BYTE_NS;
}

for (const program of EXITS) {
  test.serial(`${program} knows a packet by either sign, and takes both`, (t) => {
    datapath.aimAt(program);
    for (const [signs, left] of [
      [{ queueMapping: ID, tcIndex: ID }, 0],
      [{ queueMapping: ID }, 0],
      [{ tcIndex: ID }, 0],
      [{ queueMapping: RECEIVE_QUEUE, tcIndex: ID }, RECEIVE_QUEUE],
    ] as const) {
      t.is(charged({ ...signs, wireLen: 1514 }), 1514n, JSON.stringify(signs));
      t.deepEqual(datapath.signsAfter(signs), { queueMapping: left, tcIndex: 0 });
    }
  });

  test.serial(`${program} leaves alone what is nobody's, and the signs of others`, (t) => {
    datapath.aimAt(program);
    for (const signs of [
      { queueMapping: 0, tcIndex: 0 },
      { queueMapping: RECEIVE_QUEUE, tcIndex: 2 },
      { queueMapping: AGGREGATE_ID_MIN - 1, tcIndex: AGGREGATE_ID_MAX + 1 },
      { queueMapping: AGGREGATE_ID_MAX + 1, tcIndex: 0xffff },
    ]) {
      t.deepEqual(datapath.send({ ...signs, tstampNs: 5n }), { verdict: TC_ACT_UNSPEC, tstampNs: 5n });
      t.deepEqual(datapath.signsAfter(signs), signs);
    }
  });
}
