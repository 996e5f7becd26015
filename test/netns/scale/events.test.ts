// A node that boots, is drained or speaks BGP: events by the thousand.

import fs from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { RtEvents } from '../../../helper/kernel/rt-events.ts';
import { inNetns } from '../../../helper/kernel/netns.ts';
import {
  addUplink,
  leaveRecord,
  makeHelperDirectories,
  paramsOf,
  startOwnHelper,
  wirePod,
} from '../../kit/helper.ts';
import { makeNetns, runBatch } from '../../kit/netns.ts';

const CAPS = { egress: { rateBitsPerSec: 10_000_000 } };
const PAIRS = 300;
const EVENTS = 10_000;
const FOLLOW_MS = 2000;

const RMEM_MAX = '/proc/sys/net/core/rmem_max';
/** What a kernel starts with. */
const USUAL_RMEM_MAX = '212992';

/** For the time of a test no socket gets more room than usual, unless it is allowed to take it. */
function boundReceiveBuffers(t: ExecutionContext): void {
  const former = fs.readFileSync(RMEM_MAX, 'utf8');
  t.teardown(() => fs.writeFileSync(RMEM_MAX, former));
  fs.writeFileSync(RMEM_MAX, USUAL_RMEM_MAX);
}

function range(count: number): number[] {
  return Array.from({ length: count }, (_, index) => index);
}

test.serial(
  'ten thousand link events within a second leave the helper alive and its exits right',
  async (t) => {
    boundReceiveBuffers(t);
    const [node, sandbox, peer, other] = [makeNetns(t), makeNetns(t), makeNetns(t), makeNetns(t)];
    addUplink(node, peer, 'uplink', 1);
    wirePod(node, sandbox, 'pod0');
    const directories = makeHelperDirectories(t);
    leaveRecord(node, directories, paramsOf('pod0', sandbox, CAPS));
    const helper = await startOwnHelper(t, node, directories);

    // All of them in one batch: a boot, or a drain.
    await runBatch(
      node,
      range(PAIRS).flatMap((pair) => [
        `link add v${pair} type veth peer name w${pair}`,
        `link set v${pair} up`,
      ]),
    );
    let heard = 0;
    const witness = inNetns(node.netns, () => new RtEvents(() => (heard += 1)));
    t.teardown(() => witness.close());
    const rounds = Math.ceil(EVENTS / PAIRS);
    const tookMs = await runBatch(
      node,
      range(rounds).flatMap((round) =>
        range(PAIRS).map((pair) => `link set v${pair} alias a${round}`),
      ),
    );
    const endMs = performance.now();
    await runBatch(node, [
      `link add second type veth peer name second netns ${other.name}`,
      'address add 192.0.2.1/24 dev second',
      'link set second up',
    ]);
    for (;;) {
      const { exits } = await helper.ask('status', {});
      if (exits.find(({ name }) => name === 'second')?.departureProgram === true) break;
      if (performance.now() - endMs > 3 * FOLLOW_MS) return t.fail(`not followed: ${helper.log()}`);
      await sleep(20);
    }
    const followedMs = performance.now() - endMs;
    t.log(`${heard} events in ${tookMs.toFixed(0)} ms, followed ${followedMs.toFixed(0)} ms later`);
    t.true(heard >= EVENTS);
    t.true(followedMs < FOLLOW_MS);
  },
);
