// Caps behind the plugins of others, with the shipped conflists as they stand: does the aggregate's
// id survive bridging and routing, and does the cap hold on the frames at the peer?

import fs from 'node:fs';
import path from 'node:path';
import test from 'ava';
import { buildDirectory, projectRoot } from '../../scripts/lib/paths.ts';
import { capture } from '../../scripts/lib/process.ts';
import { attachCounter, compileCounter } from '../bed/counter.ts';
import { receive, startServer } from '../bed/load.ts';
import { meanMbit } from '../bed/series.ts';
import { addressOf, capabilityArguments, startSystem } from '../bed/systems.ts';
import { makeTestBed } from '../bed/testbed.ts';
import { UndoStack } from '../bed/undo.ts';
import { UPLINK } from '../bed/uplink.ts';

const SECONDS = 3;
const CAP_MBIT = 10;
const USED_PART = 0.9;

for (const file of ['20-bridge-podpace.conflist', '30-ptp-podpace.conflist']) {
  test.serial(`the cap of ${file} holds on the wire`, async (t) => {
    t.timeout(300_000);
    const undo = new UndoStack();
    t.teardown(() => undo.run());
    compileCounter();
    const signal = new AbortController().signal;
    const bed = await makeTestBed(['10M'], undo, signal);
    const pod = bed.pods.get('10M') ?? '';
    const counter = await attachCounter({ netns: bed.peer, device: UPLINK }, undo);
    await startSystem('podpace', bed, undo, signal);
    await startServer(pod, undo, signal);
    const directory = path.join(projectRoot, 'conf');
    const { name } = JSON.parse(fs.readFileSync(path.join(directory, file), 'utf8')) as {
      name: string;
    };
    const env = {
      CNI_PATH: `${projectRoot}/dist:/usr/lib/cni`,
      NETCONFPATH: directory,
      CAP_ARGS: capabilityArguments('10M'),
    };
    const call = (verb: string) =>
      capture(...bed.onNode(path.join(buildDirectory, 'tools/cnitool'), verb, name, pod), { env });
    undo.defer('take the pod away', async () => void (await call('del')));
    const address = addressOf(await call('add'));
    await call('check');
    counter.reset();
    await receive(bed.peer, address, SECONDS, signal);
    const mbit = meanMbit(counter.readWire().get(address) ?? [], SECONDS * 1000);
    t.true(mbit <= 1.005 * CAP_MBIT, `${mbit} Mbit/s on the wire`);
    t.true(mbit >= USED_PART * CAP_MBIT, `${mbit} Mbit/s on the wire`);
  });
}
