// The programs of a host interface: what they do is decided by its entry in the map
// host_interfaces.

import test from 'ava';
import { AGGREGATE_ID_MAX, AGGREGATE_ID_MIN } from '../../helper/wire/aggregate.ts';
import {
  ETHER_TYPE_ARP,
  ETHER_TYPE_IPV4,
  ETHER_TYPE_IPV6,
  ETHER_TYPE_MPLS,
  ETHER_TYPE_QINQ,
  type Signs,
} from '../bed/test-packet.ts';
import { TestDatapath, TC_ACT_SHOT, TC_ACT_UNSPEC } from '../kit/datapath.ts';

const CONFIG = {
  rateBytesPerSec: 12_500_000n,
  // Far enough that a slow machine has looked before a queue is over.
  horizonNs: 4_000_000_000n,
  idleCreditNs: 0n,
  sparseCreditNs: 0n,
  targetNs: 0n,
  intervalNs: 100_000_000n,
};

/** What a packet of an aggregate carries. */
function signsOf(id: number): Signs {
  return { queueMapping: id, tcIndex: id };
}

let datapath: TestDatapath;

test.before(() => {
  datapath = new TestDatapath();
});

test.after.always(() => {
  datapath?.close();
});

test.beforeEach(() => {
  datapath.setHostInterface(undefined);
  for (const id of [AGGREGATE_ID_MIN, AGGREGATE_ID_MAX]) {
    datapath.configure(id, CONFIG);
    datapath.forget(id);
  }
});

test.serial('podpace_classify writes the egress aggregate, whatever the pod left there', (t) => {
  datapath.aimAt('podpace_classify');
  datapath.setHostInterface({ egressId: AGGREGATE_ID_MIN + 7, ingressId: 0 });
  for (const queueMapping of [0, 3, AGGREGATE_ID_MIN + 8]) {
    t.deepEqual(
      datapath.signsAfter({ queueMapping, tcIndex: queueMapping }),
      signsOf(AGGREGATE_ID_MIN + 7),
    );
  }
  t.is(datapath.send({}).verdict, TC_ACT_UNSPEC);
});

test.serial('podpace_classify says the clock of what may wait, while it is IP', (t) => {
  // BPF_SKB_TSTAMP_DELIVERY_MONO; the other is an unsaid clock.
  const [MONOTONIC, NONE] = [1, 0];
  datapath.aimAt('podpace_classify');
  datapath.setHostInterface({ egressId: AGGREGATE_ID_MIN, ingressId: 0 });
  for (const etherType of [ETHER_TYPE_IPV4, ETHER_TYPE_IPV6])
    t.is(datapath.timeAfter({ etherType }).clock, MONOTONIC);
  t.deepEqual(datapath.timeAfter({ etherType: ETHER_TYPE_MPLS }), { tstampNs: 0n, clock: NONE });
  datapath.setHostInterface({ egressId: 0, ingressId: AGGREGATE_ID_MAX });
  t.deepEqual(datapath.timeAfter({}), { tstampNs: 0n, clock: NONE });
});

test.serial('podpace_classify lets no pod without an aggregate choose one', (t) => {
  datapath.aimAt('podpace_classify');
  t.deepEqual(datapath.signsAfter(signsOf(AGGREGATE_ID_MIN + 8)), signsOf(0));
  datapath.setHostInterface({ egressId: 0, ingressId: AGGREGATE_ID_MAX });
  t.deepEqual(datapath.signsAfter(signsOf(AGGREGATE_ID_MIN + 8)), signsOf(0));
});

test.serial('podpace_deliver paces by the ingress aggregate', (t) => {
  datapath.aimAt('podpace_deliver');
  const [egressId, ingressId] = [AGGREGATE_ID_MIN, AGGREGATE_ID_MAX];
  datapath.setHostInterface({ egressId, ingressId });
  const lastNs = process.hrtime.bigint() + 2_000_000_000n;
  datapath.setClock(ingressId, { lastNs, prepaid: 0n });
  t.deepEqual(datapath.send({ wireLen: 1514 }), { verdict: TC_ACT_UNSPEC, tstampNs: lastNs });
  t.is(datapath.clock(ingressId).lastNs, lastNs + 121_120n);
  t.is(datapath.clock(egressId).lastNs, 0n);
});

test.serial('into a pod a merged packet that waits leaves with the last of its segments', (t) => {
  datapath.aimAt('podpace_deliver');
  datapath.setHostInterface({ egressId: 0, ingressId: AGGREGATE_ID_MAX });
  const lastNs = process.hrtime.bigint() + 2_000_000_000n;
  datapath.setClock(AGGREGATE_ID_MAX, { lastNs, prepaid: 0n });
  // 80 ns a byte: 4.8 ms, of which the last of 40 segments takes 0.12.
  t.is(datapath.send({ wireLen: 60_000, gsoSegs: 40 }).tstampNs, lastNs + 4_680_000n);
  t.is(datapath.send({ wireLen: 1514 }).tstampNs, lastNs + 4_800_000n);
  t.is(datapath.clock(AGGREGATE_ID_MAX).lastNs, lastNs + 4_800_000n + 121_120n);
});

