// Runs of benches: each is recorded as soon as it is over, and told of.

import { UndoStack } from '../bed/undo.ts';
import { say } from '../../scripts/lib/progress.ts';
import type { BuiltRevision } from '../../scripts/lib/revisions.ts';
import type { Bench, System } from './names.ts';
import type { Measured, Recorder, RunKey } from './record.ts';

/** A scenario as far as every bench has it. */
export interface Scenario {
  readonly name: string;
}

/** How a bench is run. */
export interface BenchOptions {
  readonly repeats: number;
  readonly isWanted: (scenario: string) => boolean;
  /** How podpace joins pods to their nodes; absent: as its network list says. */
  readonly wiring?: string | undefined;
  /** A former revision to measure beside podpace, in the bench of CNI calls. */
  readonly baseline?: BuiltRevision | undefined;
  readonly signal: AbortSignal;
}

const FIGURES_SHOWN = 4;

/** Records a run, and says its first figures in one line. */
export function keepRun(bench: Bench, key: RunKey, measured: Measured, recorder: Recorder): void {
  recorder.add({ ...key, ...measured });
  const figures = measured.metrics
    .slice(0, FIGURES_SHOWN)
    .map(({ metric, value }) => `${metric} ${Number(value.toPrecision(4))}`);
  say(`${bench} ${key.scenario}, ${key.system}, run ${key.repeat + 1}: ${figures.join(', ')}`);
}

/** A bench each of whose runs has a node of its own, or what else it measures. */
export interface SingleBench<S extends Scenario, Measurable extends System> {
  readonly name: Bench;
  readonly scenarios: readonly S[];
  readonly systemsOf: (scenario: S) => readonly Measurable[];
  /** One run; what it defers is undone after it. */
  readonly measure: (
    system: Measurable,
    scenario: S,
    means: { readonly undo: UndoStack; readonly signal: AbortSignal },
  ) => Promise<Measured>;
}

/** Runs such a bench. Nothing is left behind. */
export async function runSingly<S extends Scenario, Measurable extends System>(
  { name, scenarios, systemsOf, measure }: SingleBench<S, Measurable>,
  recorder: Recorder,
  { repeats, isWanted, signal }: BenchOptions,
): Promise<void> {
  for (const scenario of scenarios.filter((each) => isWanted(each.name))) {
    for (let repeat = 0; repeat < repeats; repeat += 1) {
      for (const system of systemsOf(scenario)) {
        const key = { scenario: scenario.name, system, repeat };
        if (recorder.has(key)) continue;
        signal.throwIfAborted();
        const undo = new UndoStack();
        try {
          keepRun(name, key, await measure(system, scenario, { undo, signal }), recorder);
        } finally {
          await undo.run();
        }
      }
    }
  }
}
