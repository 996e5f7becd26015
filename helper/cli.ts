// The operator's commands. Every one that asks the helper goes through its socket and takes --json.

import fs from 'node:fs';
import net from 'node:net';
import { Command, CommanderError } from 'commander';
import {
  ConfigError,
  FLAGS,
  mergeConfig,
  parseConfigFile,
  readSettings,
  type HelperConfig,
} from './config.ts';
import { DEFAULT_SOCKET } from './protocol/state-files.ts';
import { addInstall, renderRemoved } from './install-command.ts';
import { removeInstalled } from './install/remove.ts';
import { openControl, prepareNode, runDaemon } from './daemon.ts';
import { openLog, type Log } from './log.ts';
import { isBpffs } from './kernel/bpffs.ts';
import { AddonError } from './wire/errors.ts';
import { tryPrograms } from './kernel/features.ts';
import { bpffsOf } from './pin-place.ts';
import { probe } from './probe.ts';
import { askHelper, HelperError } from './protocol/client.ts';
import {
  keyOf,
  type AttachmentKey,
  type AttachmentStatus,
  type CountersResult,
  type ListParams,
  type ListResult,
  type Method,
  type Methods,
  type PodNames,
  type UncappedResult,
} from './protocol/messages.ts';
import { nameOf, podNamesOf } from './protocol/pod-names.ts';
import { checkProbeItems } from './protocol/probe-items.ts';
import { printableLines } from './protocol/printable.ts';
import { remedies } from './protocol/remedies.ts';
import {
  renderAll,
  renderCounters,
  renderList,
  renderProbe,
  renderSet,
  renderStatus,
  renderUninstall,
} from './render.ts';
import {
  describeSelection,
  matchingAttachments,
  selectAttachment,
  type Candidate,
} from './select.ts';
import { parseSetFlags, type SetFlags } from './set-flags.ts';
import { UnitError } from './shaping/units.ts';
import { discardMaps, hasRecords, removeTraces, requirePins, type Extent } from './uninstall.ts';
import { VERSION } from './version.ts';
import {
  addWatch,
  watch,
  WATCH_EDGES,
  type Round,
  type WatchEdges,
  type WatchFlag,
} from './watch.ts';

/** The edges of the process, so that the whole CLI runs in a test. */
export interface CliEdges {
  /** False when nobody reads any more; anything else goes on. */
  readonly stdout: (text: string) => unknown;
  readonly stderr: (text: string) => void;
  readonly watching?: WatchEdges;
}

interface QueryOptions {
  readonly socket: string;
  readonly json?: true;
  readonly watch?: WatchFlag;
}

interface RunFlags {
  readonly config?: string;
  readonly [flag: string]: unknown;
}

const CALL_DEADLINE_MS = 10_000;

function ask<M extends Method>(
  socketPath: string,
  method: M,
  params: Methods[M]['params'],
): Promise<Methods[M]['result']> {
  const edges = { connect: async (path: string) => net.connect(path) };
  return askHelper(edges, socketPath, method, params, { deadlineMs: CALL_DEADLINE_MS });
}

/**
 * Whatever is printed goes through here, JSON too: there an escape stands for the same character.
 */
function escaping({ stdout, stderr, ...others }: CliEdges): CliEdges {
  return {
    ...others,
    stdout: (text) => stdout(printableLines(text)),
    stderr: (text) => stderr(printableLines(text)),
  };
}

/**
 * A command line that cannot be understood; 1 is for what was understood and failed, or is
 * degraded.
 */
const USAGE = 2;

/** Settings of `run`, `probe` and `uninstall`: defaults, then the file, then flags. */
function loadConfig({ config, ...flags }: RunFlags): HelperConfig {
  let fromFile: Partial<HelperConfig> = {};
  if (config !== undefined) {
    let text: string;
    try {
      text = fs.readFileSync(config, 'utf8');
    } catch (error) {
      throw new ConfigError(`Cannot read the configuration: ${(error as Error).message}`);
    }
    try {
      fromFile = parseConfigFile(text);
    } catch (error) {
      throw new ConfigError(`Cannot use ${config}: ${(error as Error).message}`);
    }
  }
  return mergeConfig(fromFile, readSettings(flags));
}