test.serial('podpace_deliver never lets a packet leave before its egress aggregate does', (t) => {
  datapath.aimAt('podpace_deliver');
  datapath.setHostInterface({ egressId: 0, ingressId: AGGREGATE_ID_MIN });
  const tstampNs = process.hrtime.bigint() + 2_000_000_000n;
  t.is(datapath.send({ tstampNs }).tstampNs, tstampNs);
});

test.serial('podpace_deliver leaves packets alone where no ingress cap is set', (t) => {
  datapath.aimAt('podpace_deliver');
  t.deepEqual(datapath.send({ tstampNs: 5n }), { verdict: TC_ACT_UNSPEC, tstampNs: 5n });
  datapath.setHostInterface({ egressId: AGGREGATE_ID_MIN, ingressId: 0 });
  t.deepEqual(datapath.send({ tstampNs: 5n }), { verdict: TC_ACT_UNSPEC, tstampNs: 5n });
  t.is(datapath.clock(AGGREGATE_ID_MIN).lastNs, 0n);
});

test.serial(
  'every frame is a frame: what is no IP belongs to the cap like the rest, both ways',
  (t) => {
    datapath.setHostInterface({ egressId: AGGREGATE_ID_MIN, ingressId: AGGREGATE_ID_MAX });
    const local = 0x88b5;
    for (const etherType of [
      ETHER_TYPE_ARP,
      ETHER_TYPE_IPV6,
      ETHER_TYPE_QINQ,
      ETHER_TYPE_MPLS,
      local,
    ]) {
      datapath.aimAt('podpace_classify');
      t.deepEqual(datapath.signsAfter({ etherType }), signsOf(AGGREGATE_ID_MIN));
      for (const [program, id] of [
        ['podpace_depart', AGGREGATE_ID_MIN],
        ['podpace_depart_upper', AGGREGATE_ID_MIN],
        ['podpace_deliver', AGGREGATE_ID_MAX],
      ] as const) {
        datapath.aimAt(program);
        datapath.forget(id);
        const lastNs = process.hrtime.bigint() + 2_000_000_000n;
        datapath.setClock(id, { lastNs, prepaid: 0n });
        const queueMapping = id === AGGREGATE_ID_MIN ? id : 0;
        const { tstampNs } = datapath.send({ etherType, wireLen: 1514, queueMapping });
        // The kernel takes no clock for what is no IP, so such a frame pays, but does not wait.
        const expected = etherType === ETHER_TYPE_IPV6 ? lastNs : 0n;
        t.is(tstampNs, expected, `${program}, frames of the type ${etherType.toString(16)}`);
        t.is(datapath.clock(id).lastNs, lastNs + 121_120n);
      }
    }
  },
);

test.serial(
  'between two pods of a node both caps are charged, and the later departure wins',
  (t) => {
    datapath.aimAt('podpace_deliver');
    const [egressId, ingressId] = [AGGREGATE_ID_MIN, AGGREGATE_ID_MAX];
    datapath.setHostInterface({ egressId: 0, ingressId });
    for (const [sender, receiver] of [
      [2_000_000_000n, 1_000_000_000n],
      [1_000_000_000n, 2_000_000_000n],
    ] as const) {
      const nowNs = process.hrtime.bigint();
      datapath.setClock(egressId, { lastNs: nowNs + sender, prepaid: 0n });
      datapath.setClock(ingressId, { lastNs: nowNs + receiver, prepaid: 0n });
      const { verdict, tstampNs } = datapath.send({ queueMapping: egressId, wireLen: 1514 });
      t.is(verdict, TC_ACT_UNSPEC);
      t.is(tstampNs, nowNs + 2_000_000_000n);
      t.is(datapath.clock(egressId).lastNs, nowNs + sender + 121_120n);
      t.is(
        datapath.clock(ingressId).lastNs,
        nowNs + receiver + 121_120n,
        'the queue of the sender is not its own',
      );
    }
    t.deepEqual(datapath.signsAfter({ queueMapping: egressId }), signsOf(0));
  },
);

/**
 * Packets into a pod with a queue of 60 ms: merged ones until TCP would have recovered from the
 * first drop.
 */
