// Pods that containerd makes as a kubelet asks it to, with the annotations that carry a cap: what
// is on the wire, and what is left when they are gone.

import fs from 'node:fs';
import path from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { projectRoot } from '../../../scripts/lib/paths.ts';
import { attachCounter, compileCounter, type Counter } from '../../bed/counter.ts';
import { startHelper } from '../../bed/helper.ts';
import { parseIperf, runIperf, startServer } from '../../bed/iperf.ts';
import { firstSecondMbit, meanMbit } from '../../bed/series.ts';
import { makeTestBed } from '../../bed/testbed.ts';
import { UndoStack } from '../../bed/undo.ts';
import { PEER_ADDRESS, UPLINK } from '../../bed/uplink.ts';
import { startContainerd } from '../../kit/containerd.ts';
import { tracesOfPods } from '../../kit/traces-of-pods.ts';

const SECONDS = 4;

/** What TCP makes of a cap, and what it must not be above in the first second. */
const CAPS = [
  { cap: '10M', goodputMbit: [9.4, 9.6], firstSecondMbit: 10.5 },
  { cap: '100M', goodputMbit: [94, 95.7], firstSecondMbit: 105 },
] as const;
type Cap = (typeof CAPS)[number];

/** Debian's suites by which the caps were tried. */
const SUITES = ['bookworm'] as const;
const LISTS = ['10-podpace.conflist', '20-bridge-podpace.conflist'] as const;

function holds(t: ExecutionContext, what: string, cap: Cap, counter: Counter, from: string): void {
  const goodput = meanMbit(counter.readPayload().get(from) ?? [], SECONDS * 1000);
  const first = firstSecondMbit(counter.readWire().get(from) ?? []);
  t.log(`${what}: goodput ${goodput.toFixed(2)}, first second ${first.toFixed(2)} Mbit/s`);
  const [least, most] = cap.goodputMbit;
  t.true(goodput >= least && goodput <= most, `${what}: goodput ${goodput} Mbit/s`);
  t.true(first <= cap.firstSecondMbit, `${what}: ${first} Mbit/s in the first second`);
}

for (const suite of SUITES) {
  for (const file of LISTS) {
    const title = `containerd of ${suite} with ${file}: annotations cap a pod, and nothing of it stays`;
    test.serial(title, async (t) => {
      t.timeout(600_000);
      const [undo, { signal }] = [UndoStack.of(t), new AbortController()];
      compileCounter();
      const bed = await makeTestBed([], undo, signal);
      await startHelper(bed, undo, signal);
      const list = fs.readFileSync(path.join(projectRoot, 'conf', file), 'utf8');
      const cri = await startContainerd(bed, { suite, list }, undo, signal);
      t.log(await cri.version());
      const out = await attachCounter({ netns: bed.peer, device: UPLINK }, undo);
      const before = await tracesOfPods(bed);
      for (const each of CAPS) {
        const annotations = {
          'kubernetes.io/egress-bandwidth': each.cap,
          'kubernetes.io/ingress-bandwidth': each.cap,
        };
        const id = await cri.runSandbox({ name: `p${each.cap.toLowerCase()}`, annotations });
        const { address, netns } = await cri.sandbox(id);
        const pod = bed.nodeFile(netns.replace(/^\/var\/run\//, '/run/'));
        const untilGone = new UndoStack();
        try {
          const into = await attachCounter({ netns: pod, device: 'eth0' }, untilGone);
          await startServer(pod, untilGone, signal);
          const load = async (...flags: readonly string[]): Promise<void> => {
            const report = await runIperf(bed.peer, SECONDS, flags, signal, { to: address });
            parseIperf(report);
          };
          out.reset();
          await load('--reverse');
          holds(t, `${each.cap} out`, each, out, address);
          into.reset();
          await load();
          holds(t, `${each.cap} in`, each, into, PEER_ADDRESS);
        } finally {
          await untilGone.run();
        }
        await cri.stopSandbox(id);
        await cri.removeSandbox(id);
        t.deepEqual(await tracesOfPods(bed), before);
      }
    });
  }
}
