// What becomes of the time that a packet's socket asked for (SO_TXTIME) where no cap holds the
// packet: our fq, which it meets all the same, knows the monotonic clock only, on Linux 6.18 and
// older.

import test, { type ExecutionContext } from 'ava';
import { AGGREGATE_ID_MIN } from '../../helper/wire/aggregate.ts';
import { NODE_LIST } from '../../helper/wire/exemption.ts';
import type { TestPacket } from '../bed/test-packet.ts';
import { TestDatapath, TC_ACT_UNSPEC } from '../kit/datapath.ts';
import { readClock } from '../kit/timed-datagrams.ts';

const ID = AGGREGATE_ID_MIN;
const CONFIG = {
  rateBytesPerSec: 12_500_000n,
  horizonNs: 4_000_000_000n,
  idleCreditNs: 0n,
  sparseCreditNs: 0n,
  targetNs: 0n,
  intervalNs: 100_000_000n,
};
/** Lists of bpf/exemptions.h: EXEMPT_NODE. */
const EXEMPT_NODE = 2;
const SECOND_NS = 1_000_000_000n;

let datapath: TestDatapath;

test.before(() => {
  datapath = new TestDatapath();
});

test.after.always(() => {
  datapath?.close();
});

/**
 * Sends a packet that asks to leave so long after now by CLOCK_TAI; how long after now it leaves,
 * and how exact that is.
 */
function sojournOf(
  t: ExecutionContext,
  aheadNs: bigint,
  packet: TestPacket,
): [sojournNs: bigint, errorNs: bigint] {
  const beganAt = readClock('CLOCK_MONOTONIC');
  const { verdict, tstampNs } = datapath.send({
    ...packet,
    tstampNs: readClock('CLOCK_TAI') + aheadNs,
  });
  t.is(verdict, TC_ACT_UNSPEC);
  return [tstampNs - beganAt, readClock('CLOCK_MONOTONIC') - beganAt];
}

/**
 * A time of CLOCK_TAI becomes the same in the monotonic clock, or now when it is over; any other
 * stays.
 */
function saysMonotonic(t: ExecutionContext, packet: TestPacket = {}): void {
  const [later, laterError] = sojournOf(t, SECOND_NS, packet);
  t.true(
    later >= SECOND_NS && later <= SECOND_NS + laterError,
    `${later} ns, a second and ${laterError}`,
  );
  const [over, overError] = sojournOf(t, -SECOND_NS, packet);
  t.true(over >= 0n && over <= overError, `${over} ns of ${overError}`);
  for (const tstampNs of [0n, 5n, readClock('CLOCK_MONOTONIC') + SECOND_NS])
    t.is(datapath.send({ ...packet, tstampNs }).tstampNs, tstampNs);
}

for (const program of ['podpace_depart', 'podpace_depart_upper', 'podpace_deliver']) {
  test.serial(`${program}: a packet of nobody leaves when its socket asks`, (t) => {
    datapath.aimAt(program);
    saysMonotonic(t);
  });

  test.serial(`${program}: a packet to an exempt address leaves when its socket asks`, (t) => {
    datapath.aimAt(program);
    datapath.configure(ID, CONFIG, EXEMPT_NODE);
    datapath.setExemptions(NODE_LIST, ['0.0.0.0/0']);
    saysMonotonic(t, { queueMapping: ID });
    datapath.setExemptions(NODE_LIST, []);
  });

  test.serial(
    `${program}: of a packet that a cap holds the time of another clock does not count`,
    (t) => {
      datapath.aimAt(program);
      datapath.configure(ID, CONFIG);
      datapath.forget(ID);
      const lastNs = readClock('CLOCK_MONOTONIC') + SECOND_NS;
      datapath.setClock(ID, { lastNs, prepaid: 0n });
      const tstampNs = readClock('CLOCK_TAI') + 2n * SECOND_NS;
      t.is(datapath.send({ queueMapping: ID, wireLen: 1514, tstampNs }).tstampNs, lastNs);
    },
  );
}

test.serial('podpace_deliver: the same without the program behind it', (t) => {
  datapath.aimAt('podpace_deliver');
  const putBack = datapath.loseContinuation();
  t.teardown(putBack);
  saysMonotonic(t);
});
