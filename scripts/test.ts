// ./scripts/test [--tier unit|bpf|netns|vm|cluster|release|runtime]
// [--kernel newest|7.3|6.12|6.1] [--crossings all]: all tests but those of the tiers cluster,
// release and runtime, or one tier. Ends in a
// line `N passed, N failed`; the one before names the kernels that they ran on.
//
// A machine without a mounted bpffs gets one for as long as tests run on it. unit, bpf and netns
// run on this kernel; vm boots Debian's kernels and runs bpf and vm in them, netns in the oldest.
// What runs in a VM does not hang on how quick that is, so VMs run side by side, and beside what
// runs on this kernel: of that there is never more than one test at a time, but in the unit tier
// two, and it goes before VMs that count instructions.

import fs from 'node:fs';
import { availableParallelism, release } from 'node:os';
import path from 'node:path';
import { Command, Option } from 'commander';
import { prepareCluster, startClusterOfVm } from './lib/cluster/outside.ts';
import { ensureCnitool } from './lib/cnitool.ts';
import { containerdSuites, ensureContainerd } from './lib/containerd.ts';
import { ensurePackages } from './lib/debian.ts';
import { JOB_FILE, RESULT_FILE, type GuestJob, type GuestResult } from './lib/inside-vm.ts';
import { INTERRUPTED, interruption } from './lib/interruption.ts';
import { ensureKernel, kernelSeries, type KernelSeries } from './lib/kernels.ts';
import { packageSets } from './lib/needs.ts';
import { ensurePrometheus } from './lib/prometheus.ts';
import { bundleInto, withBundles, type Bundles } from './lib/one-worker.ts';
import { projectRoot } from './lib/paths.ts';
import { run } from './lib/process.ts';
import { buildRevision, FIRST_LAYOUT_REVISION, NAMELESS_REVISION } from './lib/revisions.ts';
import { say } from './lib/progress.ts';
import { runHere } from './lib/run-here.ts';
import { addTallies, type Tally } from './lib/ava.ts';
import { compileSteps } from '../test/bench/step-under-test.ts';
import { compileCounter } from '../test/bed/counter.ts';

const USUAL_TIERS = ['unit', 'bpf', 'netns', 'vm'] as const;
/**
 * Only when asked for: `cluster` runs what conf/kubernetes makes of a node, in a Kubernetes;
 * `release` is minutes at emulating another architecture; `runtime` has old and new containerds
 * make pods.
 */
const TIERS = [...USUAL_TIERS, 'cluster', 'release', 'runtime'] as const;
type Tier = (typeof TIERS)[number];

/** What makes archives, and boots an emulated machine, on a busy one. */
const RELEASE_TIMEOUT = '30m';

const NOTHING: Tally = { passed: 0, failed: 0, skipped: 0 };

/**
 * Kernels of the vm tier unless some are asked for: the newest that Debian has, and the oldest that
 * podpace supports.
 */
const USUAL_KERNELS: readonly KernelSeries[] = ['newest', '6.1'];

/** What one VM runs. */
interface VmJob {
  readonly kernel: KernelSeries;
  /** Stands before each line about it. */
  readonly label: string;
  readonly files: readonly string[];
  /** Whether what it measures hangs on how much of the machine it gets. */
  readonly isTimed: boolean;
  readonly hasAllCrossings?: true;
  /** The VM is the node of a Kubernetes, whose control plane is on this machine. */
  readonly isClusterNode?: true;
}

/**
 * The kernel of the netns tier's second run: it has no tcx, so programs are attached in another way
 * there.
 */
const OLDEST: KernelSeries = '6.1';

/**
 * What needs fq on each of the kernels, and the programs. The netns tier on the one that differs
 * most from a present-day kernel, which this machine's own is, in a VM without the modules that the
 * crossings load: a module of tunnels has a device in every namespace. It has the programs, too, so
 * that two VMs end at about the same time. The longest jobs first.
 */
