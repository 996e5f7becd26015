// By what an exit knows a packet of a pod, and that it is charged once: on the way out of the pod
// when it goes to many, or else at the first exit.

import test from 'ava';
import { AGGREGATE_ID_MAX, AGGREGATE_ID_MIN } from '../../helper/wire/aggregate.ts';
import { ETHER_TYPE_ARP, type TestPacket } from '../bed/test-packet.ts';
import { TC_ACT_SHOT, TC_ACT_UNSPEC, TestDatapath } from '../kit/datapath.ts';

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
/** Frames as test runs have them, with an Ethernet header of 14 bytes. */
const FRAME_BYTES = 60;
const ALL = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
const GROUP = [0x01, 0x00, 0x5e, 0x01, 0x02, 0x03];

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

/** tc_index of what was charged at an upper exit: CHARGED_ABOVE in bpf/signs.h. */
const CHARGED_ABOVE = AGGREGATE_ID_MIN - 1;

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
    const tcIndex = program === 'podpace_depart_upper' ? CHARGED_ABOVE : 0;
    for (const [signs, left] of [
      [{ queueMapping: ID, tcIndex: ID }, 0],
      [{ queueMapping: ID }, 0],
      [{ tcIndex: ID }, 0],
      [{ queueMapping: RECEIVE_QUEUE, tcIndex: ID }, RECEIVE_QUEUE],
    ] as const) {
      t.is(charged({ ...signs, wireLen: 1514 }), 1514n, JSON.stringify(signs));
      t.deepEqual(datapath.signsAfter(signs), { queueMapping: left, tcIndex });
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
      t.deepEqual(datapath.send({ ...signs, tstampNs: 5n }), {
        verdict: TC_ACT_UNSPEC,
        tstampNs: 5n,
      });
      t.deepEqual(datapath.signsAfter(signs), signs);
    }
  });
}

test.serial('what was charged above is known as that by each exit down to the last', (t) => {
  const signs = { queueMapping: RECEIVE_QUEUE, tcIndex: CHARGED_ABOVE };
  for (const [program, tcIndex] of [
    ['podpace_depart_upper', CHARGED_ABOVE],
    ['podpace_depart', 0],
  ] as const) {
    datapath.aimAt(program);
    t.deepEqual(datapath.send({ ...signs, tstampNs: 5n }), {
      verdict: TC_ACT_UNSPEC,
      tstampNs: 5n,
    });
    t.deepEqual(datapath.signsAfter(signs), { queueMapping: RECEIVE_QUEUE, tcIndex });
  }
  t.is(datapath.clock(ID).lastNs, 0n);
});

for (const [whom, mac] of [
  ['everybody', ALL],
  ['a group', GROUP],
] as const) {
  test.serial(`what a pod sends to ${whom} is charged on its way out, and carries no sign`, (t) => {
    datapath.aimAt('podpace_classify');
    datapath.setHostInterface({ egressId: ID, ingressId: 0 });
    const signs = { queueMapping: ID, tcIndex: ID };
    // What the device below has counted says nothing yet.
    t.is(charged({ ...signs, mac, wireLen: 1514 }), BigInt(FRAME_BYTES));
    t.deepEqual(datapath.signsAfter({ ...signs, mac }), { queueMapping: 0, tcIndex: 0 });
  });
}

test.serial(
  'what is no IP and goes to all is charged on its way out, and has no time that bridges would take away',
  (t) => {
    datapath.aimAt('podpace_classify');
    datapath.setHostInterface({ egressId: ID, ingressId: 0 });
    const lastNs = process.hrtime.bigint() + 2_000_000_000n;
    datapath.setClock(ID, { lastNs, prepaid: 0n });
    const { verdict, tstampNs } = datapath.send({
      mac: ALL,
      etherType: ETHER_TYPE_ARP,
      tstampNs: 5n,
    });
    t.deepEqual({ verdict, tstampNs }, { verdict: TC_ACT_UNSPEC, tstampNs: 5n });
    t.is(datapath.clock(ID).lastNs, lastNs + BigInt(FRAME_BYTES) * BYTE_NS);
  },
);

test.serial('of a merged datagram to a group each segment pays its headers', (t) => {
  datapath.aimAt('podpace_classify');
  datapath.setHostInterface({ egressId: ID, ingressId: 0 });
  t.is(charged({ mac: GROUP, gsoSegs: 10 }), BigInt(FRAME_BYTES + 9 * (14 + 20 + 8)));
});

test.serial('beyond the horizon what goes to a group is dropped on its way out', (t) => {
  datapath.aimAt('podpace_classify');
  datapath.setHostInterface({ egressId: ID, ingressId: 0 });
  datapath.setClock(ID, { lastNs: process.hrtime.bigint() + 4_100_000_000n, prepaid: 0n });
  t.is(datapath.send({ mac: GROUP }).verdict, TC_ACT_SHOT);
  t.is(datapath.counters(ID).droppedHorizon, 1n);
});

test.serial('an exempt group, and pods without a cap on what they send, pay nothing', (t) => {
  datapath.aimAt('podpace_classify');
  const packet = {
    mac: GROUP,
    tstampNs: 5n,
    queueMapping: ID,
    tcIndex: ID,
    destination: '239.1.2.3',
  };
  const untouched = { verdict: TC_ACT_UNSPEC, tstampNs: 5n };
  t.deepEqual(datapath.send(packet), untouched);
  datapath.setHostInterface({ egressId: 0, ingressId: ID });
  t.deepEqual(datapath.send(packet), untouched);
  datapath.setHostInterface({ egressId: ID, ingressId: 0 });
  datapath.configure(ID, CONFIG, 1);
  datapath.setExemptions(ID, ['239.0.0.0/8']);
  t.deepEqual(datapath.send(packet), untouched);
  t.is(datapath.clock(ID).lastNs, 0n);
  t.deepEqual(datapath.signsAfter(packet), { queueMapping: 0, tcIndex: 0 });
});
