// The two programs of a host interface: what they do is decided by its entry in the map host_interfaces.

import test from 'ava';
import { AGGREGATE_ID_MAX, AGGREGATE_ID_MIN } from '../../helper/wire/aggregate.ts';
import { TestDatapath, TC_ACT_UNSPEC } from '../kit/datapath.ts';

const CONFIG = {
  rateBytesPerSec: 12_500_000n,
  horizonNs: 50_000_000n,
  idleCreditNs: 0n,
  sparseCreditNs: 0n,
  targetNs: 0n,
  intervalNs: 100_000_000n,
};

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
    t.is(datapath.queueMappingAfter({ queueMapping }), AGGREGATE_ID_MIN + 7);
  }
  t.is(datapath.send({}).verdict, TC_ACT_UNSPEC);
});

test.serial('podpace_classify lets no pod without an aggregate choose one', (t) => {
  datapath.aimAt('podpace_classify');
  t.is(datapath.queueMappingAfter({ queueMapping: AGGREGATE_ID_MIN + 8 }), 0);
  datapath.setHostInterface({ egressId: 0, ingressId: AGGREGATE_ID_MAX });
  t.is(datapath.queueMappingAfter({ queueMapping: AGGREGATE_ID_MIN + 8 }), 0);
});

test.serial('podpace_deliver paces by the ingress aggregate', (t) => {
  datapath.aimAt('podpace_deliver');
  const [egressId, ingressId] = [AGGREGATE_ID_MIN, AGGREGATE_ID_MAX];
  datapath.setHostInterface({ egressId, ingressId });
  const lastNs = process.hrtime.bigint() + 40_000_000n;
  datapath.setClock(ingressId, { lastNs, prepaid: 0n });
  t.deepEqual(datapath.send({ wireLen: 1514 }), { verdict: TC_ACT_UNSPEC, tstampNs: lastNs });
  t.is(datapath.clock(ingressId).lastNs, lastNs + 121_120n);
  t.is(datapath.clock(egressId).lastNs, 0n);
});

test.serial('podpace_deliver never lets a packet leave before its egress aggregate does', (t) => {
  datapath.aimAt('podpace_deliver');
  datapath.setHostInterface({ egressId: 0, ingressId: AGGREGATE_ID_MIN });
  const tstampNs = process.hrtime.bigint() + 40_000_000n;
  t.is(datapath.send({ tstampNs }).tstampNs, tstampNs);
});

test.serial('podpace_deliver leaves packets alone where no ingress cap is set', (t) => {
  datapath.aimAt('podpace_deliver');
  t.deepEqual(datapath.send({ tstampNs: 5n }), { verdict: TC_ACT_UNSPEC, tstampNs: 5n });
  datapath.setHostInterface({ egressId: AGGREGATE_ID_MIN, ingressId: 0 });
  t.deepEqual(datapath.send({ tstampNs: 5n }), { verdict: TC_ACT_UNSPEC, tstampNs: 5n });
  t.is(datapath.clock(AGGREGATE_ID_MIN).lastNs, 0n);
});
