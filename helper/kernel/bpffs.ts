// bpffs: the file system on which maps, programs and links are pinned, so that they outlive the helper.

import fs from 'node:fs';
import { hasErrno, KernelError } from './errors.ts';
import { mountFileSystem } from './ffi.ts';

/** BPF_FS_MAGIC of linux/magic.h. */
const BPF_FS_MAGIC = 0xcafe4a11;

/** Whether a directory lies on bpffs. */
export function isBpffs(path: string): boolean {
  try {
    // f_type is a signed word on some architectures.
    return fs.statfsSync(path).type >>> 0 === BPF_FS_MAGIC;
  } catch (error) {
    if (hasErrno(error, 'ENOENT')) return false;
    throw error;
  }
}

/**
 * Mounts bpffs on a directory unless it is there already.
 * Throws KernelError: ENOENT when there is no such directory, EPERM without the right to mount.
 */
export function ensureBpffs(path: string): void {
  if (isBpffs(path)) return;
  try {
    mountFileSystem('bpf', path);
  } catch (error) {
    if (!(error instanceof KernelError)) throw error;
    const remedy = `mount it before starting the helper: mount -t bpf bpf ${path}`;
    throw new KernelError(error.operation, error.errno, remedy);
  }
}
