// The benches: podpace side by side with what others do, in one run on one kernel, each named and
// judged by itself. Prints tables, writes build/bench/report.json and build/bench/report.html. Exit
// status 0: podpace meets every figure; 1: it does not, or something failed; 130: interrupted.

import fs from 'node:fs';
import path from 'node:path';
import { Argument, Command, InvalidArgumentError, Option } from 'commander';
import { collectReport, htmlReport, jsonReport, latencyPicture } from '../test/bench/report.ts';
import type { BenchReport } from '../test/bench/report.ts';
import {
  BENCHES,
  NETKIT_SCENARIOS,
  NETWORK_BENCHES,
  scenariosOf,
  WIRED_BENCHES,
  WIRINGS,
} from '../test/bench/names.ts';
import type { Bench } from '../test/bench/names.ts';
import { readPart } from '../test/bench/record.ts';
import type { Part } from '../test/bench/record.ts';
import { FULL, QUICK, runBench } from '../test/bench/run.ts';
import { prepareControl } from '../test/bench/control-tools.ts';
import { compileSteps } from '../test/bench/step-under-test.ts';
import { renewedSummary } from '../test/bench/summary.ts';
import { textTables } from '../test/bench/table.ts';
import { ensureCnitool } from './lib/cnitool.ts';
import { ensurePackages, requireRoot } from './lib/debian.ts';
import { interruptible } from './lib/interruption.ts';
import { kernelSeries } from './lib/kernels.ts';
import type { KernelSeries } from './lib/kernels.ts';
import { hasSchFq, packageSets } from './lib/needs.ts';
import { buildDirectory, projectRoot } from './lib/paths.ts';
import { capture, run } from './lib/process.ts';
import { buildRevision } from './lib/revisions.ts';
import { say } from './lib/progress.ts';
import { SenderDeath } from '../test/bench/exact.ts';
import { COUNTED_MACHINE, runInSturdyVm } from './lib/vm/emulation.ts';
import { compileCounter } from '../test/bed/counter.ts';
import { printVerdicts } from '../test/bench/verdict.ts';

const REPORT_DIRECTORY = path.join(buildDirectory, 'bench');
const REPORT_JSON = path.join(REPORT_DIRECTORY, 'report.json');
const REPORT_HTML = path.join(REPORT_DIRECTORY, 'report.html');
/** What the repository keeps of the latest full run. */
const RESULTS_DIRECTORY = path.join(projectRoot, 'test/bench/results');

/** A bench goes on where a VM that failed has ended, so it may take many. */
const VM_ATTEMPTS = 8;
const MOST_REPEATS = 100;

interface Options {
  readonly json?: string;
  readonly quick?: true;
  readonly repeats?: number;
  readonly scenario?: RegExp;
  readonly here?: true;
  readonly vm?: true;
  /** Of the VMs, which it asks for. */
  readonly kernel?: KernelSeries;
  readonly wiring?: string;
  /** A revision to compare with. */
  readonly baseline?: string;
  readonly keep?: true;
  /** Everything is installed and built: the benches' own second call, inside the VM. */
  readonly prepared?: true;
  /** This VM's clock counts instructions. */
  readonly counted?: true;
}

function parsePattern(text: string): RegExp {
  try {
    return new RegExp(text);
  } catch (error) {
    throw new InvalidArgumentError((error as Error).message);
  }
}

function parseRepeats(text: string): number {
  const repeats = Number(text);
  if (Number.isInteger(repeats) && repeats >= 1 && repeats <= MOST_REPEATS) return repeats;
  throw new InvalidArgumentError(`it is a whole number from 1 to ${MOST_REPEATS}.`);
}

/** The kernel of the results that the repository keeps. */
const USUAL_KERNEL = '6.12' satisfies KernelSeries;
/** Without netkit, which came with Linux 6.7. */
const FORMER_KERNELS: ReadonlySet<KernelSeries> = new Set(['6.1']);

