// Pods that cannot have their cap, as the runtime tells of it, and what is left of them.

import fs from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import test from 'ava';
import { projectRoot } from '../../scripts/lib/paths.ts';
import { containerdSuites } from '../../scripts/lib/containerd.ts';
import { startHelper } from '../bed/helper.ts';
import { makeTestBed } from '../bed/testbed.ts';
import { UndoStack } from '../bed/undo.ts';
import { startContainerd } from '../kit/containerd.ts';
import { tracesOfPods } from '../kit/traces-of-pods.ts';

const LIST = fs.readFileSync(path.join(projectRoot, 'conf/10-podpace.conflist'), 'utf8');
const CAPPED = { name: 'pod', annotations: { 'kubernetes.io/egress-bandwidth': '10M' } };
/** Less than ADD gives a helper. */
const LIMIT_SEC = 3;
/** What the runtime has begun it ends by itself. */
const CLEARED_WITHIN_MS = 60_000;

for (const suite of containerdSuites) {
  const title = `containerd of ${suite}: without a helper, with one that hangs, and killed meanwhile`;
  test.serial(title, async (t) => {
    t.timeout(600_000);
    const [undo, { signal }] = [UndoStack.of(t), new AbortController()];
    const bed = await makeTestBed([], undo, signal);
    const cri = await startContainerd(bed, { suite, list: LIST }, undo, signal);
    const none = await tracesOfPods(bed);
    const refused = await t.throwsAsync(cri.runSandbox(CAPPED));
    t.regex(refused?.message ?? '', /no helper listens there .*; start podpaced on this node/);
    t.deepEqual([await cri.sandboxes(), await tracesOfPods(bed)], [[], none]);
    const uncapped = await cri.runSandbox({ name: 'uncapped', annotations: {} });
    await cri.stopSandbox(uncapped);
    await cri.removeSandbox(uncapped);
    t.deepEqual([await cri.sandboxes(), await tracesOfPods(bed)], [[], none]);

    const helper = await startHelper(bed, undo, signal);
    const served = await tracesOfPods(bed);
    helper.pause();
    const hung = await t.throwsAsync(cri.runSandbox(CAPPED));
    t.regex(hung?.message ?? '', /no answer within \d+ ms/);
    const killed = await t.throwsAsync(cri.runSandbox({ ...CAPPED, limitSec: LIMIT_SEC }));
    t.regex(killed?.message ?? '', /signal: killed|without an answer/);
    helper.resume();
    const deadlineMs = performance.now() + CLEARED_WITHIN_MS;
    const isClear = async (): Promise<boolean> =>
      (await cri.sandboxes()).length === 0 && (await tracesOfPods(bed)).length === served.length;
    while (!(await isClear()) && performance.now() < deadlineMs) await sleep(500);
    t.deepEqual([await cri.sandboxes(), await tracesOfPods(bed)], [[], served]);
  });
}