function vmJobs(kernels: readonly KernelSeries[]): VmJob[] {
  const isElsewhere = (file: string, kernel: KernelSeries): boolean => {
    const only = Object.entries(ON_ONE_KERNEL).find(([start]) => file.startsWith(start))?.[1];
    return only !== undefined && only !== kernel && kernels.includes(only);
  };
  const jobOf = (kernel: KernelSeries, ofTiers: readonly Tier[]): VmJob => ({
    ...{ kernel, label: `${kernel} ${ofTiers.join(', ')}`, isTimed: true },
    files: ofTiers.flatMap(filesOf).filter((file) => isForVm(file) && !isElsewhere(file, kernel)),
  });
  return [
    ...kernels.map((kernel) => jobOf(kernel, kernel === OLDEST ? ['vm'] : ['vm', 'bpf'])),
    ...kernels
      .filter((kernel) => kernel === OLDEST)
      .map((kernel) => jobOf(kernel, ['netns', 'bpf'])),
  ];
}

const CROSSINGS = ['test/vm/crossings.test.ts', 'test/vm/overheads.test.ts'];
const CROSSING_KERNELS: readonly KernelSeries[] = ['newest', '6.1', '6.12'];

/** Every crossing of test/kit/crossings.ts, and not one of each kind as in the vm tier. */
function crossingJobs(kernels: readonly KernelSeries[]): VmJob[] {
  return kernels.map((kernel) => {
    const label = `${kernel} crossings`;
    return { kernel, label, files: CROSSINGS, isTimed: true, hasAllCrossings: true };
  });
}

/**
 * Tiers of which a folder `vm` has what needs fq. What kernel it is matters little to runtimes and
 * to Kubernetes: the newest, unless others are asked for.
 */
const TIERS_WITH_VM = ['cluster', 'runtime'] as const;

/** Files of a tier by whether they need a VM. */
function filesBy(tier: Tier, isInVm: boolean): string[] {
  return filesOf(tier).filter((file) => file.startsWith(`test/${tier}/vm/`) === isInVm);
}

function jobsOf(tier: (typeof TIERS_WITH_VM)[number], kernels: readonly KernelSeries[]): VmJob[] {
  const rest =
    tier === 'cluster' ? ({ isTimed: false, isClusterNode: true } as const) : { isTimed: true };
  const files = filesBy(tier, true);
  return kernels.map((kernel) => ({ kernel, label: `${kernel} ${tier}`, files, ...rest }));
}

/** What the tiers run in VMs. */
function jobsInVms(tiers: readonly Tier[], kernels: readonly KernelSeries[]): VmJob[] {
  const own = TIERS_WITH_VM.find((tier) => tiers.includes(tier));
  if (own !== undefined) return jobsOf(own, kernels);
  if (!tiers.includes('vm')) return [];
  return isCrossings ? crossingJobs(kernels) : vmJobs(kernels);
}

/** As many at once: each keeps one of the machine's processors busy. */
const VMS_AT_ONCE = Math.max(1, availableParallelism());
/**
 * One processor each. With two, QEMU 7.2 emulates them in two threads, and now and then runs stale
 * translations of the machine code that V8 has just written: Node then dies of SIGSEGV.
 */
const VM_CPUS = '1';
/**
 * A clock that counts instructions: what is measured does not hang on what else this machine does.
 */
const TIMED_VM = ['--count-instructions', '--skip-idle'];
/**
 * By that clock it is all the same when they run: they have what the tests on this kernel leave,
 * which mostly wait.
 */
const YIELDING = ['nice', '-n', '19'] as const;
/** Several times what a slow machine takes. */
const VM_TIMEOUT_SECONDS = 3600;

/**
 * Tests with thousands of objects or dozens of processes, which an emulated processor is minutes
 * at.
 */
const AT_SCALE = 'test/netns/scale/';
/**
 * About files, messages and commands, on which kernels have no influence, or about this project's
 * own instruments; and what the vm tier has on the oldest kernel, too.
 */
