// From maps of another layout to ours while packets come: what was granted by both together is
// never more than the cap.

import fs from 'node:fs';
import test from 'ava';
import { closeObject } from '../../helper/kernel/bpf-loader.ts';
import { changeOver } from '../../helper/control/change-over.ts';
import type { TestOutcome } from '../bed/test-packet.ts';
import {
  asPodpace,
  clockNs,
  CONFIG,
  configOf,
  countersOf,
  FormerNode,
  LAYOUTS,
} from '../kit/former-node.ts';
import { openDescriptors } from '../kit/netns.ts';

const [PASSED, DROPPED] = [-1, 2];
/** The horizon, and a packet of 70 kB. */
const UNKNOWN_NS = 57_000_000n;

for (const layout of LAYOUTS) {
  test.serial(
    `${layout} values: clocks and counters go on, and no slot is granted twice`,
    async (t) => {
      // The first one compiles, which takes an emulated machine its time.
      t.timeout(300_000);
      const node = new FormerNode(t, layout);
      t.true(node.send(20).every(({ verdict }) => verdict === PASSED));

      const before = openDescriptors();
      const ours = node.loadOurs();
      t.teardown(() => closeObject(ours));
      // The former program goes on until it is replaced. Ours lets nothing pass until no former one
      // is left.
      const meanwhile: TestOutcome[][] = [];
      const hooks = node.hooks(ours, () => meanwhile.push(node.send(5)));
      t.deepEqual(await changeOver(asPodpace(ours), hooks), { replaced: 1, failures: [] });
      t.deepEqual(
        meanwhile.map((sent) => [...new Set(sent.map(({ verdict }) => verdict))]),
        [[PASSED], [DROPPED]],
      );

      const isUnknown = layout === 'unknown';
      const [formerNs, granted] = [clockNs(node.former, node.clockOffset), clockNs(ours, 0)];
      if (isUnknown) {
        t.true(granted >= formerNs);
        t.true(granted - process.hrtime.bigint() <= UNKNOWN_NS);
      } else t.is(granted, formerNs);
      t.deepEqual(configOf(ours), CONFIG);
      // The next packet gets the slot behind all that either has granted, or is dropped where that
      // may be beyond the horizon.
      const [next] = node.send(1);
      const hasPassed = next?.verdict === PASSED;
      t.true(hasPassed || isUnknown);
      if (hasPassed) t.true((next?.tstampNs ?? 0n) >= granted - BigInt(CONFIG.idleCreditNs));
      const counted = countersOf(ours);
      t.is(counted.packets, BigInt((isUnknown ? 0 : 25) + Number(hasPassed)));
      t.is(counted.droppedHorizon, BigInt(5 + Number(!hasPassed)));
      t.false(fs.readdirSync(node.pins).includes('former'));
      // Of the former maps none is open any more: there are ours, their pages, and programs.
      t.true(openDescriptors() - before <= ours.maps.size + ours.programs.size + 4);
    },
  );
}
