// Runs a command in a VM, again when emulation has killed it.

import path from 'node:path';
import { projectRoot } from '../paths.ts';
import { CommandError, run } from '../process.ts';
import { say } from '../progress.ts';

/**
 * What QEMU 7.2 does to a guest with several emulated processors now and then: code that was just
 * written (the guest kernel's own patches, what V8 compiles) runs in its former translation on
 * another processor. The guest panics (status 125 of ./scripts/vm) or Node dies of SIGILL, SIGTRAP,
 * SIGABRT or SIGSEGV (128 and the signal's number).
 */
const EMULATION_FAILURES: ReadonlySet<number> = new Set([125, 132, 133, 134, 139]);

/**
 * Flags of ./scripts/vm for what is measured: a clock that counts instructions, to which a busy
 * machine changes nothing, and which passes over waiting. One processor: QEMU has one thread for
 * all of them then, which stays with one of them for up to 100 ms; to a guest with two the other
 * stands still.
 */
export const COUNTED_MACHINE = ['--count-instructions', '--skip-idle', '--cpus', '1'] as const;

/**
 * Runs a command in a VM with two processors and Debian's kernel 6.12, and returns its exit status.
 * When the emulated processors fail it is run again, in another VM, up to `attempts` times in all.
 * `flags` are those of ./scripts/vm. Throws the signal's reason when that is aborted; the VM is
 * gone then.
 */
export async function runInSturdyVm(
  command: readonly string[],
  attempts: number,
  flags: readonly string[],
  signal: AbortSignal,
): Promise<number> {
  const machine = ['--kernel', '6.12', '--cpus', '2', ...flags];
  for (let attempt = 1; ; attempt += 1) {
    signal.throwIfAborted();
    try {
      await run(path.join(projectRoot, 'scripts/vm'), [...machine, '--', ...command], { signal });
      return 0;
    } catch (error) {
      signal.throwIfAborted();
      // For any other failure the VM's own output has told the reason.
      if (!(error instanceof CommandError) || error.status === undefined) throw error;
      if (!EMULATION_FAILURES.has(error.status) || attempt === attempts) return error.status;
      say(`the emulated processors failed (status ${error.status}); starting the VM again`);
    }
  }
}