function collect(value: string, previous: readonly string[] | undefined): string[] {
  return [...(previous ?? []), value];
}

function addSettings(command: Command): Command {
  command.option('--config <file>', 'JSON file with these settings; flags win over it');
  for (const { flag, help, isRepeatable } of FLAGS) {
    if (isRepeatable) command.option(flag, help, collect);
    else command.option(flag, help);
  }
  return command;
}

function print(
  edges: CliEdges,
  isJson: boolean | undefined,
  result: object,
  text: () => string,
): void {
  edges.stdout(`${isJson === true ? JSON.stringify(result, undefined, 2) : text()}\n`);
}

/** Prints what was asked for, once or until it is ended. */
async function show(
  edges: CliEdges,
  { json, watch: every }: QueryOptions,
  round: Round,
): Promise<void> {
  const isJson = json === true;
  if (every !== undefined)
    return watch({ every, isJson }, edges, edges.watching ?? WATCH_EDGES, round);
  const { result, text } = await round();
  print(edges, json, result, text);
}

/** All pages of an answer that comes in pages. */
async function pagesOf<P extends { readonly next?: string }>(
  askPage: (params: ListParams) => Promise<P>,
): Promise<P[]> {
  const pages = [await askPage({})];
  for (let after = pages[0]?.next; after !== undefined; after = pages.at(-1)?.next)
    pages.push(await askPage({ after }));
  return pages;
}

async function listAll(socket: string): Promise<ListResult> {
  const pages = await pagesOf((params) => ask(socket, 'list', params));
  return { attachments: pages.flatMap(({ attachments }) => attachments) };
}

async function countersOfAll(socket: string, perCpu: boolean): Promise<CountersResult> {
  const pages = await pagesOf((params) => ask(socket, 'counters', { ...params, perCpu }));
  return { attachments: pages.flatMap(({ attachments }) => attachments) };
}

type Uncapped = Omit<UncappedResult, 'next'>;

/** All pods without a cap. */
async function uncappedAll(socket: string): Promise<Uncapped> {
  const pages = await pagesOf((params) => ask(socket, 'uncapped', params));
  return {
    uncapped: pages.flatMap(({ uncapped }) => uncapped),
    unknown: pages.flatMap(({ unknown }) => unknown),
  };
}

/** The same; undefined where the helper is of a release that keeps no record of them. */
async function uncappedIfKnown(socket: string): Promise<Uncapped | undefined> {
  try {
    return await uncappedAll(socket);
  } catch (error) {
    if (error instanceof HelperError && error.failure === 'bad-request') return undefined;
    throw error;
  }
}

/** Capped pods, and those without a cap where the helper knows them. One that was just capped is so. */
async function allPods(
  socket: string,
): Promise<Record<'capped' | 'uncapped', readonly Candidate[]>> {
  const { attachments: capped } = await listAll(socket);
  const { uncapped = [] } = (await uncappedIfKnown(socket)) ?? {};
  const known = new Set(capped.map(keyOf));
  return { capped, uncapped: uncapped.filter((pod) => !known.has(keyOf(pod))) };
}

/** One of these pods, in few words; a note where the name is that of more. */
function select(
  pods: readonly Candidate[],
  selector: string,
  edges: CliEdges,
  isPreferred?: (pod: Candidate) => boolean,
): { readonly key: AttachmentKey; readonly pod: PodNames } {
  const selected = selectAttachment(selector, pods, isPreferred);
  const { containerId, ifname } = selected.attachment;
  const note = describeSelection(selected);
  if (note !== undefined) edges.stderr(`podpaced: ${note}\n`);
  return { key: { containerId, ifname }, pod: podNamesOf(selected.attachment) };
}

const POD = 'pod[/interface]';
const POD_IS = 'a pod is NAMESPACE/NAME, or the id of its container or its beginning';

