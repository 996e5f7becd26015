// The measuring itself: one system on a fresh test bed, every load in turn.

import { step } from '../../scripts/lib/progress.ts';
import { attachCounter } from '../bed/counter.ts';
import type { Counter } from '../bed/counter.ts';
import { startHelper } from '../bed/helper.ts';
import { receive, startServer } from '../bed/iperf.ts';
import { addressOf, bandwidthArguments, callPlugins } from '../bed/plugins.ts';
import { firstSecondMbit, meanMbit, ratesMbit } from '../bed/series.ts';
import { makeTestBed } from '../bed/testbed.ts';
import type { TestBed } from '../bed/testbed.ts';
import { UndoStack } from '../bed/undo.ts';
import { UPLINK } from '../bed/uplink.ts';
import { capMbit, SCENARIOS } from './lab-limits.ts';
import type { Scenario, System } from './lab-limits.ts';
import type { Trace } from './lab-report.ts';

/** How long each load lasts, in seconds. */
export interface Durations {
  /** One pod with a cap, by itself. */
  readonly capped: number;
  /** The pod without a cap, by itself. */
  readonly uncapped: number;
  /** All pods at once. */
  readonly together: number;
}

/** What a run needs from outside. */
export interface MeasureOptions {
  readonly durations: Durations;
  /** Ends the run early. */
  readonly signal: AbortSignal;
}

/** A trace, with the congestion control that the pod's TCP used. */
export interface Measured {
  readonly trace: Trace;
  readonly congestionControl: string;
}

interface Load {
  readonly title: string;
  readonly seconds: number;
  readonly scenarios: readonly Scenario[];
}

/**
 * The loads, in rounds. Each round has pods that have never sent before: a token bucket that an
 * earlier load has emptied would take minutes to fill again.
 */
function roundsOf({ capped, uncapped, together }: Durations): Load[][] {
  const byItself: Load[] = [
    { title: '10 Mbit/s cap', seconds: capped, scenarios: ['10M'] },
    { title: '100 Mbit/s cap', seconds: capped, scenarios: ['100M'] },
    { title: 'no cap', seconds: uncapped, scenarios: ['uncapped'] },
  ];
  const atOnce: readonly Scenario[] = ['together-10M', 'together-100M', 'together-uncapped'];
  return [byItself, [{ title: 'all three at once', seconds: together, scenarios: atOnce }]];
}

/** A pod is named after the scenario in which it is loaded by itself. */
function podOf(scenario: Scenario): Scenario {
  return SCENARIOS.find((each) => scenario === `together-${each}`) ?? scenario;
}

/** A system on its test bed, with the means to measure it. */
interface Bench {
  readonly system: System;
  readonly bed: TestBed<Scenario>;
  readonly counter: Counter;
  readonly signal: AbortSignal;
}

/** Lets the pods of a load send at the same time, and reads what they put on the wire. */
async function measureLoad(
  bench: Bench,
  load: Load,
  addresses: ReadonlyMap<Scenario, string>,
): Promise<Measured[]> {
  const { system, bed, counter, signal } = bench;
  counter.reset();
  const addressOf = (scenario: Scenario): string => addresses.get(podOf(scenario)) ?? '';
  const results = await atOnce(load.scenarios, (scenario) =>
    receive(bed.peer, addressOf(scenario), load.seconds, signal),
  );
  const [wireSeries, payloadSeries] = [counter.readWire(), counter.readPayload()];
  return load.scenarios.map((scenario, index) => {
    const result = results[index];
    const wire = wireSeries.get(addressOf(scenario));
    const payload = payloadSeries.get(addressOf(scenario));
    if (result === undefined || wire === undefined || payload === undefined) {
      throw new Error(
        `Cannot measure ${scenario} with ${system}: the peer saw no frame from ${addressOf(scenario)}`,
      );
    }
    const { retransmits, congestionControl } = result;
    const trace = {
      scenario,
      system,
      goodputMbit: meanMbit(payload, load.seconds * 1000),
      firstSecondMbit: firstSecondMbit(wire),
      retransmits,
      ratesMbit: ratesMbit(wire, load.seconds * 1000),
    };
    return { trace, congestionControl };
  });
}

/**
 * Does something with several things at once; waits for all of them before it throws the first
 * failure.
 */
async function atOnce<T, R>(things: Iterable<T>, work: (thing: T) => Promise<R>): Promise<R[]> {
  const outcomes = await Promise.allSettled([...things].map(work));
  return outcomes.map((outcome) => {
    if (outcome.status === 'rejected') throw outcome.reason;
    return outcome.value;
  });
}

/** Adds the pods, puts the loads on them one after the other, and takes the pods away. */
async function measureRound(bench: Bench, loads: readonly Load[]): Promise<Measured[]> {
  const { system, bed, signal } = bench;
  const pods = Array.from(bed.pods, ([scenario, netns]) => {
    const capabilityArguments = bandwidthArguments({ egressMbit: capMbit(scenario) });
    return { scenario, call: { network: system, bed, netns, capabilityArguments } };
  });
  const undo = new UndoStack();
  try {
    signal.throwIfAborted();
    undo.defer(
      'take the pods away',
      async () => void (await atOnce(pods, ({ call }) => callPlugins('del', call))),
    );
    const added = await step(`${system}: adding ${pods.length} pods`, () =>
      atOnce(
        pods,
        async ({ scenario, call }) =>
          [scenario, addressOf(await callPlugins('add', call))] as const,
      ),
    );
    const addresses = new Map<Scenario, string>(added);
    const measured: Measured[] = [];
    for (const load of loads) {
      signal.throwIfAborted();
      const title = `${system}: ${load.title}, ${load.seconds} s`;
      measured.push(...(await step(title, () => measureLoad(bench, load, addresses))));
    }
    return measured;
  } finally {
    await undo.run();
  }
}

/** A node with its peer and servers, on which pods can be added by the system. */
async function makeBench(system: System, options: MeasureOptions, undo: UndoStack): Promise<Bench> {
  const { signal } = options;
  const pods = SCENARIOS.filter((scenario) => podOf(scenario) === scenario);
  const bed = await makeTestBed(pods, undo, signal);
  const counter = await attachCounter({ netns: bed.peer, device: UPLINK }, undo);
  if (system === 'podpace') await startHelper(bed, undo, signal);
  await atOnce(bed.pods.values(), (netns) => startServer(netns, undo, signal));
  return { system, bed, counter, signal };
}

/**
 * Makes a node by one system, puts every load on its pods, and takes all of it away again.
 * Throws what went wrong; also then nothing is left behind.
 */
export async function measureSystem(system: System, options: MeasureOptions): Promise<Measured[]> {
  const undo = new UndoStack();
  try {
    const bench = await step(`${system}: making a node and a peer`, () =>
      makeBench(system, options, undo),
    );
    const measured: Measured[] = [];
    for (const loads of roundsOf(options.durations))
      measured.push(...(await measureRound(bench, loads)));
    return measured;
  } finally {
    await undo.run();
  }
}
