// Which of this machine's processors run a VM.

import { readdirSync, readFileSync } from 'node:fs';
import { parseCpuList } from '../../../helper/kernel/cpus.ts';
import { capture } from '../process.ts';

/** The processors that this process may use. */
function allowedProcessors(): number[] {
  const list = /^Cpus_allowed_list:\s*(\S+)/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1];
  return list === undefined ? [] : parseCpuList(list);
}

/** The thread of QEMU, started with debug-threads=on, that executes the guest's first processor. */
function firstProcessorThread(pid: number): string | undefined {
  return readdirSync(`/proc/${pid}/task`).find((thread) =>
    readFileSync(`/proc/${pid}/task/${thread}/comm`, 'utf8').startsWith('CPU 0/'),
  );
}

async function place(id: string, processors: readonly number[], scope: readonly string[]): Promise<void> {
  await capture('taskset', [...scope, '--cpu-list', '--pid', processors.join(','), id]);
}

/**
 * Gives the guest's first processor one of this machine's to itself; whatever else QEMU and `others` do shares the rest.
 * What the guest has on its first processor is then not held up when QEMU serves timers and devices. Does nothing on a
 * machine with one processor.
 */
export async function placeFirstAlone(qemuPid: number, others: readonly number[]): Promise<void> {
  const [alone, ...rest] = allowedProcessors();
  const thread = firstProcessorThread(qemuPid);
  if (alone === undefined || rest.length === 0 || thread === undefined) return;
  for (const pid of [qemuPid, ...others]) await place(String(pid), rest, ['--all-tasks']);
  await place(thread, [alone], []);
}
