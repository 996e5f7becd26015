// `podpaced run`: loads the datapath, brings the node to its recorded state, serves the socket,
// repairs from time to time. Ending it leaves all shaping in place.

import fs from 'node:fs';
import os from 'node:os';
import { nodeDefaultsOf, type HelperConfig } from './config.ts';
import { createHandler } from './handler.ts';
import { openHealth } from './health.ts';
import { startHeartbeat } from './heartbeat.ts';
import { trimHeap } from './kernel/ffi.ts';
import { tryFeatures, tryFq } from './kernel/features.ts';
import { endLeftHurry } from './kernel/grace-periods.ts';
import { THERE, type KernelFeatures } from './wire/kernel-features.ts';
import { nodeIdentity } from './kernel/node-identity.ts';
import { raiseBurstLimit } from './control/burst-limit.ts';
import { FqWatch } from './control/fq-watch.ts';
import { linkCluster } from './cluster-link.ts';
import { holdCapRules } from './hold-cap-rules.ts';
import { keepList, leaveList } from './list-keeping.ts';
import { followNode } from './follow-node.ts';
import type { Log } from './log.ts';
import { linkMetrics } from './metrics-server.ts';
import type { ListKeeper } from './install/keep-in-list.ts';
import { NodeLock } from './node-lock.ts';
import { providePinPlace, requirePinPlace } from './pin-place.ts';
import { missingPrivileges } from './privileges.ts';
import { probe, standingItems } from './probe.ts';
import { directoriesOf, historian, mapRepairer, repairer } from './repairs.ts';
import { Refusal } from './refusal.ts';
import { listen } from './server.ts';
import { bothOf, openServiceManager } from './service-manager.ts';
import { nameOf } from './protocol/pod-names.ts';
import { HISTORY_STEP_SECONDS } from './protocol/requests.ts';
import { Datapath } from './control/datapath.ts';
import { startRefusal } from './shaping/features.ts';
import { nodeProblem, type Problem } from './shaping/judgement.ts';
import { markRecords, requireKnownLayout } from './control/layout.ts';
import { Shaper } from './control/shaper.ts';
import { Store } from './control/store.ts';
import { placeHere, Uncapped } from './control/uncapped.ts';
import { UncappedFiles } from './control/uncapped-files.ts';
import { removeTraces } from './uninstall.ts';
import { WishFiles } from './control/wish-files.ts';
import { Wishes } from './control/wishes.ts';
import { VERSION } from './version.ts';
import { LAYOUT } from './wire/layout.ts';

/** Pause between two looks at the maps: a damaged entry is in force for so long at most. */
const MAP_REPAIR_MS = 2_000;

/** Pause between two times that memory is given back. */
const TRIM_MS = 10_000;

const HISTORY_STEP_MS = HISTORY_STEP_SECONDS * 1000;

const REQUEST_DEADLINE_MS = 9_000;
const IDLE_TIMEOUT_MS = 30_000;

/** The shaper over this node's kernel, with what has to be closed afterwards. */
export interface Control {
  readonly shaper: Shaper;
  readonly store: Store;
  readonly datapath: Datapath;
}

/** Throws Refusal with what the kernel lacks. The programs themselves are tried by loading them. */
async function requireKernel(): Promise<KernelFeatures> {
  const features = { ...(await tryFeatures()), programs: THERE };
  const refusal = startRefusal(features);
  if (refusal === undefined) return features;
  throw new Refusal(refusal, ` on Linux ${os.release()}`);
}

/** A node that is this helper's alone, with a place for its pins. */
export interface PreparedNode {
  readonly lock: NodeLock;
  /** What is wrong with it although it can be used. */
  readonly problems: readonly string[];
  /** What its kernel has. */
  readonly features: KernelFeatures;
  /** Nothing was pinned: podpace was not here, or has been uninstalled. */
  readonly isNew: boolean;
}

/**
 * Everything that comes before the first change of the datapath, in this order: privileges, lock,
 * kernel, bpffs, layout, directories. Up to the lock nothing is changed. `anyLayout` passes over
 * the layout. Throws Error with the remedy, which says what cannot be done, when this node cannot
 * be served.
 */
export async function prepareNode(
  config: HelperConfig,
  log: Log,
  { purpose, anyLayout = false }: { readonly purpose: string; readonly anyLayout?: boolean },
): Promise<PreparedNode> {
  try {
    return await prepare(config, log, anyLayout);
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    throw new Error(`Cannot ${purpose}${error.where}: ${error.message}`, { cause: error });
  }
}

