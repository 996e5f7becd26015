// What a departure step costs the processor, by the time of a test run.

import { COST_SCENARIOS, STEPS } from './names.ts';
import type { CostScenario, Step } from './names.ts';
import { metric } from './record.ts';
import type { Measured, Recorder } from './record.ts';
import { keepRun, type BenchOptions } from './runner.ts';
import { UndoStack } from '../bed/undo.ts';
import { AGGREGATE_ID, despiteSignals, StepUnderTest } from './step-under-test.ts';
import type { StepName } from './step-under-test.ts';

/** 1 Pbit/s: no backlog can build up, and every flow is sparse beside it. */
const RATE_BEYOND_LOAD = 125_000_000_000_000;
/** 1 Tbit/s: a million frames are 12 ms, so a clock that begins ahead stays there. */
const RATE_BULK = 125_000_000_000;
const AHEAD_NS = 1_000_000_000n;

/** Of the flow that has the clock ahead, and of the one that is sparse beside it. */
const BULK = { queueMapping: AGGREGATE_ID, flow: 1, wireLen: 1514 };
const SPARSE = { queueMapping: AGGREGATE_ID, flow: 2, wireLen: 64 };

/**
 * The steps run in turns with each other and with a program that does nothing: one clock rate, one
 * state of the caches. Of many turns the shortest of each counts: whatever else the machine does
 * makes some of them longer and none shorter, and a neighbour on the other thread of a core does so
 * for seconds.
 */
const TURNS = 40;

function runOnce(
  step: StepUnderTest,
  name: StepName,
  scenario: CostScenario,
  repeat: number,
): number {
  switch (scenario) {
    case 'unclassified':
      return step.send({ ...BULK, queueMapping: 0 }, repeat).durationNs;
    case 'bulk':
      step.configure(RATE_BULK);
      step.putAhead(BULK.flow, AHEAD_NS);
      return step.send(BULK, repeat).durationNs;
    case 'sparse':
      step.configure(RATE_BEYOND_LOAD);
      // The plain step knows no sparse flows: there it is a packet that meets no backlog.
      if (name === 'podpace') step.putAhead(BULK.flow, AHEAD_NS);
      return step.send(SPARSE, repeat).durationNs;
  }
}

/**
 * One run of `packets` through each step: what the kernel says a test run takes for each packet,
 * and how much of that is the step's, after what a test run of a program that does nothing takes on
 * the same way in.
 */
async function measureCosts(
  scenario: CostScenario,
  packets: number,
): Promise<ReadonlyMap<Step, Measured>> {
  const undo = new UndoStack();
  try {
    const nothing = StepUnderTest.load('nothing', undo);
    const steps = STEPS.map((name) => ({
      name,
      step: StepUnderTest.load(name, undo),
      shortest: Infinity,
    }));
    const repeat = Math.ceil(packets / TURNS);
    let empty = Infinity;
    for (let turn = 0; turn < TURNS; turn += 1) {
      empty = Math.min(
        empty,
        await despiteSignals(() => runOnce(nothing, 'nothing', 'unclassified', repeat)),
      );
      for (const each of steps) {
        const whole = await despiteSignals(() => runOnce(each.step, each.name, scenario, repeat));
        each.shortest = Math.min(each.shortest, whole);
      }
    }
    return new Map(
      steps.map(({ name, shortest }) => [
        name,
        {
          metrics: [
            metric('ns_per_packet', 'ns', shortest),
            metric('step_ns', 'ns', shortest - empty),
          ],
        },
      ]),
    );
  } finally {
    await undo.run();
  }
}

/** Runs the bench: the steps are measured side by side. */
export async function runCost(
  packets: number,
  recorder: Recorder,
  { repeats, isWanted, signal }: BenchOptions,
): Promise<void> {
  for (let repeat = 0; repeat < repeats; repeat += 1) {
    for (const scenario of COST_SCENARIOS.filter(isWanted)) {
      if (STEPS.every((system) => recorder.has({ scenario, system, repeat }))) continue;
      signal.throwIfAborted();
      for (const [system, measured] of await measureCosts(scenario, packets))
        keepRun('cost', { scenario, system, repeat }, measured, recorder);
    }
  }
}
