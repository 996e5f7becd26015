// bpffs: the file system on which maps, programs and links are pinned, so that they outlive the
// helper.

import fs from 'node:fs';
import { hasErrno, KernelError, unlessErrno } from '../wire/errors.ts';
import { mountFileSystem, unmount } from './ffi.ts';
import { deviceOf, readMounts } from './mounts.ts';

/** BPF_FS_MAGIC of linux/magic.h. */
const BPF_FS_MAGIC = 0xcafe4a11;

/** Whether a directory lies on bpffs. */
export function isBpffs(path: string): boolean {
  const found = unlessErrno(['ENOENT', 'ENOTDIR'], () => fs.statfsSync(path));
  // f_type is a signed word on some architectures.
  return found !== undefined && found.type >>> 0 === BPF_FS_MAGIC;
}

/** Why nothing may be mounted on a directory; undefined when it covers nothing. */
function obstacleAt(path: string): string | undefined {
  if (!fs.statSync(path).isDirectory()) return 'it is no directory';
  const real = fs.realpathSync(path);
  const other = readMounts().findLast(({ mountPoint }) => mountPoint === real);
  if (other !== undefined) return `${other.fileSystem} is mounted there`;
  return fs.readdirSync(path).length > 0 ? 'the directory is not empty' : undefined;
}

/**
 * Mounts bpffs on an empty directory, unless it is there already; returns whether it was mounted
 * now. Throws KernelError: ENOENT when there is no such directory, EBUSY when that would cover
 * something, EPERM without the right to mount.
 */
export function ensureBpffs(path: string): boolean {
  if (isBpffs(path)) return false;
  const operation = `mount bpffs on ${path}`;
  const byHand = `mount it before starting the helper: mount -t bpf bpf ${path}`;
  if (!fs.existsSync(path))
    throw new KernelError(operation, 'ENOENT', `make the directory, or ${byHand}`);
  const obstacle = obstacleAt(path);
  if (obstacle !== undefined) {
    throw new KernelError(
      operation,
      'EBUSY',
      `${obstacle}, and it would be covered; choose another pin directory`,
    );
  }
  try {
    mountFileSystem('bpf', path);
  } catch (error) {
    if (!(error instanceof KernelError)) throw error;
    throw new KernelError(operation, error.errno, byHand);
  }
  return true;
}

/** Takes a bpffs away again that ensureBpffs has mounted. */
export function removeBpffs(path: string): void {
  unmount(path);
}

/**
 * Whether a bpffs outlives this mount namespace, as far as it can be seen: `node` when process 1
 * has it mounted too, which on a node (or with hostPID) is the node's first process; `private` when
 * that one does not; else why it cannot be said.
 */
export type BpffsOwner = 'node' | 'private' | { readonly unknown: string };

/**
 * Whose the bpffs at a path is. It is known by its device number, which is the same wherever it is
 * mounted.
 */
export function bpffsOwner(path: string): BpffsOwner {
  try {
    const device = deviceOf(path);
    return readMounts(1).some((mount) => mount.device === device) ? 'node' : 'private';
  } catch (error) {
    if (hasErrno(error, 'EACCES', 'EPERM')) return { unknown: 'without CAP_SYS_PTRACE' };
    if (hasErrno(error, 'ENOENT')) return { unknown: 'while /proc hides process 1' };
    throw error;
  }
}
