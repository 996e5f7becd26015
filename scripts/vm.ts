import { Command, InvalidArgumentError, Option } from 'commander';
import { availableParallelism } from 'node:os';
import { PassThrough } from 'node:stream';
import { ensurePackages, requireRoot } from './lib/debian.ts';
import { ensureKernel, kernelSeries } from './lib/kernels.ts';
import type { KernelSeries } from './lib/kernels.ts';
import { emulators, packageSets } from './lib/needs.ts';
import { projectRoot } from './lib/paths.ts';
import { say } from './lib/progress.ts';
import { architectures, ownArchitecture, type Architecture } from './lib/target.ts';
import { chooseAccelerator } from './lib/vm/accelerator.ts';
import { ensureForeignRoot } from './lib/vm/foreign.ts';
import { runInVm } from './lib/vm/run.ts';
import type { VmRequest } from './lib/vm/run.ts';
import { guestEnvironment, ownFolders } from './lib/vm/guest.ts';

interface Options {
  arch: Architecture;
  kernel: KernelSeries;
  cpus?: number;
  memory: number;
  countInstructions: boolean;
  skipIdle: boolean;
  network: boolean;
  timeout?: number;
}

type Probe = Omit<VmRequest, 'accelerator' | 'stdout' | 'stderr'>;

/** Why a run was ended from outside, and the exit status that says so. */
class Interruption extends Error {
  readonly status: number;
  constructor(message: string, status: number) {
    super(message);
    this.status = status;
  }
}

const SIGNAL_STATUSES = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;
const STATUS_TIMEOUT = 124;
const STATUS_BROKEN_PIPE = 141;
const STATUS_FAILED = 125;

const USUAL_CPUS = Math.min(availableParallelism(), 4);

const program = new Command('vm')
  .description(
    "Runs a command as root in a VM with a Debian kernel, over this machine's files, and exits with its status.",
  )
  .addOption(new Option('--kernel <series>', 'kernel series').choices(kernelSeries).default('6.12'))
  .addOption(
    new Option(
      '--arch <architecture>',
      "the processor's; another than this machine's has a small Debian for its files",
    )
      .choices(architectures)
      .default(ownArchitecture()),
  )
  .option(
    '--cpus <n>',
    `virtual processors (default: ${USUAL_CPUS}; with --skip-idle 1)`,
    positiveInteger,
  )
  .option('--memory <mib>', 'memory in MiB', positiveInteger, 2048)
  .option(
    '--count-instructions',
    'the clock counts instructions instead of time: slow, and undisturbed',
    false,
  )
  .option('--skip-idle', 'with --count-instructions: waiting takes no time', false)
  .option(
    '--network',
    "a device that leads to this machine's network: 10.0.2.15/24 behind 10.0.2.2",
    false,
  )
  .option(
    '--timeout <seconds>',
    'end the command after so many seconds (status 124)',
    positiveInteger,
  )
  .argument('<command...>', 'command and its arguments, after --')
  .addHelpText(
    'after',
    `\nOnly the project's own tree is written through to this machine; all else is gone with the VM.`,
  )
  .passThroughOptions();
program.parse();

const interruption = watchInterruptions();
try {
  process.exitCode = await main(program.args, program.opts<Options>(), interruption);
} catch (error) {
  const cause: unknown = interruption.signal.aborted ? interruption.signal.reason : error;
  say(cause instanceof Error ? cause.message : String(cause));
  process.exitCode = cause instanceof Interruption ? cause.status : STATUS_FAILED;
}

async function main(
  command: string[],
  options: Options,
  interruption: AbortController,
): Promise<number> {
  const { signal } = interruption;
  const cwd = workingDirectory();
  if (options.skipIdle && !options.countInstructions)
    throw new Error(
      '--skip-idle needs --count-instructions: only that clock can pass over waiting',
    );
  // While one processor waits for another, as they do at boot, the clock runs off: seen with QEMU
  // 7.2, which never ends then.
  if (options.skipIdle && (options.cpus ?? 1) > 1)
    throw new Error(`--skip-idle serves one processor only: leave --cpus ${options.cpus} away`);
  requireRoot('run a VM');
  const { arch: architecture } = options;
  const isForeign = architecture !== process.arch;
  await ensurePackages([...packageSets.vm, ...(isForeign ? [emulators[architecture]] : [])]);
  const machine = {
    architecture,
    root: isForeign ? await ensureForeignRoot(architecture) : '/',
    kernel: await ensureKernel(options.kernel, architecture),
    cpus: options.cpus ?? (options.skipIdle ? 1 : USUAL_CPUS),
    memoryMib: options.memory,
    countsInstructions: options.countInstructions,
    skipsIdleTime: options.skipIdle,
    hasNetwork: options.network,
    cwd,
    environment: guestEnvironment(process.env),
  };
  signal.throwIfAborted();
  const probe = { ...machine, countsInstructions: false, command: ['true'] };
  const accelerator = isForeign
    ? 'tcg'
    : await chooseAccelerator((limit) => boots(probe, signal, limit));
  signal.throwIfAborted();
  if (options.timeout !== undefined) endLater(interruption, options.timeout);
  const output = { stdout: process.stdout, stderr: process.stderr };
  return await runInVm({ ...machine, ...output, accelerator, command }, signal);
}

/** The caller's directory, if the VM has it too. */
function workingDirectory(): string {
  const directory = process.cwd();
  const isIn = (folder: string): boolean => `${directory}/`.startsWith(`${folder}/`);
  const hidden = ownFolders.find(isIn);
  if (hidden === undefined || isIn(projectRoot)) return directory;
  throw new Error(
    `Cannot run a command in ${directory}: the VM has a ${hidden} of its own; change to another folder`,
  );
}

/**
 * Whether KVM runs the probe to its end within the limit. Throws the signal's reason when that is
 * aborted.
 */
async function boots(probe: Probe, signal: AbortSignal, limit: AbortSignal): Promise<boolean> {
  const [stdout, stderr] = [new PassThrough().resume(), new PassThrough().resume()];
  const request = { ...probe, accelerator: 'kvm', stdout, stderr } as const;
  try {
    return (await runInVm(request, AbortSignal.any([signal, limit]))) === 0;
  } catch {
    signal.throwIfAborted();
    return false;
  }
}

/** Aborted on Ctrl-C and the like, and when nobody reads the output any more. */
function watchInterruptions(): AbortController {
  const controller = new AbortController();
  for (const [name, status] of Object.entries(SIGNAL_STATUSES)) {
    process.on(name, () => controller.abort(new Interruption(`Ended by ${name}`, status)));
  }
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', () =>
      controller.abort(new Interruption('Nobody reads the output', STATUS_BROKEN_PIPE)),
    );
  }
  return controller;
}

function endLater(controller: AbortController, timeoutSec: number): void {
  const reason = new Interruption(`The command did not end within ${timeoutSec} s`, STATUS_TIMEOUT);
  setTimeout(() => controller.abort(reason), timeoutSec * 1000).unref();
}

function positiveInteger(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 1)
    throw new InvalidArgumentError('Say a whole number above 0.');
  return value;
}
