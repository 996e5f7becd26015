// Runs one bench in this process, on this kernel.

import os from 'node:os';
import { capture, succeeds } from '../../scripts/lib/process.ts';
import { accuracyBench, udpBench } from './accuracy.ts';
import { bystandersBench } from './bystanders.ts';
import { runControl } from './control.ts';
import { runCost } from './cost.ts';
import { exactBench } from './exact.ts';
import { ingressBench } from './ingress.ts';
import { latencyBench } from './latency.ts';
import { liveBench } from './live.ts';
import { MEMORY_BENCH } from './memory.ts';
import type { Bench } from './names.ts';
import { runNetworkBench } from './network.ts';
import { Recorder } from './record.ts';
import { runSingly, type BenchOptions } from './runner.ts';
import { samenodeBench } from './samenode.ts';
import { scaleBench } from './scale.ts';
import { nodeBench } from './to-node.ts';
import { runWiring } from './wiring.ts';

/** How much is measured. */
export interface Effort {
  readonly repeats: number;
  /** Seconds of requests under bulk. */
  readonly requestSeconds: number;
  readonly accuracySeconds: number;
  readonly udpSeconds: number;
  /** Seconds of each cap of a live change. */
  readonly phaseSeconds: number;
  /** Of each sender, and of each cost. */
  readonly packets: number;
  /** Of every CNI call. */
  readonly rounds: number;
  /** Of those for which the plugin is read from the disk. */
  readonly coldRounds: number;
  /** For which a helper is left alone: some of its reconciliations. */
  readonly idleSeconds: number;
}

/** What figures are published with. */
export const FULL: Effort = {
  repeats: 3,
  requestSeconds: 8,
  accuracySeconds: 10,
  udpSeconds: 6,
  phaseSeconds: 5,
  packets: 1_000_000,
  rounds: 10,
  coldRounds: 3,
  idleSeconds: 60,
};

/** Enough to see that everything works. */
export const QUICK: Effort = {
  repeats: 1,
  requestSeconds: 3,
  accuracySeconds: 4,
  udpSeconds: 3,
  phaseSeconds: 3,
  packets: 250_000,
  rounds: 5,
  coldRounds: 1,
  idleSeconds: 20,
};

/** Linux does not offer it before it is loaded. */
async function loadBbr(): Promise<void> {
  if (!(await succeeds('modprobe', ['tcp_bbr']))) {
    const available = await capture('sysctl', ['-n', 'net.ipv4.tcp_available_congestion_control']);
    if (!available.includes('bbr'))
      throw new Error('Cannot measure BBR: this kernel has no module tcp_bbr; use another one');
  }
}

/**
 * Runs a bench and keeps what it measures in `partFile`; runs that are there already are not
 * repeated.
 */
export async function runBench(
  bench: Bench,
  partFile: string,
  options: BenchOptions & { readonly isQuick: boolean; readonly countsInstructions: boolean },
): Promise<void> {
  const effort = options.isQuick ? QUICK : FULL;
  const recorder = new Recorder(partFile, {
    bench,
    kernel: os.release(),
    cpus: os.availableParallelism(),
    cpuModel: os.cpus()[0]?.model ?? 'unknown',
    quick: options.isQuick,
    ...(options.countsInstructions && { clock: 'instructions' as const }),
    ...(options.wiring !== undefined && { wiring: options.wiring }),
    ...(options.baseline !== undefined && { baseline: options.baseline.commit }),
  });
  switch (bench) {
    case 'latency':
      await loadBbr();
      return await runNetworkBench(latencyBench(effort.requestSeconds), recorder, options);
    case 'accuracy':
      return await runNetworkBench(accuracyBench(effort.accuracySeconds), recorder, options);
    case 'udp':
      return await runNetworkBench(udpBench(effort.udpSeconds), recorder, options);
    case 'live':
      return await runNetworkBench(liveBench(effort.phaseSeconds), recorder, options);
    case 'ingress':
      return await runNetworkBench(ingressBench(effort.accuracySeconds), recorder, options);
    case 'bystanders':
      return await runSingly(bystandersBench(effort.udpSeconds), recorder, options);
    case 'samenode':
      return await runSingly(samenodeBench(effort.accuracySeconds), recorder, options);
    case 'node':
      return await runSingly(nodeBench(effort.accuracySeconds), recorder, options);
    case 'wiring':
      await loadBbr();
      return await runWiring(effort.accuracySeconds, recorder, options);
    case 'control':
      return await runControl(effort, recorder, options);
    case 'exact':
      return await runSingly(exactBench(effort.packets), recorder, options);
    case 'cost':
      return await runCost(effort.packets, recorder, options);
    case 'scale':
      return await runSingly(scaleBench(effort.idleSeconds), recorder, options);
    case 'memory':
      return await runSingly(MEMORY_BENCH, recorder, options);
  }
}