const ON_ANY_KERNEL = [
  'test/netns/cni/conflists',
  'test/netns/cni/faults',
  'test/netns/cni/former-plugin',
  'test/netns/cni/gc',
  'test/netns/cni/hanging-helper',
  'test/netns/cni/main-plugin',
  // A sysctl of namespaces, and what the plugin itself refuses.
  'test/netns/cni/pod-settings',
  'test/netns/cni/published',
  'test/netns/cni/status',
  'test/netns/helper/api-server',
  'test/netns/helper/arrivals',
  'test/netns/helper/books',
  'test/netns/helper/daemon',
  'test/netns/helper/follow-cluster',
  'test/netns/helper/give-back',
  'test/netns/helper/heartbeat',
  'test/netns/helper/in-front',
  'test/netns/helper/install',
  // How this process reads, matches and closes what all messages come by.
  'test/netns/helper/kernel/blocking-rt',
  'test/netns/helper/kernel/netlink-socket',
  'test/netns/helper/kernel/rtnetlink',
  // The oldest has none, which vm/helper/probe finds there, too.
  'test/netns/helper/kernel/tcx',
  'test/netns/helper/log',
  'test/netns/helper/metrics',
  'test/netns/helper/node-traffic',
  'test/netns/helper/otlp',
  'test/netns/helper/pod-names',
  'test/netns/helper/probe',
  'test/netns/helper/records',
  'test/netns/helper/releases',
  'test/netns/helper/report',
  'test/netns/helper/second-way',
  // What systemd is told, over a socket.
  'test/netns/helper/service-manager',
  'test/netns/helper/set',
  'test/netns/helper/status',
  'test/netns/helper/uncapped',
  'test/netns/helper/uninstall',
  'test/netns/helper/upgrade',
  // vm/netkit has it on the oldest kernel, too.
  'test/netns/host-routing',
  'test/netns/routed-nodes',
  'test/netns/bed/',
  // Several processors at one clock: a VM has one.
  'test/bpf/exactness',
];
/**
 * Of two kernels on one, where both are asked for: an emulated processor is minutes at each, and
 * what they test hangs on the kernel in nothing that others do not try on both. With `--kernel` a
 * kernel has them all.
 */
const ON_ONE_KERNEL: Readonly<Record<string, KernelSeries>> = {
  'test/vm/helper/books': OLDEST,
  'test/vm/helper/bystanders': OLDEST,
  // On the newest each of them is in waits-once, and all objects are in judgement.
  'test/vm/helper/exits': OLDEST,
  'test/vm/helper/exit-changes': OLDEST,
  'test/vm/helper/shaping': OLDEST,
  'test/vm/helper/follow-cluster': OLDEST,
  'test/vm/helper/remedies': OLDEST,
  'test/vm/helper/wishes': OLDEST,
  // The former release stamps as Linux 7 warns of.
  'test/vm/helper/upgrade': OLDEST,
  // Pods behind others' plugins: those of end-to-end are on both.
  'test/vm/chained': 'newest',
  'test/vm/congestion-control': 'newest',
  'test/vm/node-traffic': 'newest',
  'test/vm/overheads': 'newest',
  // Of times that fq since Linux 7 reads by their clock.
  'test/vm/helper/waits-once': 'newest',
  'test/vm/helper/foreign-fq': 'newest',
  'test/vm/helper/burst-limit': 'newest',
  // Qdiscs come and go in the same way; exits and exit-changes put them on and off on the oldest.
  'test/vm/helper/give-back': 'newest',
  'test/vm/helper/priority': 'newest',
  'test/vm/second-way': 'newest',
  // What it counts is the programs' own, and the bpf tier has it on both.
  'test/vm/throttled': 'newest',
};

function filesOf(tier: Tier): string[] {
  return fs.globSync(`test/${tier}/**/*.test.ts`, { cwd: projectRoot }).toSorted();
}

function isForVm(file: string): boolean {
  return ![AT_SCALE, ...ON_ANY_KERNEL].some((start) => file.startsWith(start));
}

/** Kernels that tests ran on, as `uname -r` names them. */
const releases = new Set<string>();

/** Throws CommandError with the status of the command, which is 0 where its result counts. */
async function runInPlainVm(
  { kernel, isTimed }: VmJob,
  command: readonly string[],
  signal: AbortSignal,
): Promise<void> {
  const vm = [
    ...['--kernel', kernel, '--cpus', VM_CPUS],
    ...(isTimed ? TIMED_VM : []),
    ...['--timeout', String(VM_TIMEOUT_SECONDS), '--', ...command],
  ];
  const script = path.join(projectRoot, 'scripts/vm');
  const [program, ...args] = isTimed ? [...YIELDING, script] : [script];
  await run(program, [...args, ...vm], { signal });
}

/** Its status is in what it has left as result. */
async function runOnClusterNode(
  kernel: KernelSeries,
  command: readonly string[],
  signal: AbortSignal,
): Promise<void> {
  const limit = { kernel, timeoutSec: VM_TIMEOUT_SECONDS };
  const cluster = await startClusterOfVm(command, limit, 'inherit');
  if (signal.aborted) cluster.kill();
  signal.addEventListener('abort', cluster.kill, { once: true });
  await cluster.ended;
}

