// skb->priority of packets with a departure time: fq sends those of TC_PRIO_CONTROL at once,
// whatever time they carry.

import test from 'ava';
import fc from 'fast-check';
import { AGGREGATE_ID_MAX, AGGREGATE_ID_MIN } from '../../helper/wire/aggregate.ts';
import { u32 } from '../kit/arbitraries.ts';
import { TestDatapath } from '../kit/datapath.ts';

const CONFIG = {
  ...{ rateBytesPerSec: 12_500_000n, horizonNs: 4_000_000_000n, intervalNs: 100_000_000n },
  ...{ idleCreditNs: 0n, sparseCreditNs: 0n, targetNs: 0n },
};
/**
 * TC_PRIO_MAX, TC_PRIO_INTERACTIVE and TC_PRIO_CONTROL of linux/pkt_sched.h; above the mask stands
 * a class, perhaps.
 */
const [MASK, INTERACTIVE, CONTROL] = [15, 6, 7];

const TO_ALL = [255, 255, 255, 255, 255, 255];

const priorities = fc.oneof(
  u32,
  u32.map((value) => (value & ~MASK & 0x7fff_ffff) + CONTROL),
);

/** What a packet that has to wait may carry: the rest is as it was. */
function waiting(priority: number): number {
  return (priority & MASK) === CONTROL ? priority - CONTROL + INTERACTIVE : priority;
}

let datapath: TestDatapath;

test.before(() => {
  datapath = new TestDatapath();
});

test.after.always(() => {
  datapath?.close();
});

test.beforeEach(() => {
  for (const id of [AGGREGATE_ID_MIN, AGGREGATE_ID_MAX]) {
    datapath.configure(id, CONFIG);
    datapath.forget(id);
  }
});

for (const program of ['podpace_depart', 'podpace_depart_upper', 'podpace_deliver']) {
  test.serial(`${program} has fq look at the time of every packet that it stamps`, (t) => {
    datapath.aimAt(program);
    datapath.setHostInterface({ egressId: 0, ingressId: AGGREGATE_ID_MAX });
    const sent = fc.record({
      priority: priorities,
      queueMapping: fc.constantFrom(0, AGGREGATE_ID_MIN),
    });
    fc.assert(
      fc.property(sent, (packet) => {
        const isStamped = program === 'podpace_deliver' || packet.queueMapping !== 0;
        const expected = isStamped ? waiting(packet.priority) : packet.priority;
        t.is(datapath.sendForDetails(packet).priority, expected);
      }),
    );
  });
}

test.serial('podpace_classify does so with what goes to many, which it stamps itself', (t) => {
  datapath.aimAt('podpace_classify');
  datapath.setHostInterface({ egressId: AGGREGATE_ID_MIN, ingressId: 0 });
  const sent = fc.record({ priority: priorities, mac: fc.constantFrom(undefined, TO_ALL) });
  fc.assert(
    fc.property(sent, ({ priority, mac }) => {
      const { priority: after } = datapath.sendForDetails({ priority, ...(mac && { mac }) });
      t.is(after, mac === undefined ? priority : waiting(priority));
    }),
  );
});

test.serial('so it is while the program behind ingress caps is lost', (t) => {
  datapath.aimAt('podpace_deliver');
  datapath.setHostInterface({ egressId: 0, ingressId: AGGREGATE_ID_MAX });
  const putBack = datapath.loseContinuation();
  try {
    fc.assert(
      fc.property(priorities, (priority) =>
        t.is(datapath.sendForDetails({ priority }).priority, waiting(priority)),
      ),
    );
  } finally {
    putBack();
  }
});
