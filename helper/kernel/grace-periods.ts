// A program that comes to a hook of a device, or goes, has its caller wait for a grace period of
// the kernel (tcx_entry_sync of include/net/tcx.h): three ticks and more, in which nobody else
// changes a device of this machine, since the caller holds the rtnl lock. The kernel can be told to
// hurry (`rcu_expedited`, Documentation/admin-guide/kernel-parameters.txt): then it asks the other
// processors, and is done within a millisecond. That is a switch of the whole machine, so it is on
// for one request to the kernel. `rcu_normal`, which real-time kernels set, has the last word.

import fs from 'node:fs';
import path from 'node:path';
import { RUN_DIRECTORY } from '../protocol/state-files.ts';
import { closing } from './descriptors.ts';

const SWITCH = '/sys/kernel/rcu_expedited';
/**
 * Stands while the switch is on by podpace. A process that is killed meanwhile leaves both, and the
 * next one that hurries, or the next start of the helper, switches off.
 */
const MARK = path.join(RUN_DIRECTORY, 'rcu_expedited');

const [OFF, ON] = ['0', '1'];

/** False where somebody else has switched it on, or podpace cannot. */
function switchOn(): boolean {
  try {
    return closing(fs.openSync(SWITCH, 'r+'), (fd) => {
      const value = Buffer.alloc(1);
      fs.readSync(fd, value, 0, value.length, 0);
      if (value.toString('latin1') !== OFF) return fs.existsSync(MARK);
      fs.writeFileSync(MARK, '', { mode: 0o600 });
      return fs.writeSync(fd, ON, 0) > 0;
    });
  } catch {
    // A read-only /sys, as in most containers, or no place for the mark: the kernel takes its time.
    return false;
  }
}

function switchOff(): void {
  try {
    fs.writeFileSync(SWITCH, OFF);
  } catch {
    // It was never on: the mark comes first.
  }
  fs.rmSync(MARK, { force: true });
}

/** Switches off what a process that was killed has left switched on. */
export function endLeftHurry(): void {
  if (fs.existsSync(MARK)) switchOff();
}

/**
 * Has the kernel hurry while `wait`, a request to it, waits for grace periods; `unhurried` instead
 * where it cannot be told to.
 */
export function hurrying<T>(wait: () => T, unhurried: () => T = wait): T {
  if (!switchOn()) return unhurried();
  try {
    return wait();
  } finally {
    switchOff();
  }
}

/** The same for a request of a process that does nothing else meanwhile. */
export async function hurryingUntil<T>(wait: () => Promise<T>): Promise<T> {
  const isOn = switchOn();
  try {
    return await wait();
  } finally {
    if (isOn) switchOff();
  }
}