const lacksNetkit = ({ kernel = USUAL_KERNEL }: Options): boolean => FORMER_KERNELS.has(kernel);

/**
 * What is measured with another wiring must not stand for podpace as it comes, nor be asked of a
 * bench that has its own.
 */
function refuseWiring(program: Command, benches: readonly Bench[], options: Options): void {
  const { keep, wiring, kernel } = options;
  if (wiring === undefined) return;
  const deaf = benches.filter((bench) => !WIRED_BENCHES.has(bench));
  if (deaf.length > 0)
    program.error(`error: --wiring changes nothing in ${deaf.join(', ')}: leave them out`);
  if (keep === true)
    program.error('error: --keep is for podpace as it comes: leave out --wiring or --keep');
  if (lacksNetkit(options) && WIRINGS.get(wiring)?.device === 'netkit')
    program.error(
      `error: Linux ${kernel} has no netkit: leave out --kernel or choose another --wiring`,
    );
}

/** Nor must what another kernel has shown. */
function refuseKernel(program: Command, { keep, here, kernel, prepared }: Options): void {
  if (kernel === undefined || prepared === true) return;
  if (here === true) program.error('error: --kernel is of a VM: leave out --kernel or --here');
  if (keep === true && kernel !== USUAL_KERNEL)
    program.error(`error: --keep is for Linux ${USUAL_KERNEL}: leave out --kernel or --keep`);
}

function parseCommandLine(): { benches: readonly Bench[]; options: Options } {
  const program = new Command('bench')
    .description(
      'Measures podpace beside the CNI bandwidth plugin (tbf), the plain departure step (edt-fifo) and no cap (none), in ' +
        'one run on one kernel. Needs root. A full run of all benches takes up to three hours.',
    )
    .addArgument(new Argument('<name...>', 'what to measure').choices([...BENCHES, 'all']))
    .option('--json <file>', `write report.json to this file as well as to ${REPORT_JSON}`)
    .option('--quick', 'short loads, one repeat: to see that it works, not for figures')
    .addOption(
      new Option('--repeats <number>', 'full loads, each run so many times in place of three')
        .argParser(parseRepeats)
        .conflicts(['quick', 'keep']),
    )
    .option('--scenario <regex>', 'only scenarios whose names match', parsePattern)
    .addOption(new Option('--here', "on this machine's own kernel, in no VM").conflicts('vm'))
    .option('--vm', 'in a VM, also where this kernel could')
    .addOption(
      new Option(
        '--kernel <series>',
        `in a VM, with this kernel of Debian's in place of ${USUAL_KERNEL}; what it cannot do is left out`,
      ).choices(kernelSeries),
    )
    .addOption(
      new Option(
        '--wiring <name>',
        'how podpace joins its pods to their nodes, in benches that send from them',
      ).choices([...WIRINGS.keys()]),
    )
    .option(
      '--baseline <revision>',
      'measure this revision of podpace as well, in the bench control',
    )
    .option('--keep', `renew these benches in ${RESULTS_DIRECTORY}, as a full run of all does`)
    .addOption(new Option('--prepared').hideHelp())
    .addOption(new Option('--counted').hideHelp())
    .parse();
  const names = new Set(program.args);
  const benches = BENCHES.filter((bench) => names.has(bench) || names.has('all'));
  const options = program.opts<Options>();
  refuseWiring(program, benches, options);
  if (options.baseline !== undefined && !benches.includes('control'))
    program.error('error: --baseline is of the bench control: leave it out');
  refuseKernel(program, options);
  return { benches, options };
}

/** Where a bench keeps what it has measured so far. */
function partFile(bench: Bench): string {
  return path.join(REPORT_DIRECTORY, 'parts', `${bench}.json`);
}

/** Installs what is missing and builds. Quick when there is nothing to do. */
async function prepare(benches: readonly Bench[], { baseline }: Options): Promise<void> {
  await ensurePackages([...packageSets.build, ...packageSets.lab, ...packageSets.bench]);
  await ensureCnitool();
  await run(path.join(projectRoot, 'scripts/build'), []);
  compileCounter();
  compileSteps();
  const built = baseline === undefined ? undefined : await buildRevision(baseline);
  if (benches.includes('control')) await prepareControl(built);
}

