// Network namespaces.
//
// A thread is in one namespace at a time, and everything that concerns the namespace is decided by
// the calling thread at the moment of the call: which devices a netlink socket will see is fixed
// when it is opened, which sysctl a file under /proc/sys/net means when it is opened. So a thread
// enters, does something synchronous, and leaves. It must not wait in between, for then the rest of
// the process would run in that namespace.

import fs from 'node:fs';
import { KernelError } from '../wire/errors.ts';
import { isNetworkNamespace, setNetworkNamespace } from './ffi.ts';

/** An open network namespace; it lives at least until `close`. */
export interface NetNamespace {
  /** Throws KernelError EBADF once it is closed: by then the number may belong to another file. */
  readonly fd: number;
  /** Path by which it was opened. */
  readonly path: string;
  /** Identity: two paths lead to the same namespace when their inodes are equal. */
  readonly inode: bigint;
  /** Closes the descriptor; a second call does nothing. */
  close(): void;
}

/**
 * The namespace of the calling thread. Not /proc/self: that is the main thread's, and setns moves
 * one thread only.
 */
const CURRENT_NETNS = '/proc/thread-self/ns/net';

/**
 * Opens a network namespace by its path. Throws KernelError that names the path: ENOENT when it is
 * gone, EINVAL when the file is something else.
 */
export function openNetns(path: string): NetNamespace {
  const operation = `open network namespace "${path}"`;
  const fd = openFile(path, operation);
  try {
    if (!isNetworkNamespace(fd))
      throw new KernelError(operation, 'EINVAL', 'the file is no network namespace');
    return new OpenNetns(fd, path);
  } catch (error) {
    fs.closeSync(fd);
    throw error;
  }
}

/** Opens the namespace that the calling thread is in. */
export function currentNetns(): NetNamespace {
  return openNetns(CURRENT_NETNS);
}

/**
 * Calls `fn` inside a namespace and returns its result. `fn` must be synchronous: a promise is
 * refused, since what waits in it would go on outside. When the way back fails the process aborts,
 * for nothing it did after that would happen in the namespace it is meant for.
 */
export function inNetns<T>(netns: NetNamespace, fn: () => T): T {
  const home = currentNetns();
  try {
    enter(netns);
    const result = fn();
    if (result instanceof Promise) {
      throw new TypeError(
        'Cannot run an asynchronous function in a network namespace: it would go on outside',
      );
    }
    return result;
  } finally {
    leave(home);
    home.close();
  }
}

class OpenNetns implements NetNamespace {
  readonly path: string;
  readonly inode: bigint;
  #fd: number | undefined;

  constructor(fd: number, path: string) {
    this.#fd = fd;
    this.path = path;
    this.inode = fs.fstatSync(fd, { bigint: true }).ino;
  }

  get fd(): number {
    if (this.#fd !== undefined) return this.#fd;
    throw new KernelError(`use network namespace "${this.path}"`, 'EBADF', 'it was closed');
  }

  close(): void {
    if (this.#fd === undefined) return;
    const fd = this.#fd;
    this.#fd = undefined;
    fs.closeSync(fd);
  }
}

function openFile(path: string, operation: string): number {
  try {
    // Not blocking, in case that the path is a named pipe.
    return fs.openSync(path, fs.constants.O_RDONLY | fs.constants.O_NONBLOCK);
  } catch (error) {
    throw new KernelError(operation, (error as NodeJS.ErrnoException).code ?? 'EIO');
  }
}

function enter(netns: NetNamespace): void {
  try {
    setNetworkNamespace(netns.fd);
  } catch (error) {
    if (!(error instanceof KernelError)) throw error;
    throw new KernelError(`enter network namespace "${netns.path}"`, error.errno, error.detail);
  }
}

function leave(home: NetNamespace): void {
  try {
    setNetworkNamespace(home.fd);
  } catch (error) {
    process.stderr.write(
      `Cannot return to the former network namespace: ${(error as Error).message}\n`,
    );
    process.abort();
  }
}
