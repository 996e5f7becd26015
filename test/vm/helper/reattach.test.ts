// A cap that is taken off and put on again at once: pod and uplink lose programs and qdiscs each
// time, and the kernel ends links of programs in its own time. PODPACE_TURNS plays more of it, for
// a VM with several processors.

import test from 'ava';
import {
  addUplink,
  makeHelperDirectories,
  paramsOf,
  startOwnHelper,
  wirePod,
} from '../../kit/helper.ts';
import { makeNetns } from '../../kit/netns.ts';
import { reattach } from '../../kit/reattach.ts';

const CAPS = { egress: { rateBitsPerSec: 10_000_000 }, ingress: { rateBitsPerSec: 20_000_000 } };
const TURNS = Number(process.env['PODPACE_TURNS'] ?? 10);

test.serial(
  'a cap is put on right after it was taken off, every time, and nothing is missing',
  async (t) => {
    t.timeout(3_600_000);
    const [node, sandbox, peer] = [makeNetns(t), makeNetns(t), makeNetns(t)];
    addUplink(node, peer, 'uplink', 2);
    wirePod(node, sandbox, 'pod0');
    const before = node.tc('qdisc', 'show');
    const helper = await startOwnHelper(t, node, makeHelperDirectories(t));
    const startMs = performance.now();
    const outcome = await reattach(helper, paramsOf('pod0', sandbox, CAPS), TURNS);
    t.log(`${TURNS} turns in ${((performance.now() - startMs) / 1000).toFixed(1)} s`);
    t.deepEqual(outcome, { refused: [], missing: [] });
    t.notRegex(helper.log(), /EEXIST/);
    t.is(node.tc('qdisc', 'show'), before);
  },
);