const isWanted =
  (options: Options) =>
  (name: string): boolean =>
    (options.scenario?.test(name) ?? true) && !(lacksNetkit(options) && NETKIT_SCENARIOS.has(name));

/** One bench, in this process. */
async function measureHere(bench: Bench, options: Options, signal: AbortSignal): Promise<void> {
  const isQuick = options.quick === true;
  await runBench(bench, partFile(bench), {
    repeats: options.repeats ?? (isQuick ? QUICK : FULL).repeats,
    isWanted: isWanted(options),
    isQuick,
    countsInstructions: options.counted === true,
    wiring: options.wiring,
    baseline: options.baseline === undefined ? undefined : await buildRevision(options.baseline),
    signal,
  });
}

/**
 * One bench, by this script in a VM of its own. What it measures appears here, in the shared build
 * directory.
 */
async function measureInVm(bench: Bench, options: Options, signal: AbortSignal): Promise<void> {
  const { quick, repeats, scenario, kernel = USUAL_KERNEL, wiring, baseline } = options;
  const isByCount = NETWORK_BENCHES.has(bench);
  const flags = [
    ...(quick === true ? ['--quick'] : []),
    ...(repeats === undefined ? [] : ['--repeats', String(repeats)]),
    ...(scenario === undefined ? [] : ['--scenario', scenario.source]),
    ...(wiring === undefined ? [] : ['--wiring', wiring]),
    // Its whole name, by which it is found where git does not answer.
    ...(baseline === undefined || bench !== 'control'
      ? []
      : ['--baseline', (await buildRevision(baseline)).commit]),
    ...(isByCount ? ['--counted'] : []),
    ...['--kernel', kernel],
  ];
  const machine = ['--kernel', kernel, ...(isByCount ? COUNTED_MACHINE : [])];
  const command = [
    path.join(projectRoot, 'scripts/bench'),
    '--prepared',
    '--here',
    ...flags,
    bench,
  ];
  const status = await runInSturdyVm(command, VM_ATTEMPTS, machine, signal);
  if (status !== 0)
    throw new Error(`Cannot measure ${bench}: its VM ended with status ${status}: see above`);
}

/** First words of what programs say of their versions. */
async function toolVersions(): Promise<Record<string, string>> {
  const first = (text: string): string => text.split('\n')[0]?.trim() ?? '';
  const revision = await capture('git', ['-C', projectRoot, 'rev-parse', '--short', 'HEAD']).catch(
    () => '',
  );
  return {
    ...(revision !== '' && { podpace: first(revision) }),
    iperf3: first(await capture('iperf3', ['--version'])),
    sockperf: first(await capture('sockperf', ['--version'])).replace('sockperf, version ', ''),
    'containernetworking-plugins': await capture('dpkg-query', [
      '--show',
      '--showformat=${Version}',
      'containernetworking-plugins',
    ]).catch(() => 'unknown'),
  };
}

/** Every bench of `judged` must have been measured under all scenarios that were asked for. */
function writeReports(
  parts: readonly Part[],
  judged: readonly Bench[],
  options: Options,
  tools: Readonly<Record<string, string>>,
): BenchReport {
  const wanted = judged.map((bench) => ({
    bench,
    scenarios: scenariosOf(bench).filter(isWanted(options)),
  }));
  const report = collectReport(parts, wanted, tools);
  fs.mkdirSync(REPORT_DIRECTORY, { recursive: true });
  fs.writeFileSync(REPORT_JSON, jsonReport(report));
  fs.writeFileSync(REPORT_HTML, htmlReport(report));
  return report;
}