/** Runs a bundle of test files inside a VM. */
async function runInVm(
  job: VmJob,
  { directory, files }: Bundles,
  signal: AbortSignal,
): Promise<Tally> {
  const { kernel, label, isTimed, hasAllCrossings = false, isClusterNode = false } = job;
  say(`vm: ${label} tests in a VM`);
  const guestJob: GuestJob = { label, files, isTimed, hasAllCrossings };
  fs.writeFileSync(path.join(directory, JOB_FILE), JSON.stringify(guestJob));
  const inside = path.join(directory, 'inside.mjs');
  await bundleInto(
    inside,
    `import { runGuestJob } from './scripts/lib/inside-vm.ts';\nawait runGuestJob(import.meta.dirname);`,
  );
  const command = [process.execPath, inside];
  const result = path.join(directory, RESULT_FILE);
  try {
    if (isClusterNode) await runOnClusterNode(kernel, command, signal);
    else await runInPlainVm(job, command, signal);
  } catch (error) {
    signal.throwIfAborted();
    if (!fs.existsSync(result)) say(`vm: ${(error as Error).message}`);
  }
  if (!fs.existsSync(result)) return { passed: 0, failed: 1, skipped: 0 };
  const { tally, ranOn } = JSON.parse(fs.readFileSync(result, 'utf8')) as GuestResult;
  releases.add(ranOn);
  return tally;
}

type Job = (signal: AbortSignal) => Promise<Tally>;

async function inTurn(jobs: readonly Job[], signal: AbortSignal): Promise<Tally> {
  let total = NOTHING;
  for (const job of jobs) total = addTallies(total, await job(signal));
  return total;
}

/** What all of them come to, when the last has ended. */
async function allOf(parts: readonly Promise<Tally>[], signal: AbortSignal): Promise<Tally> {
  const ended = await Promise.allSettled(parts);
  signal.throwIfAborted();
  return ended.reduce((total, each) => {
    if (each.status === 'rejected') throw each.reason;
    return addTallies(total, each.value);
  }, NOTHING);
}

/** Begins the jobs in their order, and has several run at once. */
async function severalAtOnce(jobs: readonly Job[], signal: AbortSignal): Promise<Tally> {
  const waiting = jobs.values();
  const work = async (): Promise<Tally> => {
    let total = NOTHING;
    for (const job of waiting) total = addTallies(total, await job(signal));
    return total;
  };
  return await allOf(Array.from({ length: VMS_AT_ONCE }, work), signal);
}

/** Files by turns, so that each share takes about as long. */
function sharesOf(files: readonly string[], count: number): string[][] {
  return Array.from({ length: count }, (_, share) =>
    files.filter((_file, index) => index % count === share),
  );
}

/**
 * On this kernel one job after the other: what they measure hangs on how much of the machine they
 * get.
 */
function jobsHere(tiers: readonly Tier[]): Job[] {
  const files = filesOf('netns');
  const [atScale, others] = [true, false].map((isAtScale) =>
    files.filter((file) => file.startsWith(AT_SCALE) === isAtScale),
  );
  const jobs: [Tier, string, readonly string[] | undefined, number][] = [
    ['unit', 'unit', filesOf('unit'), 2],
    ['bpf', 'bpf', filesOf('bpf'), 1],
    ['netns', 'netns at scale', atScale, 1],
    ['netns', 'netns', others, 1],
    ['cluster', 'cluster', filesBy('cluster', false), 1],
    ['release', 'release', filesOf('release'), 1],
    ['runtime', 'runtime', filesBy('runtime', false), 1],
  ];
  return jobs
    .filter(([tier]) => tiers.includes(tier))
    .map(([tier, label, some = [], concurrency]): Job => async (signal) => {
      const limit = tier === 'release' ? { timeout: RELEASE_TIMEOUT } : {};
      const shares = sharesOf(some, concurrency);
      releases.add(release());
      return await withBundles(label.replaceAll(' ', '-'), shares, ({ directory, files }) =>
        runHere(files, { label, directory, concurrency, allowSkips: true, signal, ...limit }),
      );
    });
}

