// The departure program of exits that hand packets on to other devices: what it charges.

import test from 'ava';
import {
  AGGREGATE_ID_MIN,
  TOLD_FAMILY,
  TOLD_GRE,
  TOLD_OPTIONS,
  type FrameOverhead,
} from '../../helper/wire/aggregate.ts';
import type { TestPacket } from '../bed/test-packet.ts';
import { TestDatapath, TC_ACT_UNSPEC } from '../kit/datapath.ts';

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
const ID = AGGREGATE_ID_MIN;

let datapath: TestDatapath;

test.before(() => {
  datapath = new TestDatapath();
  datapath.aimAt('podpace_depart_upper');
});

test.after.always(() => {
  datapath?.close();
});

test.beforeEach(() => {
  datapath.configure(ID, CONFIG);
  datapath.forget(ID);
});

/** Bytes that a packet is charged with, and whether it got the next slot. */
function charged(packet: TestPacket, overhead: FrameOverhead | undefined): bigint {
  datapath.setOverhead(overhead);
  const lastNs = process.hrtime.bigint() + 2_000_000_000n;
  datapath.setClock(ID, { lastNs, prepaid: 0n });
  const { verdict, tstampNs } = datapath.send({ queueMapping: ID, ...packet });
  if (verdict !== TC_ACT_UNSPEC || tstampNs !== lastNs) return -1n;
  return (datapath.clock(ID).lastNs - lastNs) / BYTE_NS;
}

test.serial(
  'a packet is charged with what the devices below add, each segment of a large one by itself',
  (t) => {
    const vxlan = { frameBytes: 50, align: 0, mtu: 0 };
    t.is(charged({ wireLen: 1464 }, vxlan), 1514n);
    t.is(charged({ wireLen: 14_640, gsoSegs: 10 }, vxlan), 15_140n);
    t.is(charged({ wireLen: 1514 }, undefined), 1514n);
  },
);

test.serial('padding is charged too, but never beyond the MTU', (t) => {
  const wireguard = { frameBytes: 74, align: 16, mtu: 1420 };
  t.is(charged({ wireLen: 100 }, wireguard), 186n);
  t.is(charged({ wireLen: 112 }, wireguard), 186n);
  t.is(charged({ wireLen: 1420 }, wireguard), 1494n);
  t.is(charged({ wireLen: 1000, gsoSegs: 10 }, wireguard), 10n * 186n);
});

test.serial('what is added before the padding is padded with the packet', (t) => {
  const esp = { frameBytes: 66, align: 4, mtu: 0xffff_ffff, innerBytes: 2 };
  t.is(charged({ wireLen: 98 }, esp), 166n);
  t.is(charged({ wireLen: 99 }, esp), 170n);
  t.is(charged({ wireLen: 102 }, esp), 170n);
  t.is(charged({ wireLen: 990, gsoSegs: 10 }, esp), 10n * 170n);
  const limited = { frameBytes: 74, align: 16, mtu: 1420, innerBytes: 36 };
  t.is(charged({ wireLen: 1384 }, limited), 1384n + 36n + 74n);
  t.is(charged({ wireLen: 1380 }, limited), 1420n + 74n);
  t.is(charged({ wireLen: 100 }, { frameBytes: 50, align: 0, mtu: 0, innerBytes: 4 }), 154n);
});

test.serial('a packet that has brought no outer header is charged what the entry says', (t) => {
  for (const told of [TOLD_FAMILY, TOLD_GRE, TOLD_FAMILY | TOLD_OPTIONS])
    t.is(charged({ wireLen: 1464 }, { frameBytes: 50, align: 0, mtu: 0, told }), 1514n);
});

test.serial('a packet of nobody is not touched, and the id goes no further', (t) => {
  t.deepEqual(datapath.send({ tstampNs: 5n }), { verdict: TC_ACT_UNSPEC, tstampNs: 5n });
  t.is(datapath.signsAfter({ queueMapping: ID }).queueMapping, 0);
});
