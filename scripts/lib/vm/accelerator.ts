import { accessSync, constants } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { cpus, release } from 'node:os';
import { dirname, join } from 'node:path';
import { buildDirectory } from '../paths.ts';
import { say } from '../progress.ts';
import type { Accelerator } from './qemu.ts';

const KVM_DEVICE = '/dev/kvm';
const PROBE_LIMIT_MS = 5000;
const verdictPath = join(buildDirectory, 'vm', 'kvm.json');

/**
 * Chooses how QEMU runs: as PODPACE_VM_ACCEL says, else KVM where it can really boot the kernel,
 * else QEMU's own translation. Some hosts offer a KVM that cannot run a stock kernel, so `boots` is
 * tried once and its verdict kept under build/ for this host kernel and processor.
 */
export async function chooseAccelerator(
  boots: (signal: AbortSignal) => Promise<boolean>,
): Promise<Accelerator> {
  const wanted = process.env['PODPACE_VM_ACCEL'];
  if (wanted === 'tcg' || wanted === 'kvm') return wanted;
  if (wanted !== undefined && wanted !== '') {
    throw new Error(`Cannot use PODPACE_VM_ACCEL=${wanted}: say tcg or kvm`);
  }
  if (!hasKvm()) return 'tcg';
  const host = `${release()} ${cpus()[0]?.model ?? ''}`;
  const known = await readVerdict(host);
  if (known !== undefined) return known;
  const accelerator = (await boots(AbortSignal.timeout(PROBE_LIMIT_MS))) ? 'kvm' : 'tcg';
  if (accelerator === 'tcg')
    say(`KVM of this machine cannot boot a Debian kernel; VMs run on QEMU's own translation`);
  await mkdir(dirname(verdictPath), { recursive: true });
  await writeFile(verdictPath, `${JSON.stringify({ host, accelerator })}\n`);
  return accelerator;
}

function hasKvm(): boolean {
  try {
    accessSync(KVM_DEVICE, constants.R_OK | constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

async function readVerdict(host: string): Promise<Accelerator | undefined> {
  try {
    const verdict = JSON.parse(await readFile(verdictPath, 'utf8')) as {
      host?: unknown;
      accelerator?: unknown;
    };
    const { accelerator } = verdict;
    return verdict.host === host && (accelerator === 'kvm' || accelerator === 'tcg')
      ? accelerator
      : undefined;
  } catch (error) {
    if (error instanceof SyntaxError || (error as NodeJS.ErrnoException).code === 'ENOENT')
      return undefined;
    throw error;
  }
}
