// ./scripts/test [--tier unit|bpf|netns|vm] [--kernel 6.12|6.1]: all tests, or one tier. Ends in a line `N passed, N failed`.
//
// unit, bpf and netns run on this kernel; vm boots Debian's kernels and runs bpf and vm in them, netns in the oldest.

import fs from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { ensureCnitool } from './lib/cnitool.ts';
import { ensurePackages } from './lib/debian.ts';
import { findLeaks, observeMachine } from './lib/leaks.ts';
import { packageSets } from './lib/needs.ts';
import { projectRoot } from './lib/paths.ts';
import { run } from './lib/process.ts';
import { say } from './lib/progress.ts';
import { addTallies, runAva, type Tally } from './lib/ava.ts';

const TIERS = ['unit', 'bpf', 'netns', 'vm'] as const;
type Tier = (typeof TIERS)[number];

/** The kernels of the vm tier: the newest that Debian 12 offers, and the oldest that podpace supports. */
const KERNELS = ['6.12', '6.1'] as const;

/**
 * What the VMs run. The programs, and what needs fq, on both kernels. The netns tier on the one that differs most from a
 * present-day kernel, which this machine's own is; it has no tcx, so programs are attached in another way there.
 */
const VM_TIERS: Readonly<Record<string, readonly Tier[]>> = {
  '6.12': ['bpf', 'vm'],
  '6.1': ['bpf', 'netns', 'vm'],
};
/**
 * One processor each, so that both VMs run at once. With two, QEMU 7.2 emulates them in two threads, and now and then
 * runs stale translations of the machine code that V8 has just written: Node then dies of SIGSEGV.
 */
const VM_CPUS = '1';
/** Twice what a slow machine takes. */
const VM_TIMEOUT_SECONDS = '3600';

function filesOf(tier: Tier): string[] {
  return fs.globSync(`test/${tier}/**/*.test.ts`, { cwd: projectRoot }).toSorted();
}

/** What the executables unpack once and keep, wherever they run. */
const ADDON_CACHE = '/run/podpace/addons';

function removeAddonCache(): void {
  fs.rmSync(ADDON_CACHE, { recursive: true, force: true });
  const parent = path.dirname(ADDON_CACHE);
  if (fs.existsSync(parent) && fs.readdirSync(parent).length === 0) fs.rmdirSync(parent);
}

/** Runs the files of a tier on the kernel that this process runs on. What they leave behind is a failure. */
async function runHere(tier: Tier, label: string, allowSkips: boolean): Promise<Tally> {
  const before = observeMachine();
  const hadAddons = fs.existsSync(ADDON_CACHE);
  const concurrency = tier === 'unit' ? 2 : 1;
  const tally = await runAva(filesOf(tier), { label, concurrency, allowSkips });
  if (!hadAddons) removeAddonCache();
  const leaks = findLeaks(before, observeMachine());
  for (const leak of leaks) say(`${label}: left behind: ${leak}`);
  return addTallies(tally, { passed: 0, failed: leaks.length, skipped: 0 });
}

/** Runs this script again inside a VM; what it counted comes back through a file under build/. */
async function runInVm(kernel: string): Promise<Tally> {
  const result = path.join(projectRoot, 'build', `test-vm-${kernel}-${process.pid}.json`);
  fs.rmSync(result, { force: true });
  say(`vm: tests on Linux ${kernel} in a VM`);
  const vm = ['--kernel', kernel, '--cpus', VM_CPUS, '--timeout', VM_TIMEOUT_SECONDS, '--'];
  const inside = [path.join(projectRoot, 'scripts/test'), '--inside-vm', kernel, '--result', result];
  try {
    await run(path.join(projectRoot, 'scripts/vm'), [...vm, ...inside]);
  } catch (error) {
    if (!fs.existsSync(result)) say(`vm: ${(error as Error).message}`);
  }
  if (!fs.existsSync(result)) return { passed: 0, failed: 1, skipped: 0 };
  const tally = JSON.parse(fs.readFileSync(result, 'utf8')) as Tally;
  fs.rmSync(result);
  return tally;
}

async function runTier(tier: Tier, kernels: readonly string[]): Promise<Tally> {
  if (tier !== 'vm') return runHere(tier, tier, true);
  const tallies = await Promise.all(kernels.map(runInVm));
  return tallies.reduce(addTallies);
}

async function runInside(kernel: string, result: string): Promise<Tally> {
  let total: Tally = { passed: 0, failed: 0, skipped: 0 };
  for (const tier of VM_TIERS[kernel] ?? TIERS.filter((tier) => tier !== 'unit'))
    total = addTallies(total, await runHere(tier, `${kernel} ${tier}`, tier !== 'vm'));
  fs.writeFileSync(result, JSON.stringify(total));
  return total;
}

const { values } = parseArgs({
  options: {
    tier: { type: 'string' },
    kernel: { type: 'string', multiple: true },
    'inside-vm': { type: 'string' },
    result: { type: 'string' },
  },
});
const tiers = values.tier === undefined ? TIERS : TIERS.filter((tier) => tier === values.tier);
if (tiers.length === 0) {
  say(`Unknown tier "${values.tier}": the tiers are ${TIERS.join(', ')}`);
  process.exit(2);
}

let total: Tally = { passed: 0, failed: 0, skipped: 0 };
if (values['inside-vm'] !== undefined) {
  total = await runInside(values['inside-vm'], values.result ?? '/dev/null');
} else {
  const { build, vm, lab, exits } = packageSets;
  await ensurePackages([...build, ...vm, ...lab, ...exits]);
  await run(path.join(projectRoot, 'scripts/build'), []);
  await ensureCnitool();
  for (const tier of tiers) total = addTallies(total, await runTier(tier, values.kernel ?? KERNELS));
}
if (total.skipped > 0) say(`${total.skipped} skipped: this kernel is older than the feature they test`);
if (values['inside-vm'] === undefined)
  process.stdout.write(`${total.passed} passed, ${total.failed} failed\n`);
process.exitCode = total.failed === 0 && total.passed > 0 ? 0 : 1;
