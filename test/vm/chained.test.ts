// Caps behind the plugins of others, with the shipped conflists as they stand: does the aggregate's
// id survive bridging and routing, and does the cap hold on the frames at the peer?

import path from 'node:path';
import test from 'ava';
import { projectRoot } from '../../scripts/lib/paths.ts';
import { attachCounter, compileCounter } from '../bed/counter.ts';
import { startHelper } from '../bed/helper.ts';
import { receive, startServer } from '../bed/iperf.ts';
import { meanMbit } from '../bed/series.ts';
import { addPod, addressOf, bandwidthArguments, callPlugins } from '../bed/plugins.ts';
import { makeTestBed } from '../bed/testbed.ts';
import { UndoStack } from '../bed/undo.ts';
import { UPLINK } from '../bed/uplink.ts';

const SECONDS = 3;
const CAP_MBIT = 10;
const USED_PART = 0.9;

for (const file of ['20-bridge-podpace.conflist', '30-ptp-podpace.conflist']) {
  test.serial(`the cap of ${file} holds on the wire`, async (t) => {
    t.timeout(300_000);
    const undo = UndoStack.of(t);
    compileCounter();
    const signal = new AbortController().signal;
    const bed = await makeTestBed(['pod'], undo, signal);
    const pod = bed.pods.get('pod') ?? '';
    const counter = await attachCounter({ netns: bed.peer, device: UPLINK }, undo);
    await startHelper(bed, undo, signal);
    await startServer(pod, undo, signal);
    const network = { conflist: path.join(projectRoot, 'conf', file) };
    const capabilityArguments = bandwidthArguments({ egressMbit: CAP_MBIT });
    const call = { network, bed, netns: pod, capabilityArguments };
    const address = addressOf(await addPod(call, undo));
    await callPlugins('check', call);
    counter.reset();
    await receive(bed.peer, address, SECONDS, signal);
    const mbit = meanMbit(counter.readWire().get(address) ?? [], SECONDS * 1000);
    t.true(mbit <= 1.005 * CAP_MBIT, `${mbit} Mbit/s on the wire`);
    t.true(mbit >= USED_PART * CAP_MBIT, `${mbit} Mbit/s on the wire`);
  });
}
