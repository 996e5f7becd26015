// The plain step is what the benches compare with: it must do what the field's step does, defects
// and all.

import test from 'ava';
import { AGGREGATE_ID, StepUnderTest } from '../bench/step-under-test.ts';
import type { TestOutcome, TestPacket } from '../bed/test-packet.ts';
import { UndoStack } from '../bed/undo.ts';
import { TC_ACT_SHOT, TC_ACT_UNSPEC } from '../kit/datapath.ts';

const HORIZON_NS = 2_000_000_000n;
/** 1 ms for a packet of 1250 bytes. */
const RATE_BYTES_PER_SEC = 1_250_000;
const PACKET = { queueMapping: AGGREGATE_ID, flow: 1, wireLen: 1250 };
const PACKET_NS = 1_000_000n;

const undo = new UndoStack();
let step: StepUnderTest;

test.before(() => {
  step = StepUnderTest.load('edt-fifo', undo);
});

test.after.always(() => undo.run());

test.beforeEach(() => step.configure(RATE_BYTES_PER_SEC));

function send(packet: TestPacket, repeat = 1): TestOutcome {
  const { verdict, tstampNs } = step.send(packet, repeat);
  return { verdict, tstampNs };
}

test.serial(
  'a packet that meets no backlog leaves as it came, and the clock is set to now',
  (t) => {
    const before = process.hrtime.bigint();
    t.deepEqual(send(PACKET), { verdict: TC_ACT_UNSPEC, tstampNs: 0n });
    t.true(step.clockNs() >= before && step.clockNs() <= process.hrtime.bigint());
  },
);

test.serial('behind a backlog a packet waits for that and for its own time', (t) => {
  step.putAhead(0, 100_000_000n);
  const clock = step.clockNs();
  t.deepEqual(send(PACKET), { verdict: TC_ACT_UNSPEC, tstampNs: clock + PACKET_NS });
  t.is(step.clockNs(), clock + PACKET_NS);
});

test.serial('one clock is for all flows: another flow waits as long', (t) => {
  step.putAhead(0, 100_000_000n);
  const clock = step.clockNs();
  t.is(send({ ...PACKET, flow: 2 }).tstampNs, clock + PACKET_NS);
});

test.serial('two seconds ahead packets are dropped, and the clock is left alone', (t) => {
  step.putAhead(0, HORIZON_NS - 100n * PACKET_NS);
  const { verdict } = send(PACKET, 1000);
  t.is(verdict, TC_ACT_SHOT);
  const clock = step.clockNs();
  const ahead = clock - process.hrtime.bigint();
  t.true(ahead <= HORIZON_NS && ahead > HORIZON_NS - 1_000_000_000n, `${ahead} ns ahead`);
});

test.serial('a packet of no aggregate is none of its business', (t) => {
  step.putAhead(0, 100_000_000n);
  const clock = step.clockNs();
  for (const queueMapping of [0, AGGREGATE_ID + 1])
    t.deepEqual(send({ ...PACKET, queueMapping }), { verdict: TC_ACT_UNSPEC, tstampNs: 0n });
  t.is(step.clockNs(), clock);
});