function slowStartInto(id: number): {
  merged: number;
  early: boolean;
  late: boolean;
  longestGapNs: bigint;
} {
  datapath.setHostInterface({ egressId: 0, ingressId: id });
  datapath.configure(id, { ...CONFIG, targetNs: 20_000_000n });
  const isDropped = (wireLen: number, gsoSegs: number): boolean =>
    datapath.send({ wireLen, gsoSegs }).verdict === TC_ACT_SHOT;
  const queueNs = (): bigint => datapath.clock(id).lastNs - process.hrtime.bigint();
  let [merged, longestGapNs, lastNs] = [0, 0n, process.hrtime.bigint()];
  const fill = (): void => {
    // 4.8 ms each.
    do {
      if (queueNs() < 60_000_000n) merged += Number(isDropped(60_000, 40));
      const nowNs = process.hrtime.bigint();
      if (nowNs - lastNs > longestGapNs) longestGapNs = nowNs - lastNs;
      lastNs = nowNs;
    } while (queueNs() < 60_000_000n);
  };
  fill();
  // Retransmissions of that: the first one comes after the queue, the last one later.
  const early = isDropped(1514, 1);
  const endNs = process.hrtime.bigint() + 4n * 70_000_000n;
  while (process.hrtime.bigint() < endNs) fill();
  return { merged, early, late: isDropped(1514, 1), longestGapNs };
}

test.serial('into a pod a drop waits for a packet of few segments, and for recovery', (t) => {
  datapath.aimAt('podpace_deliver');
  let outcome = slowStartInto(AGGREGATE_ID_MAX);
  // In a machine that stands still meanwhile the queue is another one.
  for (
    let id = AGGREGATE_ID_MAX - 1;
    outcome.longestGapNs > 30_000_000n && id > AGGREGATE_ID_MAX - 8;
    id -= 1
  )
    outcome = slowStartInto(id);
  // The first drop of the slow start is one of the merged packets, then none is.
  const { merged, early, late } = outcome;
  t.deepEqual({ merged, early, late }, { merged: 1, early: false, late: true });
});

test.serial('a sender with a cap is held to it on the way into a pod without one', (t) => {
  datapath.aimAt('podpace_deliver');
  const lastNs = process.hrtime.bigint() + 2_000_000_000n;
  datapath.setClock(AGGREGATE_ID_MIN, { lastNs, prepaid: 0n });
  t.is(datapath.send({ queueMapping: AGGREGATE_ID_MIN, wireLen: 1514 }).tstampNs, lastNs);
});

/**
 * Sends full frames as fast as they are taken, for a while; adds the times of those that depart.
 * Gives begin and end.
 */
function flood(departures: bigint[], forNs: bigint): readonly [bigint, bigint] {
  const beginNs = process.hrtime.bigint();
  while (process.hrtime.bigint() - beginNs < forNs) {
    const { verdict, tstampNs } = datapath.send({ wireLen: 1514 });
    if (verdict !== TC_ACT_SHOT) departures.push(tstampNs);
  }
  return [beginNs, process.hrtime.bigint()];
}

test.serial(
  'without the program behind it podpace_deliver holds the cap by the plain clock',
  (t) => {
    datapath.aimAt('podpace_deliver');
    const id = AGGREGATE_ID_MAX;
    datapath.setHostInterface({ egressId: 0, ingressId: id });
    // 6 ms a frame: slower than frames are sent here, also on an emulated processor.
    const rateBitsPerSec = 2e6;
    datapath.configure(id, { ...CONFIG, rateBytesPerSec: 250_000n, horizonNs: 100_000_000n });
    const departures: bigint[] = [];
    const isHeld = (begin: bigint, end: bigint): void => {
      const frames = departures.filter((tstampNs) => tstampNs > begin && tstampNs <= end).length;
      const rate = (frames * 1514 * 8) / (Number(end - begin) / 1e9);
      t.true(rate > 0.5 * rateBitsPerSec && rate < 1.02 * rateBitsPerSec, `${rate} bit/s`);
    };
    isHeld(...flood(departures, 700_000_000n));
    const putBack = datapath.loseContinuation();
    try {
      // The queue of before goes on, and so does the one of now when the program is back.
      isHeld(...flood(departures, 700_000_000n));
      t.true(datapath.counters(id).droppedHorizon > 0);
    } finally {
      putBack();
    }
    isHeld(...flood(departures, 700_000_000n));
  },
);

test.serial(
  'without the program behind it podpace_deliver leaves alone what has no ingress cap',
  (t) => {
    datapath.aimAt('podpace_deliver');
    const putBack = datapath.loseContinuation();
    try {
      t.deepEqual(datapath.send({ tstampNs: 5n }), { verdict: TC_ACT_UNSPEC, tstampNs: 5n });
      datapath.setHostInterface({ egressId: 0, ingressId: AGGREGATE_ID_MAX });
      datapath.configure(AGGREGATE_ID_MAX, CONFIG, 1);
      datapath.setExemptions(AGGREGATE_ID_MAX, ['10.0.0.1']);
      t.is(datapath.send({ tstampNs: 5n }).tstampNs, 5n);
      t.true(datapath.send({ tstampNs: 5n, source: '10.0.0.3' }).tstampNs > 5n);
    } finally {
      datapath.setExemptions(AGGREGATE_ID_MAX, []);
      putBack();
    }
  },
);
