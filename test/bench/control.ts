// What calls of the CNI plugin cost beside those of others: rounds in which every system makes
// every call once, in turn, so that what else the machine does falls on all of them.

import { hasSchFq } from '../../scripts/lib/needs.ts';
import { say, step } from '../../scripts/lib/progress.ts';
import { temporaryDirectory } from '../bed/temporary-directory.ts';
import { UndoStack } from '../bed/undo.ts';
import { beginningWith, metricsOf, oneAfterTheOther } from './control-figures.ts';
import type { CallCost } from './control-figures.ts';
import { ControlNode } from './control-nodes.ts';
import type { PluginCommand, PodSystem } from './control-nodes.ts';
import { CONTROL_SCENARIOS } from './names.ts';
import type { ControlScenario, ControlSystem } from './names.ts';
import { metric } from './record.ts';
import type { Measured, Recorder } from './record.ts';
import { keepRun, type BenchOptions } from './runner.ts';
import { median } from '../bed/statistics.ts';

/** Calls of the plugin by itself: its command, and whether another plugin comes before it. */
const DIRECT = {
  'del-again': { command: 'DEL', isChained: false },
  'del-again-chained': { command: 'DEL', isChained: true },
  version: { command: 'VERSION', isChained: true },
  // As the first plugin it hands on what Debian's host-local does not know.
  status: { command: 'STATUS', isChained: true },
} as const satisfies Partial<
  Record<ControlScenario, { readonly command: PluginCommand; readonly isChained: boolean }>
>;
const DIRECT_SCENARIOS = Object.keys(DIRECT) as (keyof typeof DIRECT)[];

/** Scenarios with the life of one pod. */
const LIFE = ['add', 'del', 'add-del', 'check'] as const satisfies readonly ControlScenario[];

/** Scenarios on a node that has other pods. */
const BESIDE_OTHERS = [
  'add-10-at-once',
  'add-tenth',
  'del-tenth',
] as const satisfies readonly ControlScenario[];

/** What a system's calls took in the rounds of a run. */
class Costs {
  readonly #costs = new Map<ControlScenario, CallCost[]>();
  readonly #peakRssMib = new Map<ControlScenario, number[]>();

  add(scenario: ControlScenario, ...costs: readonly CallCost[]): void {
    this.#costs.set(scenario, [...(this.#costs.get(scenario) ?? []), ...costs]);
  }

  addCold(scenario: ControlScenario, { peakRssMib }: CallCost): void {
    this.#peakRssMib.set(scenario, [...(this.#peakRssMib.get(scenario) ?? []), peakRssMib]);
  }

  /** Figures of a scenario; undefined where it was not measured. */
  of(scenario: ControlScenario): Measured | undefined {
    const costs = this.#costs.get(scenario);
    if (costs === undefined) return undefined;
    const cold = this.#peakRssMib.get(scenario) ?? [];
    const rss = cold.length === 0 ? [] : [metric('peak_rss_mib', 'MiB', median(cold))];
    return { metrics: [...metricsOf(costs), ...rss] };
  }
}

type IsWanted = (scenario: ControlScenario) => boolean;

/** A system with its node; the empty executable runs on podpace's. */
interface Contender {
  readonly system: ControlSystem;
  readonly node: ControlNode;
  readonly costs: Costs;
}

async function runLife({ node, costs }: Contender): Promise<void> {
  const added = await node.network('add');
  costs.add('add', added);
  costs.add('check', await node.network('check'));
  const deleted = await node.network('del');
  costs.add('del', deleted);
  costs.add('add-del', oneAfterTheOther(added, deleted));
}

async function runBesideOthers({ node, costs }: Contender): Promise<void> {
  costs.add('add-10-at-once', ...(await node.addAtOnce()));
  costs.add('del-tenth', await node.tenth('del'));
  costs.add('add-tenth', await node.tenth('add'));
  await node.deleteAll();
}

/** What a call by itself would take if the plugin itself did nothing. */
async function nothing(
  node: ControlNode,
  { command, isChained }: (typeof DIRECT)[keyof typeof DIRECT],
): Promise<CallCost> {
  const empty = await node.nothing(command);
  return isChained ? empty : oneAfterTheOther(empty, await node.ipam(command));
}

