// The C library, as far as Node has no binding for it, or one that takes longer to load than all
// that a call of the plugin has to do. Everything here is synchronous and acts on the calling
// thread, which is Node's main thread.

import { getSystemErrorName } from 'node:util';
import { loadAddon } from './assets.ts';
import { KernelError } from '../wire/errors.ts';

/**
 * The part of koffi's native addon that is used; its JavaScript wrapper adds 8 ms to a start and is
 * left out.
 */
interface Koffi {
  load(path: string | null): Library;
  errno(): number;
  address(buffer: Uint8Array): bigint;
}

interface Library {
  func(prototype: string): (...args: unknown[]) => unknown;
}

interface Libc {
  _exit(status: number): void;
  malloc_trim(pad: number): number;
  setns(fd: number, type: number): number;
  unshare(flags: number): number;
  mount(source: string, target: string, type: string, flags: number, data: null): number;
  umount2(target: string, flags: number): number;
  flock(fd: number, operation: number): number;
  syscall(number: number, first: number, second: Buffer | null, third: number): number;
  ioctl(fd: number, request: number): number;
  getsockname(fd: number, address: Buffer, length: Buffer): number;
  socket(domain: number, type: number, protocol: number): number;
  connect(fd: number, address: Buffer, size: number): number;
  send(fd: number, bytes: Buffer, size: number, flags: number): number;
  recvfrom(
    fd: number,
    bytes: Buffer,
    size: number,
    flags: number,
    from: Buffer,
    fromSize: Buffer,
  ): number;
  setsockopt(fd: number, level: number, option: number, value: Buffer, size: number): number;
  getsockopt(fd: number, level: number, option: number, value: Buffer, size: Buffer): number;
  poll(descriptors: Buffer, count: number, waitMs: number): number;
  pipe2(fds: Buffer, flags: number): number;
  sigaction(number: number, action: Buffer | null, former: Buffer | null): number;
  waitpid(pid: number, status: Buffer, options: number): number;
  kill(pid: number, signal: number): number;
  posix_spawn(
    pid: Buffer,
    file: string,
    actions: Buffer,
    attributes: Buffer,
    argv: Buffer,
    environment: Buffer,
  ): number;
  posix_spawn_file_actions_init(actions: Buffer): number;
  posix_spawn_file_actions_adddup2(actions: Buffer, fd: number, to: number): number;
  posix_spawn_file_actions_destroy(actions: Buffer): number;
  posix_spawnattr_init(attributes: Buffer): number;
  posix_spawnattr_setflags(attributes: Buffer, flags: number): number;
  posix_spawnattr_setsigdefault(attributes: Buffer, signals: Buffer): number;
  posix_spawnattr_setsigmask(attributes: Buffer, signals: Buffer): number;
}

const PROTOTYPES: Readonly<Record<keyof Libc, string>> = {
  _exit: 'void _exit(int status)',
  malloc_trim: 'int malloc_trim(unsigned long pad)',
  setns: 'int setns(int fd, int nstype)',
  unshare: 'int unshare(int flags)',
  mount:
    'int mount(const char *source, const char *target, const char *type, unsigned long flags, const void *data)',
  umount2: 'int umount2(const char *target, int flags)',
  flock: 'int flock(int fd, int operation)',
  syscall: 'long syscall(long number, long first, void *second, unsigned long third)',
  ioctl: 'int ioctl(int fd, unsigned long request)',
  getsockname: 'int getsockname(int fd, void *address, void *length)',
  socket: 'int socket(int domain, int type, int protocol)',
  connect: 'int connect(int fd, const void *address, unsigned int size)',
  send: 'long send(int fd, const void *bytes, unsigned long size, int flags)',
  recvfrom:
    'long recvfrom(int fd, void *bytes, unsigned long size, int flags, void *from, void *fromSize)',
  setsockopt: 'int setsockopt(int fd, int level, int option, const void *value, unsigned int size)',
  getsockopt: 'int getsockopt(int fd, int level, int option, void *value, void *size)',
  poll: 'int poll(void *descriptors, unsigned long count, int waitMs)',
  pipe2: 'int pipe2(void *fds, int flags)',
  sigaction: 'int sigaction(int number, const void *action, void *former)',
  waitpid: 'int waitpid(int pid, void *status, int options)',
  kill: 'int kill(int pid, int signal)',
  posix_spawn:
    'int posix_spawn(void *pid, const char *file, void *actions, void *attributes, void *argv, void *environment)',
  posix_spawn_file_actions_init: 'int posix_spawn_file_actions_init(void *actions)',
  posix_spawn_file_actions_adddup2:
    'int posix_spawn_file_actions_adddup2(void *actions, int fd, int to)',
  posix_spawn_file_actions_destroy: 'int posix_spawn_file_actions_destroy(void *actions)',
  posix_spawnattr_init: 'int posix_spawnattr_init(void *attributes)',
  posix_spawnattr_setflags: 'int posix_spawnattr_setflags(void *attributes, short flags)',
  posix_spawnattr_setsigdefault:
    'int posix_spawnattr_setsigdefault(void *attributes, const void *signals)',
  posix_spawnattr_setsigmask:
    'int posix_spawnattr_setsigmask(void *attributes, const void *signals)',
};

let loaded: { readonly koffi: Koffi; readonly library: Library } | undefined;

function native(): { readonly koffi: Koffi; readonly library: Library } {
  if (loaded !== undefined) return loaded;
  const koffi = loadAddon('koffi.node') as Koffi;
  loaded = { koffi, library: koffi.load(null) };
  return loaded;
}

/** errno of the last call that failed. */
let lastErrno = 0;

/**
 * A function of the library that notes errno as soon as it fails: the runtime makes calls of its
 * own, when it collects or compiles at the entry of the next function, and they overwrite it.
 */
function bind(name: keyof Libc): (...args: unknown[]) => unknown {
  const { koffi, library } = native();
  const call = library.func(PROTOTYPES[name]);
  return (...args) => {
    const status = call(...args);
    if (typeof status === 'number' && status < 0) lastErrno = koffi.errno();
    return status;
  };
}

/** Functions by their names, each bound when it is first asked for: no process needs all of them. */
export const libc = Object.create(null) as Libc;
for (const name of Object.keys(PROTOTYPES) as (keyof Libc)[]) {
  Object.defineProperty(libc, name, {
    configurable: true,
    get: () => {
      const value = bind(name);
      Object.defineProperty(libc, name, { value });
      return value;
    },
  });
}

/** The symbol of the errno with which the last call failed. */
export function failedWith(): string {
  return getSystemErrorName(-lastErrno);
}

/** What a call returned. Throws KernelError when it has failed. */
export function check(operation: string, status: number, detail?: () => string): number {
  if (status >= 0) return status;
  throw new KernelError(operation, failedWith(), detail?.());
}

/**
 * Address of a Buffer's first byte, for pointers within what is handed over. Valid as long as the
 * Buffer lives.
 */
export function addressOf(buffer: Buffer): bigint {
  return native().koffi.address(buffer);
}
