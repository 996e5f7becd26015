// An upgrade that ends anywhere, and the start after it. Each change of the pins may be the last
// thing that the process did.

import fs from 'node:fs';
import test from 'ava';
import { closeObject, type LoadedObject } from '../../../helper/kernel/bpf-loader.ts';
import { readPinnedLayout } from '../../../helper/kernel/layout-pin.ts';
import { changeOver } from '../../../helper/control/change-over.ts';
import { LAYOUT } from '../../../helper/wire/layout.ts';
import {
  asPodpace,
  clockNs,
  CONFIG,
  configOf,
  countersOf,
  FormerNode,
} from '../../kit/former-node.ts';

class Killed extends Error {}

/** Everything of node:fs that changes what is on bpffs. */
const CHANGES = ['mkdirSync', 'renameSync', 'rmSync', 'rmdirSync'] as const;

/**
 * Has the process "killed" right after its n-th change of the pins; returns how many changes there
 * were.
 */
async function killedAfter(kill: number, work: () => Promise<void>): Promise<number> {
  const real = Object.fromEntries(CHANGES.map((name) => [name, fs[name]]));
  let changes = 0;
  const counting =
    (change: (...args: unknown[]) => unknown) =>
    (...args: unknown[]): unknown => {
      changes += 1;
      if (changes > kill) throw new Killed();
      const result = change(...args);
      if (changes === kill) throw new Killed();
      return result;
    };
  for (const name of CHANGES) Object.assign(fs, { [name]: counting(real[name] as never) });
  try {
    await work();
  } catch (error) {
    if (!(error instanceof Killed)) throw error;
  } finally {
    Object.assign(fs, real);
  }
  return changes;
}

test.serial('killed after any change of the pins, the next start goes on', async (t) => {
  t.timeout(600_000);
  for (let kill = 1, isKilled = true; isKilled; kill++) {
    const node = new FormerNode(t, 'larger');
    node.send(10);
    const opened: LoadedObject[] = [];
    const upgrade = async (): Promise<void> => {
      const ours = node.loadOurs();
      opened.push(ours);
      const { failures } = await changeOver(
        asPodpace(ours),
        node.hooks(ours, () => node.send(3)),
      );
      t.deepEqual(failures, []);
    };
    isKilled = (await killedAfter(kill, upgrade)) >= kill;
    // Packets come while there is no helper.
    node.send(4);
    await upgrade();
    const ours = opened.at(-1);
    if (ours === undefined) return t.fail();
    const at = `killed at change ${kill}`;
    t.false(fs.readdirSync(node.pins).includes('former'), at);
    t.is(readPinnedLayout(node.pins)?.layout, LAYOUT, at);
    t.deepEqual(configOf(ours), CONFIG, at);
    // Never back to before what was granted; nor further than what was asked for since.
    const formerNs = clockNs(node.former, node.clockOffset);
    t.true(clockNs(ours, 0) >= formerNs, at);
    t.true(clockNs(ours, 0) - process.hrtime.bigint() < 60_000_000n, at);
    // Counted once; what a former program counted after the copy goes with the process that knew
    // what it had copied.
    const counted = Number(countersOf(ours).packets);
    t.true(
      counted <= node.passed && counted >= node.passed - 7,
      `${at}: ${counted} of ${node.passed}`,
    );
    for (const object of opened) closeObject(object);
  }
});