/**
 * All tests on this kernel, and VMs beside them. Those that go by time would take it from tests
 * that do so, too: they begin when these have ended, before all that yields. Where there is one
 * processor only, VMs come one after the other, and last.
 */
async function runSideBySide(
  tiers: readonly Tier[],
  kernels: readonly KernelSeries[],
  signal: AbortSignal,
): Promise<Tally> {
  const here = inTurn(jobsHere(tiers), signal);
  const inVm =
    (job: VmJob): Job =>
    async (each) =>
      withBundles(job.label.replaceAll(/\W+/g, '-'), [job.files], async (bundles) =>
        runInVm(job, bundles, each),
      );
  const inVms = jobsInVms(tiers, kernels);
  if (VMS_AT_ONCE === 1) return await inTurn([() => here, ...inVms.map(inVm)], signal);
  const byTime = inVms.filter(({ isTimed }) => !isTimed).map(inVm);
  const afterHere = here.then((total) => inTurn([async () => total, ...byTime], signal));
  const yielding = inVms.filter(({ isTimed }) => isTimed).map(inVm);
  return await allOf([afterHere, severalAtOnce(yielding, signal)], signal);
}

interface Options {
  readonly tier?: Tier;
  readonly kernel?: readonly KernelSeries[];
  readonly crossings?: 'all';
}

const program = new Command('test')
  .description(
    "Runs all tests but the tiers cluster, release and runtime, or one tier, and ends in a line 'N passed, N failed'. Needs root.",
  )
  .addOption(new Option(`--tier <${TIERS.join('|')}>`, 'this tier only').choices(TIERS))
  .addOption(
    new Option('--kernel <series...>', 'of the VMs, this kernel only; repeatable').choices(
      kernelSeries,
    ),
  )
  .addOption(
    new Option(
      '--crossings <all>',
      `with --tier vm: every crossing on ${CROSSING_KERNELS.join(', ')}, and nothing else`,
    ).choices(['all']),
  )
  .allowExcessArguments(false)
  .parse();
const options = program.opts<Options>();
const isCrossings = options.crossings !== undefined;
if (isCrossings && options.tier !== 'vm') program.error('error: --crossings is of --tier vm');
const tiers: readonly Tier[] = options.tier === undefined ? USUAL_TIERS : [options.tier];
const kernels = options.kernel ?? usualKernels();

function usualKernels(): readonly KernelSeries[] {
  if (TIERS_WITH_VM.some((tier) => tier === options.tier)) return ['newest'];
  return isCrossings ? CROSSING_KERNELS : USUAL_KERNELS;
}

async function buildRevisions(): Promise<void> {
  for (const revision of [FIRST_LAYOUT_REVISION, NAMELESS_REVISION]) await buildRevision(revision);
}

async function runAll(signal: AbortSignal): Promise<Tally> {
  const { build, vm, lab, exits, crossings, standIns, shells, manuals } = packageSets;
  await ensurePackages([
    ...[...build, ...vm, ...lab, ...exits, ...crossings],
    ...[...standIns, ...shells, ...manuals],
  ]);
  // On an emulated processor clang is half a minute.
  compileCounter();
  compileSteps();
  // Each waits for the network or for a single thread.
  await Promise.all([
    run(path.join(projectRoot, 'scripts/build'), []),
    ensureCnitool(),
    buildRevisions(),
    ...(jobsInVms(tiers, kernels).length > 0 ? kernels.map((kernel) => ensureKernel(kernel)) : []),
  ]);
  if (tiers.includes('netns')) await ensurePrometheus();
  if (tiers.includes('cluster')) await prepareCluster();
  if (tiers.includes('runtime')) await Promise.all(containerdSuites.map(ensureContainerd));
  const total = await runSideBySide(tiers, kernels, signal);
  if (total.skipped > 0)
    say(`${total.skipped} skipped: this kernel is older than the feature they test`);
  process.stdout.write(`on Linux ${[...releases].join(', ')}\n`);
  process.stdout.write(`${total.passed} passed, ${total.failed} failed\n`);
  return total;
}

const signal = interruption();
try {
  const { passed, failed } = await runAll(signal);
  process.exitCode = failed === 0 && passed > 0 ? 0 : 1;
} catch (error) {
  process.exitCode = signal.aborted ? INTERRUPTED : 1;
  if (!signal.aborted) say(error instanceof Error ? error.message : String(error));
}