function addStatus(program: Command, edges: CliEdges, setExitCode: (code: number) => void): void {
  const command = program
    .command('status')
    .description('exits, health and problems; exit status 1 when DEGRADED')
    .option('--socket <path>', 'unix socket of the helper', DEFAULT_SOCKET)
    .option('--json', 'print JSON');
  addWatch(command).action((options: QueryOptions) =>
    show(edges, options, async () => {
      const result = await ask(options.socket, 'status', {});
      if (result.features !== undefined) checkProbeItems(result.features);
      setExitCode(result.state === 'ok' ? 0 : 1);
      return { result, text: () => renderStatus(result) };
    }),
  );
}

async function listed(
  selector: string | undefined,
  { socket, all: isAll }: QueryOptions & { readonly all?: true },
): ReturnType<Round> {
  const { attachments: capped } = await listAll(socket);
  if (isAll !== true) {
    const attachments = selector === undefined ? capped : matchingAttachments(selector, capped);
    return { result: { attachments }, text: () => renderList({ attachments }) };
  }
  const others = await uncappedIfKnown(socket);
  if (others === undefined)
    throw new Error(
      `The podpaced that runs keeps no record of other pods; ${remedies.newerHelper(process.execPath)}`,
    );
  const pods = pick(selector, capped, others);
  return { result: pods, text: () => renderAll(pods) };
}

function addList(program: Command, edges: CliEdges): void {
  const command = program
    .command('list')
    .description('every capped pod; with --all also those without a cap')
    .argument(`[${POD}]`, `this pod only; ${POD_IS}`)
    .option('--all', 'also pods without a cap, those that no record is of as unknown')
    .option('--socket <path>', 'unix socket of the helper', DEFAULT_SOCKET)
    .option('--json', 'print JSON');
  addWatch(command).action((selector: string | undefined, options: QueryOptions & { all?: true }) =>
    show(edges, options, () => listed(selector, options)),
  );
}

/** All pods of the node, or those that a selector names. One that was just capped is so. */
function pick(
  selector: string | undefined,
  attachments: readonly AttachmentStatus[],
  { uncapped: others, unknown }: Uncapped,
): ListResult & Uncapped {
  const capped = new Set(attachments.map(keyOf));
  const uncapped = others.filter((pod) => !capped.has(keyOf(pod)));
  if (selector === undefined) return { attachments, uncapped, unknown };
  const found = new Set<AttachmentKey>(
    matchingAttachments(selector, [...attachments, ...uncapped]),
  );
  return {
    attachments: attachments.filter((one) => found.has(one)),
    uncapped: uncapped.filter((one) => found.has(one)),
    unknown: [],
  };
}

function addSet(program: Command, edges: CliEdges): void {
  program
    .command('set')
    .description(
      'change how a running pod is capped, also one without a cap, at once; "default" takes an earlier change back',
    )
    .argument(`<${POD}>`, `see podpaced list --all; ${POD_IS}`)
    .option('--egress', 'what the pod sends')
    .option('--ingress', 'what the pod receives')
    .option('--rate <rate>', 'bits per second: 800k, 10M, 2.5G')
    .option('--burst <bits>', 'what may leave at once after idleness: 100k, 8M')
    .option('--horizon <duration>', 'longest wait of a packet: 50ms')
    .option('--aqm-target <duration>', 'queueing time that the AQM tolerates: 5ms, or off')
    .option('--aqm-interval <duration>', 'how long it may last before the AQM acts: 100ms')
    .option('--reset', 'take all earlier changes back first')
    .option('--socket <path>', 'unix socket of the helper', DEFAULT_SOCKET)
    .option('--json', 'print JSON')
    .action(async (selector: string, options: QueryOptions & SetFlags) => {
      const request = parseSetFlags(options);
      const { socket } = options;
      const { capped, uncapped } = await allPods(socket);
      const { key, pod } = select([...capped, ...uncapped], selector, edges);
      const result = await ask(socket, 'set', { ...key, ...request });
      for (const notice of result.notices ?? []) edges.stderr(`podpaced: ${notice}\n`);
      print(edges, options.json, { ...key, ...pod, direction: request.direction, ...result }, () =>
        renderSet({ ...key, ...pod }, request.direction, result),
      );
    });
}

