// Whether the wire carries the cap, no more in any second and no less on the whole: TCP, and
// datagrams offered above it.

import { parseOffered, runIperf } from './bulk.ts';
import { ACCURACY_SCENARIOS, UDP_SCENARIOS } from './names.ts';
import type { AccuracyScenario, UdpScenario } from './names.ts';
import type { NetworkBench } from './network.ts';
import { watchingStalls } from './stalls.ts';
import { maxWindowMbit, meanMbitWithin } from './statistics.ts';
import type { Span } from './statistics.ts';
import { chartRates, readWire } from './wire.ts';

/** A cap is judged over seconds. */
export const WINDOW_MS = 1000;
/**
 * The mean leaves out the start, in which TCP is finding out, and the end, where the load stops
 * within an interval.
 */
const SETTLED_AFTER_MS = 1000;
const END_MS = 200;

const CAPPED_SYSTEMS = ['podpace', 'tbf', 'edt-fifo'] as const;

const DATAGRAM_BYTES = '1400';

function settled(seconds: number): Span {
  return { fromMs: SETTLED_AFTER_MS, toMs: seconds * 1000 - END_MS };
}

/**
 * TCP flows against a cap. Windows of a second begin every 100 ms, the first with the first frame.
 */
export function accuracyBench(seconds: number): NetworkBench<AccuracyScenario> {
  return {
    name: 'accuracy',
    systems: CAPPED_SYSTEMS,
    hasQueuesPerProcessor: false,
    scenarios: ACCURACY_SCENARIOS,
    caps: ({ capMbit }) => ({ egressMbit: capMbit }),
    measure: async (target, { capMbit, flows }) => {
      const { node, signal } = target;
      node.counter.reset();
      const { stallMs } = await watchingStalls(() =>
        runIperf(node.pod, seconds, ['--parallel', String(flows)], signal),
      );
      const wire = readWire(target);
      const whole = { fromMs: 0, toMs: seconds * 1000 };
      return {
        metrics: [
          {
            metric: 'mean_share',
            unit: '1',
            value: meanMbitWithin(wire.frames, settled(seconds)) / capMbit,
          },
          {
            metric: 'max_window_share',
            unit: '1',
            value: maxWindowMbit(wire.frames, whole, WINDOW_MS) / capMbit,
          },
        ],
        stallMs,
        ratesMbit: chartRates(wire, seconds * 1000),
      };
    },
  };
}

/**
 * Datagrams offered at the cap and at twice the cap, in payload; the frames around it make either
 * more than the cap.
 */
export function udpBench(seconds: number): NetworkBench<UdpScenario> {
  return {
    name: 'udp',
    systems: CAPPED_SYSTEMS,
    hasQueuesPerProcessor: false,
    scenarios: UDP_SCENARIOS,
    caps: ({ capMbit }) => ({ egressMbit: capMbit }),
    measure: async (target, { capMbit, offeredMbit }) => {
      const { node, signal } = target;
      node.counter.reset();
      const options = ['--udp', '--length', DATAGRAM_BYTES, '--bitrate', `${offeredMbit}M`];
      const { result: report, stallMs } = await watchingStalls(() =>
        runIperf(node.pod, seconds, options, signal),
      );
      const wire = readWire(target);
      const delivered = meanMbitWithin(wire.frames, settled(seconds)) / capMbit;
      return {
        metrics: [
          { metric: 'delivered_share', unit: '1', value: delivered },
          { metric: 'offered_mbit', unit: 'Mbit/s', value: parseOffered(report) },
        ],
        stallMs,
        ratesMbit: chartRates(wire, seconds * 1000),
      };
    },
  };
}
