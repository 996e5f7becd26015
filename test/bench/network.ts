// Runs benches that send packets: nodes of all systems side by side, every scenario on each of them
// in turn.

import { say, step } from '../../scripts/lib/progress.ts';
import { temporaryDirectory } from '../bed/temporary-directory.ts';
import { UndoStack } from '../bed/undo.ts';
import type { PodCaps } from '../bed/plugins.ts';
import { BenchNode } from './node.ts';
import type { Bench, System } from './names.ts';
import type { Measured, Recorder, RunKey } from './record.ts';
import { keepRun, type BenchOptions, type Scenario } from './runner.ts';
import { measureUndisturbed } from './stalls.ts';

/** A node with its pod, ready for one run. */
export interface Target {
  readonly node: BenchNode;
  /** The pod's IPv4 address. */
  readonly address: string;
  readonly signal: AbortSignal;
}

/** A bench that sends packets. */
export interface NetworkBench<S extends Scenario> {
  readonly name: Bench;
  readonly systems: readonly System[];
  /** Whether each processor has transmit queues of its own: requests then share none with bulk. */
  readonly hasQueuesPerProcessor: boolean;
  readonly scenarios: readonly S[];
  /** The pod's caps when it is added. */
  readonly caps: (scenario: S) => PodCaps;
  /** One run. */
  readonly measure: (target: Target, scenario: S) => Promise<Measured>;
}

async function makeNodes(
  {
    systems,
    hasQueuesPerProcessor,
  }: Pick<NetworkBench<Scenario>, 'systems' | 'hasQueuesPerProcessor'>,
  options: BenchOptions,
  undo: UndoStack,
): Promise<BenchNode[]> {
  const nodes: BenchNode[] = [];
  for (const system of systems) {
    const { signal, wiring } = options;
    const folder = temporaryDirectory(undo);
    const nodeOptions = { folder, hasQueuesPerProcessor, wiring, signal };
    const node = await step(`making a node for ${system}`, () =>
      BenchNode.make(system, nodeOptions, undo),
    );
    node.pause();
    nodes.push(node);
  }
  return nodes;
}

/** One run of a scenario on a node. */
interface Turn {
  readonly key: RunKey;
  readonly node: BenchNode;
  readonly address: string;
}

/**
 * Makes a run and records it. One that fails is told and costs no other: what it should have shown
 * is missing in the report. Returns whether it succeeded.
 */
async function takeTurn<S extends Scenario>(
  bench: NetworkBench<S>,
  scenario: S,
  { key, node, address }: Turn,
  { recorder, signal }: { readonly recorder: Recorder; readonly signal: AbortSignal },
): Promise<boolean> {
  node.resume();
  try {
    const measured = await measureUndisturbed(() =>
      bench.measure({ node, address, signal }, scenario),
    );
    keepRun(bench.name, key, measured, recorder);
    return true;
  } catch (error) {
    signal.throwIfAborted();
    const reason = error instanceof Error ? error.message : String(error);
    say(`${bench.name} ${key.scenario}, ${key.system}, run ${key.repeat + 1} failed: ${reason}`);
    return false;
  } finally {
    node.pause();
  }
}

/**
 * One scenario: a pod on every node, then runs on the nodes in turn, as often as asked for. Returns
 * how many runs failed.
 */
async function runScenario<S extends Scenario>(
  bench: NetworkBench<S>,
  scenario: S,
  nodes: readonly BenchNode[],
  { recorder, options }: { readonly recorder: Recorder; readonly options: BenchOptions },
): Promise<number> {
  const { signal, repeats } = options;
  const turns = Array.from({ length: repeats }, (_, repeat) =>
    nodes.map((node) => ({ node, repeat })),
  ).flat();
  const keyOf = ({ node, repeat }: (typeof turns)[number]): RunKey => ({
    scenario: scenario.name,
    system: node.system,
    repeat,
  });
  const open = turns.filter((turn) => !recorder.has(keyOf(turn)));
  const undo = new UndoStack();
  try {
    const addresses = new Map<BenchNode, string>();
    const caps = bench.caps(scenario);
    for (const node of new Set(open.map((turn) => turn.node))) {
      signal.throwIfAborted();
      undo.defer(`take the pod of ${node.system} away`, async () => {
        node.resume();
        await node.removePod(caps);
      });
      node.resume();
      addresses.set(node, await node.addPod(caps));
      node.pause();
    }
    let failures = 0;
    for (const turn of open) {
      signal.throwIfAborted();
      const { node } = turn;
      const address = addresses.get(node) ?? '';
      const taken = { key: keyOf(turn), node, address };
      if (!(await takeTurn(bench, scenario, taken, { recorder, signal }))) failures += 1;
    }
    return failures;
  } finally {
    await undo.run();
  }
}

/**
 * Runs a bench; every run is recorded as soon as it is over. Throws what went wrong; nothing is
 * left behind.
 */
export async function runNetworkBench<S extends Scenario>(
  bench: NetworkBench<S>,
  recorder: Recorder,
  options: BenchOptions,
): Promise<void> {
  const scenarios = bench.scenarios.filter(({ name }) => options.isWanted(name));
  if (scenarios.length === 0) return;
  const undo = new UndoStack();
  try {
    const nodes = await makeNodes(bench, options, undo);
    let failures = 0;
    for (const scenario of scenarios) {
      failures += await runScenario(bench, scenario, nodes, { recorder, options });
    }
    if (failures > 0)
      throw new Error(`Cannot report all of ${bench.name}: ${failures} runs failed`);
  } finally {
    await undo.run();
  }
}