/** Renews what the repository keeps of these benches. */
function keepResults(report: BenchReport): void {
  const summary = path.join(RESULTS_DIRECTORY, 'summary.csv');
  const kept = fs.existsSync(summary) ? fs.readFileSync(summary, 'utf8') : '';
  fs.writeFileSync(summary, renewedSummary(kept, report.parts));
  const picture = latencyPicture(report);
  if (picture !== undefined) fs.writeFileSync(path.join(RESULTS_DIRECTORY, 'latency.svg'), picture);
}

/** Writes the reports of what was measured, prints tables and verdicts; returns the exit status. */
async function conclude(benches: readonly Bench[], options: Options): Promise<number> {
  const tools = await toolVersions();
  const revision = tools['podpace'];
  const parts = benches
    .flatMap((bench) => readPart(partFile(bench)) ?? [])
    .map((part) => ({ ...part, ...(revision !== undefined && { revision }) }));
  if (parts.length === 0)
    throw new Error('Cannot report: nothing was measured; does --scenario match any?');
  const report = writeReports(parts, benches, options, tools);
  const isFull =
    options.quick !== true &&
    options.repeats === undefined &&
    benches.length === BENCHES.length &&
    options.scenario === undefined;
  if (isFull || options.keep === true) keepResults(report);
  if (options.json !== undefined) fs.copyFileSync(REPORT_JSON, options.json);

  const measured = benches.filter((name) => parts.some(({ bench }) => bench === name));
  const head = `kernel ${report.kernel}${report.quick ? ', quick: short loads, one repeat' : ''}`;
  process.stdout.write(`\n${head}\n\n${textTables(measured, report.rows)}\n`);
  if (options.wiring !== undefined)
    process.stdout.write(`podpace joined its pods by ${options.wiring}\n\n`);
  const counted = parts.flatMap(({ bench, clock }) => (clock === undefined ? [] : [bench]));
  if (counted.length > 0)
    process.stdout.write(
      `Measured on one processor whose clock counts instructions, 2 ns each: ${counted.join(', ')}\n\n`,
    );
  return printVerdicts(report.verdicts, (missed) => {
    const told = missed === 0 ? 'meets every figure' : `misses ${missed} of its figures`;
    const page = path.relative(process.cwd(), REPORT_HTML);
    return `podpace ${told} on Linux ${report.kernel}; report: ${page}`;
  });
}

async function bench(
  benches: readonly Bench[],
  options: Options,
  signal: AbortSignal,
): Promise<number> {
  requireRoot('run a bench');
  if (options.prepared === true) {
    for (const name of benches) await measureHere(name, options, signal);
    return 0;
  }
  fs.rmSync(REPORT_DIRECTORY, { recursive: true, force: true });
  await prepare(benches, options);
  const hasFq = await hasSchFq();
  const lacking = benches.filter((name) => NETWORK_BENCHES.has(name));
  if (options.here === true && !hasFq && lacking.length > 0)
    throw new Error(
      `Cannot run ${lacking.join(', ')} here: this kernel has no sch_fq; leave out --here`,
    );
  const isHere = (name: Bench): boolean =>
    options.vm !== true &&
    options.kernel === undefined &&
    (hasFq || options.here === true || name === 'cost');
  const inVms = benches.filter((name) => !isHere(name));
  if (inVms.length > 0)
    say(
      `measured inside VMs with Debian's kernel ${options.kernel ?? USUAL_KERNEL}: ${inVms.join(', ')}`,
    );
  let failure: unknown;
  for (const name of benches) {
    signal.throwIfAborted();
    try {
      await (isHere(name) ? measureHere : measureInVm)(name, options, signal);
    } catch (error) {
      // What others measure is worth having nevertheless.
      signal.throwIfAborted();
      failure ??= error;
      say(error instanceof Error ? error.message : String(error));
    }
  }
  const status = await conclude(benches, options);
  return failure === undefined ? status : 1;
}

const { benches, options } = parseCommandLine();
process.exitCode = await interruptible(
  (signal) => bench(benches, options, signal),
  (error) => (error instanceof SenderDeath ? error.status : 1),
);
