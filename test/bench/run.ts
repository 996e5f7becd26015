// Runs one bench in this process, on this kernel.

import os from 'node:os';
import { capture, succeeds } from '../../scripts/lib/process.ts';
import { accuracyBench, udpBench } from './accuracy.ts';
import { runBystanders } from './bystanders.ts';
import { measureCosts } from './cost.ts';
import { measureExact } from './exact.ts';
import { ingressBench } from './ingress.ts';
import { latencyBench } from './latency.ts';
import { liveBench } from './live.ts';
import { measureMemory } from './memory.ts';
import { COST_SCENARIOS, EXACT_SCENARIOS, MEMORY_SCENARIOS, STEPS } from './names.ts';
import type { Bench, System } from './names.ts';
import { runNetworkBench, sayRun } from './network.ts';
import type { BenchOptions } from './network.ts';
import { Recorder } from './record.ts';
import type { Measured } from './record.ts';
import { runSamenode } from './samenode.ts';
import { runToNode } from './to-node.ts';
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
}

/** What figures are published with. */
export const FULL: Effort = {
  repeats: 3,
  requestSeconds: 8,
  accuracySeconds: 10,
  udpSeconds: 6,
  phaseSeconds: 5,
  packets: 1_000_000,
};

/** Enough to see that everything works. */
export const QUICK: Effort = {
  repeats: 1,
  requestSeconds: 3,
  accuracySeconds: 4,
  udpSeconds: 3,
  phaseSeconds: 3,
  packets: 250_000,
};

/**
 * A run of steps without a network; of systems that have to be measured side by side, it is one
 * run.
 */
interface StepRun {
  readonly scenario: string;
  readonly systems: readonly System[];
  readonly measure: () => Promise<ReadonlyMap<System, Measured>>;
}

function stepRuns(bench: 'exact' | 'cost' | 'memory', packets: number): StepRun[] {
  switch (bench) {
    case 'exact':
      return EXACT_SCENARIOS.flatMap((scenario) =>
        STEPS.map((system) => ({
          scenario: scenario.name,
          systems: [system],
          measure: async () => new Map([[system, await measureExact(system, scenario, packets)]]),
        })),
      );
    case 'cost':
      return COST_SCENARIOS.map((scenario) => ({
        scenario,
        systems: STEPS,
        measure: () => measureCosts(scenario, packets),
      }));
    case 'memory':
      return MEMORY_SCENARIOS.map((scenario) => ({
        scenario: scenario.name,
        systems: ['podpace'],
        measure: async () => new Map([['podpace', await measureMemory(scenario)]]),
      }));
  }
}

async function runSteps(
  bench: 'exact' | 'cost' | 'memory',
  effort: Effort,
  recorder: Recorder,
  { isWanted, signal }: BenchOptions,
): Promise<void> {
  const runs = stepRuns(bench, effort.packets).filter(({ scenario }) => isWanted(scenario));
  for (let repeat = 0; repeat < effort.repeats; repeat += 1) {
    for (const { scenario, systems, measure } of runs) {
      if (systems.every((system) => recorder.has({ scenario, system, repeat }))) continue;
      signal.throwIfAborted();
      for (const [system, measured] of await measure()) {
        const key = { scenario, system, repeat };
        recorder.add({ ...key, ...measured });
        sayRun(bench, key, measured);
      }
    }
  }
}

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
  const effort = { ...(options.isQuick ? QUICK : FULL), repeats: options.repeats };
  const recorder = new Recorder(partFile, {
    bench,
    kernel: os.release(),
    cpus: os.availableParallelism(),
    cpuModel: os.cpus()[0]?.model ?? 'unknown',
    quick: options.isQuick,
    ...(options.countsInstructions && { clock: 'instructions' as const }),
    ...(options.wiring !== undefined && { wiring: options.wiring }),
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
      return await runBystanders(effort, recorder, options);
    case 'samenode':
      return await runSamenode(effort, recorder, options);
    case 'node':
      return await runToNode(effort, recorder, options);
    case 'wiring':
      await loadBbr();
      return await runWiring(effort, recorder, options);
    case 'exact':
    case 'cost':
    case 'memory':
      return await runSteps(bench, effort, recorder, options);
  }
}