/**
 * The capped pod that a selector means. Throws an Error where that is one without a cap, although an
 * older sandbox of the same name may have one.
 */
async function selectCapped(
  socket: string,
  selector: string,
  edges: CliEdges,
): Promise<AttachmentKey> {
  const { capped, uncapped } = await allPods(socket);
  const isCapped = (pod: Candidate): boolean => capped.includes(pod);
  const { key, pod } = select([...capped, ...uncapped], selector, edges, isCapped);
  if (capped.some((one) => keyOf(one) === keyOf(key))) return key;
  const name = nameOf({ ...key, ...pod });
  throw new Error(
    `Cannot count what ${name} sends and receives: it has no cap; give it one by set`,
  );
}

function addCounters(program: Command, edges: CliEdges): void {
  const command = program
    .command('counters')
    .description('what became of the packets of capped pods, and how long they wait')
    .argument(`[${POD}]`, `this pod only; ${POD_IS}`)
    .option('--per-cpu', 'with --json: each CPU by itself too')
    .option('--socket <path>', 'unix socket of the helper', DEFAULT_SOCKET)
    .option('--json', 'print JSON');
  addWatch(command).action(
    (selector: string | undefined, options: QueryOptions & { perCpu?: true }) =>
      show(edges, options, async () => {
        const { socket, perCpu = false } = options;
        const result =
          selector === undefined
            ? await countersOfAll(socket, perCpu)
            : await ask(socket, 'counters', {
                only: await selectCapped(socket, selector, edges),
                perCpu,
              });
        return { result, text: () => renderCounters(result) };
      }),
  );
}

/** What `uninstall` did, with what it could not remove. */
type Uninstalled = Methods['uninstall']['result'] & { readonly notes: readonly string[] };

type UninstallFlags = RunFlags & { readonly root: string } & Partial<
    Record<'json' | 'force' | 'forget', true>
  >;

/**
 * Without a helper: with the lock of one, and by maps made anew, since those that are there may be
 * of another release. What a newer release left is refused, since this one cannot read what stood
 * on the exits before; with `force` it is taken away all the same, by the names of pins, filters
 * and qdiscs.
 */
async function uninstallAlone(
  config: HelperConfig,
  { forget, anyLayout }: Extent,
  log: Log,
): Promise<Uninstalled> {
  requirePins(config.pinDir);
  // Where nothing can be pinned, nothing of podpace's is in force, unless it has noted some.
  if (!isBpffs(bpffsOf(config.pinDir)) && !config.mountBpffs && !hasRecords(config)) {
    const notes = await removeTraces(config, { forget, anyLayout });
    return { restoredExits: [], detached: 0, kept: 0, notes };
  }
  const { lock } = await prepareNode({ ...config, privateBpffs: true }, log, {
    ...{ purpose: 'uninstall', anyLayout },
  });
  discardMaps(config.pinDir, anyLayout);
  const { shaper, datapath } = openControl(config, log);
  const result = await shaper.uninstall(forget);
  datapath.close();
  const notes = await removeTraces(config, { forget, anyLayout });
  lock.release();
  return { ...result, notes };
}

/** By the helper, or without one. */
async function uninstall(
  {
    force = false,
    forget = false,
    ...flags
  }: RunFlags & Partial<Record<'force' | 'forget', boolean>>,
  edges: CliEdges,
): Promise<Uninstalled> {
  const config = loadConfig(flags);
  try {
    return { ...(await ask(config.socket, 'uninstall', { forget })), notes: [] };
  } catch (error) {
    if (!(error instanceof HelperError && error.isAbsent)) throw error;
    // What a newer release was asked for, this one could not read.
    const extent = { forget: forget || force, anyLayout: force };
    const { log, end } = openLog(edges.stderr, config);
    return await uninstallAlone(config, extent, log).finally(end);
  }
}