/** All calls of one system, once. */
async function runTurn(contender: Contender, isWanted: IsWanted): Promise<void> {
  const { system, node, costs } = contender;
  const addsPods = system !== 'empty-executable';
  if (addsPods && LIFE.some(isWanted)) await runLife(contender);
  if (addsPods && BESIDE_OTHERS.some(isWanted)) await runBesideOthers(contender);
  if (system === 'go-chain') return;
  for (const scenario of DIRECT_SCENARIOS.filter(isWanted)) {
    const { command, isChained } = DIRECT[scenario];
    const cost = addsPods
      ? await node.plugin(command, isChained)
      : await nothing(node, DIRECT[scenario]);
    costs.add(scenario, cost);
  }
}

/** Calls for which no page of the executable is in the page cache, for what they hold resident. */
async function runCold({ system, node, costs }: Contender, isWanted: IsWanted): Promise<void> {
  if (system !== 'podpace' && system !== 'baseline') return;
  if (isWanted('version')) {
    await node.forgetPlugin();
    costs.addCold('version', await node.plugin('VERSION', true));
  }
  if (!isWanted('add') && !isWanted('del')) return;
  await node.forgetPlugin();
  costs.addCold('add', await node.network('add'));
  await node.forgetPlugin();
  costs.addCold('del', await node.network('del'));
}

async function makeContenders(
  { baseline, signal }: BenchOptions,
  undo: UndoStack,
): Promise<Contender[]> {
  const folder = temporaryDirectory(undo);
  const hasFq = await hasSchFq();
  if (!hasFq)
    say(
      'control: this kernel has no sch_fq: podpace cannot hold the caps, and adds its pods without ' +
        '(onUnenforceable is allow): what the helper and the kernel have to do for them is not measured',
    );
  const nodeOptions = { baseline, hasFq, folder, signal };
  const make = async (system: PodSystem): Promise<Contender> => ({
    system,
    node: await ControlNode.make(system, nodeOptions, undo),
    costs: new Costs(),
  });
  const podpace = await make('podpace');
  return [
    podpace,
    await make('go-chain'),
    { ...podpace, system: 'empty-executable', costs: new Costs() },
    ...(baseline === undefined ? [] : [await make('baseline')]),
  ];
}

/** How often every call is made in a run. */
interface ControlEffort {
  readonly rounds: number;
  /** With the plugin's executable out of the page cache. */
  readonly coldRounds: number;
}

/** Keeps what was measured under the scenarios that were asked for. */
function record(
  contenders: readonly Contender[],
  repeat: number,
  recorder: Recorder,
  isWanted: IsWanted,
): void {
  for (const scenario of CONTROL_SCENARIOS.filter(isWanted)) {
    for (const { system, costs } of contenders) {
      const key = { scenario, system, repeat };
      const measured = costs.of(scenario);
      if (measured === undefined || recorder.has(key)) continue;
      keepRun('control', key, measured, recorder);
    }
  }
}

/** One run: makes the nodes, has all rounds on them and takes them away again. */
async function run(
  { rounds, coldRounds }: ControlEffort,
  repeat: number,
  recorder: Recorder,
  options: BenchOptions,
): Promise<void> {
  const { isWanted, signal } = options;
  const undo = new UndoStack();
  try {
    const contenders = await step('control: making nodes', () => makeContenders(options, undo));
    const everyone = async (
      first: number,
      turn: (contender: Contender, isWanted: IsWanted) => Promise<void>,
    ): Promise<void> => {
      for (const contender of beginningWith(contenders, first)) {
        signal.throwIfAborted();
        await contender.node.awake(() => turn(contender, isWanted));
      }
    };
    // It does not count: what is read for the first time comes from the disk.
    await everyone(0, (contender) => runTurn({ ...contender, costs: new Costs() }, isWanted));
    for (let round = 0; round < rounds; round += 1) await everyone(round, runTurn);
    for (let round = 0; round < coldRounds; round += 1) await everyone(round, runCold);
    record(contenders, repeat, recorder, isWanted);
  } finally {
    await undo.run();
  }
}

/** Runs the bench; every run is recorded as soon as it is over. Nothing is left behind. */
export async function runControl(
  effort: ControlEffort,
  recorder: Recorder,
  options: BenchOptions,
): Promise<void> {
  const wanted = CONTROL_SCENARIOS.filter(options.isWanted);
  for (let repeat = 0; repeat < options.repeats; repeat += 1) {
    const isOver = wanted.every((scenario) =>
      recorder.has({ scenario, system: 'podpace', repeat }),
    );
    if (!isOver) await run(effort, repeat, recorder, options);
  }
}
