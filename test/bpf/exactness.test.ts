// Several CPUs on one aggregate: the clock advances by the sum of the charges, whoever wins.

import test from 'ava';
import { AGGREGATE_ID_MIN } from '../../helper/wire/aggregate.ts';
import { UndoStack } from '../bed/undo.ts';
import { answer, order, startSender, type Sender } from '../bench/exact.ts';
import { TestDatapath, TC_ACT_UNSPEC } from '../kit/datapath.ts';
import { chargeOf } from '../model/departure.ts';

const ID = AGGREGATE_ID_MIN;
const SENDERS = 4;
const PACKETS_EACH = 100_000;
const UNITS_PER_NS = 1n << 16n;

const CONFIG = {
  horizonNs: 0xffff_ffffn,
  idleCreditNs: 0n,
  sparseCreditNs: 0n,
  targetNs: 0n,
  intervalNs: 100_000_000n,
};

let datapath: TestDatapath;
let senders: Sender[] = [];

const undo = new UndoStack();

test.before(async () => {
  datapath = new TestDatapath();
  datapath.aimAt('podpace_depart');
  const pins = Array.from({ length: SENDERS }, () => datapath.enterPin);
  senders = await Promise.all(pins.map((pin) => startSender(pin, undo)));
});

test.after.always(async () => {
  await undo.run();
  datapath?.close();
});

for (const count of [1, 2, SENDERS]) {
  for (const [rateBytesPerSec, wireLen] of [
    [12_500_000_000n, 1514],
    [125_000_000_000n, 64],
  ] as const) {
    test.serial(
      `${count} senders of ${wireLen} bytes at ${rateBytesPerSec} bytes/s are charged exactly`,
      async (t) => {
        datapath.configure(ID, { ...CONFIG, rateBytesPerSec });
        // Far enough ahead that no packet meets an idle clock, near enough that none meets the
        // horizon.
        const lastNs = process.hrtime.bigint() + 4_000_000_000n;
        datapath.setClock(ID, { lastNs, prepaid: 0n });

        const chosen = senders.slice(0, count);
        const answers = chosen.map(answer);
        for (const sender of chosen) order(sender, { queueMapping: ID, wireLen }, PACKETS_EACH);
        t.deepEqual(new Set(await Promise.all(answers)), new Set([String(TC_ACT_UNSPEC)]));

        const after = datapath.clock(ID);
        const units =
          BigInt(count * PACKETS_EACH) * chargeOf(rateBytesPerSec, BigInt(wireLen)).units;
        t.is(after.lastNs * UNITS_PER_NS - after.prepaid, lastNs * UNITS_PER_NS + units);
      },
    );
  }
}
