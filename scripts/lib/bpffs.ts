// This machine's bpffs, for tests and measurements that pin something on it.

import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import { isBpffs } from '../../helper/kernel/bpffs.ts';

export const BPFFS = '/sys/fs/bpf';

/** What the kernel itself puts on a bpffs. */
const OWN_FILES: ReadonlySet<string> = new Set(['maps.debug', 'progs.debug']);

/**
 * Mounts bpffs where this machine has none. Returns how to take it away again, unless somebody else
 * has begun to use it.
 */
export function provideBpffs(): () => void {
  if (isBpffs(BPFFS)) return () => undefined;
  execFileSync('mount', ['-t', 'bpf', 'bpf', BPFFS]);
  return () => {
    if (isBpffs(BPFFS) && fs.readdirSync(BPFFS).every((name) => OWN_FILES.has(name))) {
      execFileSync('umount', [BPFFS]);
    }
  };
}
