// The main job, end to end: a node with three pods whose caps come through the shipped conflist,
// measured on the wire beside the CNI bandwidth plugin. Prints a table, writes
// build/lab/report.json and build/lab/report.html. Exit status 0: podpace is within its limits; 1:
// it is not, or something failed; 130: interrupted.

import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { Command, Option } from 'commander';
import { ensureCnitool } from './lib/cnitool.ts';
import { ensurePackages, requireRoot } from './lib/debian.ts';
import { interruptible } from './lib/interruption.ts';
import { hasSchFq, packageSets } from './lib/needs.ts';
import { buildDirectory, projectRoot } from './lib/paths.ts';
import { run } from './lib/process.ts';
import { say } from './lib/progress.ts';
import { COUNTED_MACHINE, runInSturdyVm } from './lib/vm/emulation.ts';
import { compileCounter } from '../test/bed/counter.ts';
import { judge, SYSTEMS } from '../test/bench/lab-limits.ts';
import { measureSystem } from '../test/bench/lab.ts';
import type { Durations, Measured } from '../test/bench/lab.ts';
import { htmlReport, jsonReport, textReport } from '../test/bench/lab-report.ts';
import type { LabRun } from '../test/bench/lab-report.ts';
import { printVerdicts } from '../test/bench/verdict.ts';

const REPORT_DIRECTORY = path.join(buildDirectory, 'lab');
const REPORT_JSON = path.join(REPORT_DIRECTORY, 'report.json');
const REPORT_HTML = path.join(REPORT_DIRECTORY, 'report.html');

const DURATIONS: Durations = { capped: 6, uncapped: 4, together: 8 };
const QUICK_DURATIONS: Durations = { capped: 4, uncapped: 2, together: 4 };

interface Options {
  readonly quick?: true;
  readonly json?: string;
  /** Everything is installed and built: the lab's own second call, inside the VM. */
  readonly prepared?: true;
}

function parseOptions(): Options {
  return new Command('lab')
    .description(
      'Adds pods capped at 10 and 100 Mbit/s and one without a cap, loads them one at a time and all at once, first ' +
        'with podpace and then with the CNI bandwidth plugin, and compares. Needs root.',
    )
    .option('--quick', 'shorter loads')
    .option('--json <file>', `write report.json to this file as well as to ${REPORT_JSON}`)
    .addOption(new Option('--prepared').hideHelp())
    .parse()
    .opts<Options>();
}

/** Installs what is missing and builds. Quick when there is nothing to do. */
async function prepare(): Promise<void> {
  await ensurePackages([...packageSets.build, ...packageSets.lab]);
  await ensureCnitool();
  await run(path.join(projectRoot, 'scripts/build'), []);
  compileCounter();
}

const VM_ATTEMPTS = 3;

/**
 * The same command inside a VM whose kernel has sch_fq; the reports appear here, in the shared
 * build directory.
 */
async function runInVm(options: Options, signal: AbortSignal): Promise<number> {
  say("this kernel has no sch_fq, so the lab runs inside a VM with Debian's kernel 6.12");
  const quick = options.quick === true ? ['--quick'] : [];
  const command = [path.join(projectRoot, 'scripts/lab'), '--prepared', ...quick];
  return await runInSturdyVm(command, VM_ATTEMPTS, COUNTED_MACHINE, signal);
}

/** Measures both systems, one after the other, each on a node of its own. */
async function measure(options: Options, signal: AbortSignal): Promise<LabRun> {
  const durations = options.quick === true ? QUICK_DURATIONS : DURATIONS;
  const measured: Measured[] = [];
  for (const system of SYSTEMS) {
    measured.push(...(await measureSystem(system, { durations, signal })));
  }
  const measurements = measured.map(({ trace }) => trace);
  return {
    kernel: os.release(),
    cpus: os.availableParallelism(),
    measuredAt: new Date().toISOString(),
    congestionControl: [...new Set(measured.map((each) => each.congestionControl))].join(', '),
    measurements,
    verdicts: judge(measurements),
  };
}

/** Writes the reports, prints the table and the verdicts; returns the exit status. */
function report(labRun: LabRun): number {
  fs.mkdirSync(REPORT_DIRECTORY, { recursive: true });
  fs.writeFileSync(REPORT_JSON, jsonReport(labRun));
  fs.writeFileSync(REPORT_HTML, htmlReport(labRun));
  const { kernel, cpus, congestionControl, measurements, verdicts } = labRun;
  process.stdout.write(
    `\nkernel ${kernel}, CPUs: ${cpus}, TCP ${congestionControl}\n\n${textReport(measurements)}\n\n`,
  );
  return printVerdicts(verdicts, (missed) => {
    const told = missed === 0 ? 'holds every cap' : `misses ${missed} of its limits`;
    return `podpace ${told}; chart: ${path.relative(process.cwd(), REPORT_HTML)}`;
  });
}

async function lab(options: Options, signal: AbortSignal): Promise<number> {
  requireRoot('run the lab');
  if (options.prepared !== true) {
    fs.rmSync(REPORT_DIRECTORY, { recursive: true, force: true });
    await prepare();
  }
  signal.throwIfAborted();
  if (await hasSchFq()) return report(await measure(options, signal));
  if (options.prepared === true)
    throw new Error('Cannot run the lab: the kernel of the VM has no sch_fq');
  return await runInVm(options, signal);
}

const options = parseOptions();
process.exitCode = await interruptible(async (signal) => {
  const status = await lab(options, signal);
  // Here and not in the VM, where only the project's own tree is this machine's.
  if (options.json !== undefined && fs.existsSync(REPORT_JSON))
    fs.copyFileSync(REPORT_JSON, options.json);
  return status;
});