async function prepare(config: HelperConfig, log: Log, anyLayout: boolean): Promise<PreparedNode> {
  const missing = missingPrivileges();
  if (missing !== undefined) throw new Refusal(missing);
  requirePinPlace(config);
  const lock = await NodeLock.take(config, log);
  try {
    const features = await requireKernel();
    const problems = providePinPlace(config);
    for (const problem of problems) log('warn', problem);
    if (!anyLayout)
      requireKnownLayout(directoriesOf(config), VERSION, (message) => log('warn', message));
    const isNew = !fs.existsSync(config.pinDir);
    for (const directory of [config.pinDir, config.stateDir]) lock.provide(directory);
    return { lock, problems, features, isNew };
  } catch (error) {
    lock.release();
    throw error;
  }
}

/**
 * Loads the programs and opens the records, on a node that was prepared. Throws when it cannot be
 * capped, saying why. `standingProblems`: what is wrong besides what a look at devices and maps
 * shows.
 */
export function openControl(
  config: HelperConfig,
  log: Log,
  standingProblems: () => readonly Problem[] = () => [],
): Control {
  const identity = nodeIdentity();
  const store = new Store(config.stateDir, (message) => log('warn', message), identity);
  const datapath = new Datapath(directoriesOf(config), VERSION);
  markRecords(directoriesOf(config), VERSION);
  const uncapped = new UncappedFiles(config.socket);
  uncapped.removeStaged();
  const shaper = new Shaper({
    datapath,
    store,
    uplinks: config.uplink,
    defaults: nodeDefaultsOf(config),
    foreignQdisc: config.foreignQdisc,
    exempt: config.exempt,
    nodeTraffic: config.nodeTraffic,
    tunOverheadBytes: config.tunOverheadBytes,
    capRules: config.capRules,
    standingProblems,
    wishes: new Wishes(new WishFiles(config.socket)),
    uncapped: new Uncapped(uncapped, placeHere(identity.bootId), log),
    log,
  });
  return { shaper, store, datapath };
}

/**
 * Goes on from what a former layout left: caps, settings and counters are carried over, and its
 * programs replaced. Call before the first reconciliation.
 */
async function upgradeNode({ datapath }: Control, log: Log): Promise<void> {
  const startMs = performance.now();
  const { replaced, failures } = await datapath.changeOver();
  const took = `${replaced} programs in ${(performance.now() - startMs).toFixed(0)} ms`;
  if (replaced > 0)
    log('info', `Upgraded to layout ${LAYOUT}: replaced ${took}, caps stay in force`);
  for (const failure of failures)
    log('error', `Cannot replace a program of a former release: ${failure}`);
}

/** Status tells of it as long as it lasts: see burstLimitNotices. */
function tryToRaiseBurstLimit(log: Log): void {
  try {
    raiseBurstLimit();
  } catch (error) {
    log('warn', `Cannot raise net.core.qdisc_max_burst: ${(error as Error).message}`);
  }
}

function untilSignal(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
}

/**
 * Tells of the pods that were without their cap, since `uninstall` or since the pins were lost, and
 * have it again.
 */
function tellOfKept({ store }: Control, log: Log): void {
  const kept = store.readAttachments().map(nameOf);
  if (kept.length === 0) return;
  log(
    'info',
    `Holds the caps of ${kept.length} pods again that had records and no pins (podpace was uninstalled, ` +
      `or its bpffs is another): ${kept.slice(0, 20).join(', ')}`,
  );
}

/** Says what exempt CIDRs cover that say one thing and mean another. */
async function tellOfLooseCidrs({ exempt }: HelperConfig, log: Log): Promise<void> {
  if (exempt.length === 0) return;
  const { notesOfLooseCidrs } = await import('./loose-cidrs.ts');
  for (const note of notesOfLooseCidrs(exempt)) log('warn', note);
}

/** Brings the node to its recorded state; with a node that is new, what was kept comes back. */
async function bringToRecords(
  config: HelperConfig,
  control: Control,
  repair: () => Promise<void>,
  { isNew, log }: { readonly isNew: boolean; readonly log: Log },
): Promise<void> {
  endLeftHurry();
  await upgradeNode(control, log);
  tryToRaiseBurstLimit(log);
  await repair();
  if (isNew) {
    await control.shaper.limitOffloadAgain();
    tellOfKept(control, log);
  }
  await holdCapRules(config, control.shaper, log);
}

