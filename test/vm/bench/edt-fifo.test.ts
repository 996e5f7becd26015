// The plain step on a node, as the benches set it up: by tcx links where the kernel has them, else
// by filters.

import test from 'ava';
import { startEdtFifo } from '../../bench/edt-fifo.ts';
import { meanMbitWithin } from '../../bed/statistics.ts';
import { ensureCnitool } from '../../../scripts/lib/cnitool.ts';
import { attachCounter, compileCounter } from '../../bed/counter.ts';
import { parseBulk, runIperf, startServer } from '../../bed/iperf.ts';
import { INTERVAL_MS } from '../../bed/series.ts';
import { addPod, addressOf, hostInterfaceOf } from '../../bed/plugins.ts';
import { makeTestBed } from '../../bed/testbed.ts';
import { UndoStack } from '../../bed/undo.ts';
import { UPLINK } from '../../bed/uplink.ts';

const CAP_MBIT = 10;
const SECONDS = 3;
const { signal } = new AbortController();

test('a pod is held to its cap behind a queue that only the horizon ends', async (t) => {
  const undo = UndoStack.of(t);
  compileCounter();
  const bed = await makeTestBed(['pod'], undo, signal);
  const counter = await attachCounter({ netns: bed.peer, device: UPLINK }, undo);
  await startServer(bed.peer, undo, signal);
  const edtFifo = await startEdtFifo(bed.node, undo);

  const netns = bed.pods.get('pod') ?? '';
  await ensureCnitool();
  const result = await addPod({ network: 'ptp', bed, netns }, undo);
  await edtFifo.cap(hostInterfaceOf(result), CAP_MBIT);

  const { meanRttUs } = parseBulk(await runIperf(netns, SECONDS, [], signal), 1);
  const bytes = counter.readWire().get(addressOf(result)) ?? [];
  const mean = meanMbitWithin(
    { bytes, intervalMs: INTERVAL_MS },
    { fromMs: 1000, toMs: SECONDS * 1000 - 200 },
  );
  t.true(Math.abs(mean / CAP_MBIT - 1) < 0.03, `${mean} Mbit/s`);
  t.true(meanRttUs > 100_000, `${meanRttUs} us`);
});