function addUninstall(program: Command, edges: CliEdges): void {
  addSettings(
    program
      .command('uninstall')
      .description('take every cap off the node, put back what stood there, and undo install'),
  )
    .option(
      '--forget',
      'also what pods were to have; else a podpaced that is started later caps them again',
    )
    .option(
      '--force',
      'also what a newer release left, although this one cannot put back all that stood there',
    )
    .option('--root <dir>', "where the node's root is mounted: podpace was installed there", '/')
    .option('--json', 'print JSON')
    .action(async ({ json, root, ...flags }: UninstallFlags) => {
      const { notes, ...result } = await uninstall(flags, edges);
      // The helper puts podpace into no list any more.
      const removed = await removeInstalled(root);
      for (const note of [...notes, ...(removed?.notes ?? [])]) edges.stderr(`podpaced: ${note}\n`);
      print(edges, json, removed === undefined ? result : { ...result, removed }, () =>
        [renderUninstall(result), ...(removed === undefined ? [] : [renderRemoved(removed)])].join(
          '\n',
        ),
      );
    });
}

/** For the manifest of the uninstall: a DaemonSet's containers must not end. */
function addWait(program: Command): void {
  program
    .command('wait', { hidden: true })
    .description('do nothing until SIGTERM')
    .action(async () => {
      const timer = setInterval(() => undefined, 3_600_000);
      await new Promise((resolve) => {
        for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, resolve);
      });
      clearInterval(timer);
    });
}

function buildProgram(edges: CliEdges, setExitCode: (code: number) => void): Command {
  const program = new Command('podpaced');
  program
    .description('Holds the bandwidth caps of the pods on this node')
    .version(VERSION)
    .exitOverride()
    .configureOutput({ writeOut: edges.stdout, writeErr: edges.stderr });
  addSettings(
    program
      .command('run')
      .description('serve the CNI plugin until SIGTERM; caps stay in force after'),
  ).action(async (flags: RunFlags) => {
    const config = loadConfig(flags);
    const { log, end } = openLog(edges.stderr, config);
    await runDaemon(config, log).finally(end);
  });
  addStatus(program, edges, setExitCode);
  addList(program, edges);
  addCounters(program, edges);
  addSet(program, edges);
  addSettings(
    program.command('probe').description('can this node hold caps, and if not, what is in the way'),
  )
    .option('--json', 'print JSON')
    .action(async ({ json, ...flags }: RunFlags & { json?: true }) => {
      const config = loadConfig(flags);
      const result = await probe(config, tryPrograms);
      print(edges, json, result, () => renderProbe(result));
      if (result.items.some(({ ok }) => !ok)) setExitCode(1);
    });
  addInstall(program, {
    askHelper: (socket) => ask(socket, 'status', {}),
    print: (isJson, result, text) => print(edges, isJson, result, text),
  });
  addUninstall(program, edges);
  addWait(program);
  return program;
}

function remedyOf(error: unknown): string | undefined {
  if (error instanceof HelperError) return error.remedy;
  return error instanceof AddonError ? error.remedy : undefined;
}

/**
 * Runs one command line (without the program's name). Every failure is one line. Returns the exit
 * code: 0, or 1 when it failed or something is degraded, or 2 when it cannot be understood.
 */
export async function runCli(argv: readonly string[], edges: CliEdges): Promise<number> {
  let exitCode = 0;
  const output = escaping(edges);
  try {
    const program = buildProgram(output, (code) => (exitCode = code));
    await program.parseAsync([...argv], { from: 'user' });
    return exitCode;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : USAGE;
    const remedy = remedyOf(error);
    const text =
      remedy === undefined ? (error as Error).message : `${(error as Error).message}; ${remedy}`;
    output.stderr(`podpaced: ${text}`.replaceAll('\n', ' ').trimEnd() + '\n');
    return error instanceof ConfigError || error instanceof UnitError ? USAGE : 1;
  }
}
