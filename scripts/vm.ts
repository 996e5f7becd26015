import { Command, InvalidArgumentError, Option } from 'commander';
import { availableParallelism } from 'node:os';
import { PassThrough } from 'node:stream';
import { ensurePackages, requireRoot } from './lib/debian.ts';
import { ensureKernel, kernelSeries } from './lib/kernels.ts';
import type { KernelSeries } from './lib/kernels.ts';
import { packageSets } from './lib/needs.ts';
import { say } from './lib/progress.ts';
import { chooseAccelerator } from './lib/vm/accelerator.ts';
import { runInVm } from './lib/vm/run.ts';
import type { VmRequest } from './lib/vm/run.ts';
import { guestEnvironment } from './lib/vm/guest.ts';

interface Options {
  kernel: KernelSeries;
  cpus: number;
  memory: number;
  timeout?: number;
}

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

const program = new Command('vm')
  .description(
    "Runs a command as root in a VM with a Debian kernel, over this machine's files, and exits with its status.",
  )
  .addOption(new Option('--kernel <series>', 'kernel series').choices(kernelSeries).default('6.12'))
  .option('--cpus <n>', 'virtual processors', positiveInteger, Math.min(availableParallelism(), 4))
  .option('--memory <mib>', 'memory in MiB', positiveInteger, 2048)
  .option('--timeout <seconds>', 'end the command after so many seconds (status 124)', positiveInteger)
  .argument('<command...>', 'command and its arguments, after --')
  .addHelpText(
    'after',
    `\nOnly the project's own tree is written through to this machine; all else is gone with the VM.`,
  )
  .passThroughOptions();
program.parse();

try {
  process.exitCode = await main(program.args, program.opts<Options>());
} catch (error) {
  say(error instanceof Error ? error.message : String(error));
  process.exitCode = error instanceof Interruption ? error.status : STATUS_FAILED;
}

async function main(command: string[], options: Options): Promise<number> {
  requireRoot('run a VM');
  await ensurePackages(packageSets.vm);
  const machine = {
    kernel: await ensureKernel(options.kernel),
    cpus: options.cpus,
    memoryMib: options.memory,
    cwd: process.cwd(),
    environment: guestEnvironment(process.env),
  };
  const accelerator = await chooseAccelerator((signal) => boots({ ...machine, command: ['true'] }, signal));
  const request = { ...machine, accelerator, command, stdout: process.stdout, stderr: process.stderr };
  return await runInVm(request, interruptions(options.timeout));
}

async function boots(
  machine: Omit<VmRequest, 'accelerator' | 'stdout' | 'stderr'>,
  signal: AbortSignal,
): Promise<boolean> {
  const [stdout, stderr] = [new PassThrough().resume(), new PassThrough().resume()];
  try {
    return (await runInVm({ ...machine, accelerator: 'kvm', stdout, stderr }, signal)) === 0;
  } catch {
    return false;
  }
}

/** Aborted on Ctrl-C and the like, when nobody reads the output any more, and when the time is over. */
function interruptions(timeoutSec: number | undefined): AbortSignal {
  const controller = new AbortController();
  for (const [name, status] of Object.entries(SIGNAL_STATUSES)) {
    process.on(name, () => controller.abort(new Interruption(`Ended by ${name}`, status)));
  }
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', () =>
      controller.abort(new Interruption('Nobody reads the output', STATUS_BROKEN_PIPE)),
    );
  }
  if (timeoutSec !== undefined) {
    const timeout = new Interruption(`The command did not end within ${timeoutSec} s`, STATUS_TIMEOUT);
    setTimeout(() => controller.abort(timeout), timeoutSec * 1000).unref();
  }
  return controller.signal;
}

function positiveInteger(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 1)
    throw new InvalidArgumentError('Say a whole number above 0.');
  return value;
}
