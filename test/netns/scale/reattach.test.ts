// A device that is let go and taken again at once, through the helper: the kernel ends links of
// programs in its own time. Kernels before 6.6 have no such links. With a cap:
// test/vm/helper/reattach.test.ts. PODPACE_TURNS plays more of it.

import test from 'ava';
import { makeHelperDirectories, paramsOf, startOwnHelper, wirePod } from '../../kit/helper.ts';
import { makeNetns } from '../../kit/netns.ts';
import { reattach } from '../../kit/reattach.ts';

const TURNS = Number(process.env['PODPACE_TURNS'] ?? 100);

test.serial(
  `an ADD right after a DEL of the same device succeeds ${TURNS} times, and nothing is missing`,
  async (t) => {
    const [node, sandbox] = [makeNetns(t), makeNetns(t)];
    wirePod(node, sandbox, 'pod0');
    const helper = await startOwnHelper(t, node, makeHelperDirectories(t));
    // Host routing needs a program at the host interface, and no qdisc that this kernel may lack.
    const hostRouting = { addresses: ['192.0.2.2'], mac: '02:00:00:00:00:01' };
    const params = { ...paramsOf('pod0', sandbox, {}), hostRouting };
    t.timeout(900_000);
    const beginMs = performance.now();
    t.deepEqual(await reattach(helper, params, TURNS), { refused: [], missing: [] });
    t.log(`${TURNS} turns in ${((performance.now() - beginMs) / 1000).toFixed(1)} s`);
    t.notRegex(helper.log(), /EEXIST/);
  },
);
