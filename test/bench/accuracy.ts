// Whether the wire carries the cap, no more in any second and no less on the whole: TCP, and
// datagrams offered above it.

import { parseOffered, runIperf } from '../bed/iperf.ts';
import { ACCURACY_SCENARIOS, UDP_SCENARIOS } from './names.ts';
import type { AccuracyScenario, UdpScenario } from './names.ts';
import type { NetworkBench, Target } from './network.ts';
import { metric } from './record.ts';
import { maxWindowMbit, meanMbitWithin } from '../bed/statistics.ts';
import type { Span } from '../bed/statistics.ts';
import { chartRates, readWire } from './wire.ts';
import type { Wire } from './wire.ts';

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

/** What both benches have in common. */
const BASE = { systems: CAPPED_SYSTEMS, hasQueuesPerProcessor: false } as const;

/** Has the pod send in bulk; what came to the peer. */
async function wireOf(
  target: Target,
  seconds: number,
  options: readonly string[],
): Promise<{ readonly wire: Wire; readonly report: string }> {
  const { node, signal } = target;
  node.counter.reset();
  const report = await runIperf(node.pod, seconds, options, signal);
  return { wire: readWire(target), report };
}

/**
 * TCP flows against a cap. Windows of a second begin every 100 ms, the first with the first frame.
 */
export function accuracyBench(seconds: number): NetworkBench<AccuracyScenario> {
  return {
    ...BASE,
    name: 'accuracy',
    scenarios: ACCURACY_SCENARIOS,
    caps: ({ capMbit }) => ({ egressMbit: capMbit }),
    measure: async (target, { capMbit, flows }) => {
      const { wire } = await wireOf(target, seconds, ['--parallel', String(flows)]);
      const whole = { fromMs: 0, toMs: seconds * 1000 };
      const mean = meanMbitWithin(wire.frames, settled(seconds));
      return {
        metrics: [
          metric('mean_share', '1', mean / capMbit),
          metric('max_window_share', '1', maxWindowMbit(wire.frames, whole, WINDOW_MS) / capMbit),
        ],
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
    ...BASE,
    name: 'udp',
    scenarios: UDP_SCENARIOS,
    caps: ({ capMbit }) => ({ egressMbit: capMbit }),
    measure: async (target, { capMbit, offeredMbit }) => {
      const options = ['--udp', '--length', DATAGRAM_BYTES, '--bitrate', `${offeredMbit}M`];
      const { wire, report } = await wireOf(target, seconds, options);
      const delivered = meanMbitWithin(wire.frames, settled(seconds)) / capMbit;
      return {
        metrics: [
          metric('delivered_share', '1', delivered),
          metric('offered_mbit', 'Mbit/s', parseOffered(report)),
        ],
        ratesMbit: chartRates(wire, seconds * 1000),
      };
    },
  };
}