/** The end of a helper that has been stopped, or uninstalled. */
async function endService(
  config: HelperConfig,
  uninstalled: { readonly forget: boolean } | undefined,
  log: Log,
): Promise<void> {
  if (uninstalled === undefined) return log('info', 'stopped; caps stay in force');
  for (const note of await removeTraces(config, { ...uninstalled, anyLayout: false }))
    log('warn', note);
  log('info', 'uninstalled');
}

/** Does again and again what a helper does unasked; returns what ends it. */
function startRounds(
  { reconcileSeconds }: HelperConfig,
  repair: () => Promise<void>,
  repairMaps: () => Promise<void>,
  takeHistory: () => Promise<void>,
): () => void {
  void takeHistory();
  const timers = [
    setInterval(() => void repair(), reconcileSeconds * 1000),
    setInterval(() => void repairMaps(), MAP_REPAIR_MS),
    setInterval(() => void takeHistory(), HISTORY_STEP_MS),
    setInterval(trimHeap, TRIM_MS),
  ];
  return () => timers.forEach((timer) => clearInterval(timer));
}

/** Runs until SIGTERM, SIGINT or an uninstall. */
export async function runDaemon(config: HelperConfig, log: Log): Promise<void> {
  const stopping = new AbortController();
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => stopping.abort());
  const cluster = await linkCluster(config, log);
  const { lock, problems, features, isNew } = await prepareNode(config, log, { purpose: 'start' });
  const manager = openServiceManager(process.env, log);
  const health = bothOf(await openHealth(config.healthAddress), manager);
  await tellOfLooseCidrs(config, log);
  const fq = new FqWatch(tryFq, features.fq);
  const items = standingItems(config);
  let keeper: ListKeeper | undefined;
  const problemsOfList = (): Problem[] => (keeper?.problems() ?? []).map(nodeProblem);
  const control = openControl(config, log, () => [
    ...[...problems.map(nodeProblem), ...fq.problems(), ...problemsOfList()],
  ]);
  const { shaper, datapath } = control;
  const metrics = linkMetrics(config, shaper, log);
  let uninstalled: { readonly forget: boolean } | undefined;
  const handler = createHandler({
    shaper,
    version: VERSION,
    kernel: os.release(),
    defaults: nodeDefaultsOf(config),
    startedAt: new Date(),
    features: () => items({ ...features, fq: fq.last }),
    probe: () => probe(config, () => THERE),
    notices: () => [...cluster.notices(), ...metrics.notices()],
    tallies: metrics.tallies,
    beforeUninstall: async () => keeper && (await leaveList(keeper, log)),
    stop: (extent) => {
      uninstalled = extent;
      setImmediate(() => stopping.abort());
    },
    log,
  });
  const following = followNode(control, metrics.tallies, log);
  const tell = metrics.hearingToo(manager.hearingToo(cluster.tellOfProblems));
  const telling = { lookSoon: following.lookSoon, tell, tallies: metrics.tallies };
  const repair = repairer({ config, shaper, fq, log, ...telling });
  const repairMaps = mapRepairer(shaper, health, log);
  await bringToRecords(config, control, repair, { isNew, log });
  const timing = { requestDeadlineMs: REQUEST_DEADLINE_MS, idleTimeoutMs: IDLE_TIMEOUT_MS, log };
  const server = await listen(handler, { socketPath: config.socket, ...timing });
  // From here on pods with caps can be added.
  health.serves();
  keeper = keepList(config, shaper, log, cluster.tellOfList);
  const fault = (): string | undefined => fq.problems()[0]?.text;
  const endHeartbeat = startHeartbeat({ socket: config.socket, fault, log });
  log(
    'info',
    `podpaced ${VERSION} serves ${config.socket} (${datapath.hooks.kind}, uplinks ${config.uplink.join(' ')})`,
  );
  cluster.follow(shaper);
  const endRounds = startRounds(config, repair, repairMaps, historian(shaper, log));
  await untilSignal(stopping.signal);
  endRounds();
  cluster.close();
  health.close();
  metrics.close();
  endHeartbeat();
  keeper?.close();
  following.stop();
  server.close();
  datapath.close();
  await endService(config, uninstalled, log);
  lock.release();
}
