// The C library, as far as Node has no binding for it: setns, mount, flock, socket options, bpf.
// Everything here is synchronous and acts on the calling thread, which is Node's main thread.

import { getSystemErrorName } from 'node:util';
import { loadAddon } from './assets.ts';
import { closing } from './descriptors.ts';
import { KernelError } from '../wire/errors.ts';
import { U32 } from '../wire/struct.ts';

/**
 * The part of koffi's native addon that is used; its JavaScript wrapper adds 8 ms to a start and is
 * left out.
 */
interface Koffi {
  load(path: string | null): { func(prototype: string): (...args: unknown[]) => unknown };
  errno(): number;
  address(buffer: Uint8Array): bigint;
}

interface Libc {
  malloc_trim(pad: number): number;
  setns(fd: number, type: number): number;
  unshare(flags: number): number;
  mount(source: string, target: string, type: string, flags: number, data: null): number;
  umount2(target: string, flags: number): number;
  flock(fd: number, operation: number): number;
  syscall(number: number, command: number, attr: Buffer, size: number): number;
  ioctl(fd: number, request: number): number;
  getsockname(fd: number, address: Buffer, length: Buffer): number;
  socket(domain: number, type: number, protocol: number): number;
  setsockopt(fd: number, level: number, option: number, value: Buffer, size: number): number;
  getsockopt(fd: number, level: number, option: number, value: Buffer, size: Buffer): number;
}

const PROTOTYPES: Readonly<Record<keyof Libc, string>> = {
  malloc_trim: 'int malloc_trim(unsigned long pad)',
  setns: 'int setns(int fd, int nstype)',
  unshare: 'int unshare(int flags)',
  mount:
    'int mount(const char *source, const char *target, const char *type, unsigned long flags, const void *data)',
  umount2: 'int umount2(const char *target, int flags)',
  flock: 'int flock(int fd, int operation)',
  syscall: 'long syscall(long number, long command, void *attr, unsigned long size)',
  ioctl: 'int ioctl(int fd, unsigned long request)',
  getsockname: 'int getsockname(int fd, void *address, void *length)',
  socket: 'int socket(int domain, int type, int protocol)',
  setsockopt: 'int setsockopt(int fd, int level, int option, const void *value, unsigned int size)',
  getsockopt: 'int getsockopt(int fd, int level, int option, void *value, void *size)',
};

let loaded: { readonly koffi: Koffi; readonly libc: Libc } | undefined;

/** errno of the last call that failed. */
let lastErrno = 0;

/**
 * A function of the library that notes errno as soon as it fails: the runtime makes calls of its
 * own, when it collects or compiles at the entry of the next function, and they overwrite it.
 */
function noting(
  call: (...args: unknown[]) => unknown,
  addon: Koffi,
): (...args: unknown[]) => unknown {
  return (...args) => {
    const status = call(...args);
    if (typeof status === 'number' && status < 0) lastErrno = addon.errno();
    return status;
  };
}

function native(): { readonly koffi: Koffi; readonly libc: Libc } {
  if (loaded !== undefined) return loaded;
  const koffi = loadAddon('koffi.node') as Koffi;
  const library = koffi.load(null);
  const functions = Object.entries(PROTOTYPES).map(([name, prototype]) => [
    name,
    noting(library.func(prototype), koffi),
  ]);
  loaded = { koffi, libc: Object.fromEntries(functions) as Libc };
  return loaded;
}

function check(operation: string, status: number, detail?: () => string): number {
  if (status >= 0) return status;
  throw new KernelError(operation, getSystemErrorName(-lastErrno), detail?.());
}

/** CLONE_NEWNET of linux/sched.h. */
const CLONE_NEWNET = 0x40000000;

/** setns(2): moves the calling thread into the network namespace behind `fd`. */
export function setNetworkNamespace(fd: number): void {
  check('enter the network namespace', native().libc.setns(fd, CLONE_NEWNET));
}

/** unshare(2): moves the calling thread into a network namespace of its own. */
export function unshareNetworkNamespace(): void {
  check('make a network namespace', native().libc.unshare(CLONE_NEWNET));
}

/** NS_GET_NSTYPE of linux/nsfs.h. */
const NS_GET_NSTYPE = 0xb703;

/** True when `fd` is a network namespace; false for another kind of namespace, or of file. */
export function isNetworkNamespace(fd: number): boolean {
  return native().libc.ioctl(fd, NS_GET_NSTYPE) === CLONE_NEWNET;
}

/** AF_NETLINK of linux/socket.h. */
const AF_NETLINK = 16;

/**
 * Port that the netlink socket `fd` is bound to (struct sockaddr_nl); undefined when `fd` is
 * something else.
 */
export function netlinkPort(fd: number): number | undefined {
  const address = Buffer.alloc(128);
  if (native().libc.getsockname(fd, address, U32.encode(address.length)) < 0) return undefined;
  return address.readUInt16LE() === AF_NETLINK ? address.readUInt32LE(4) : undefined;
}

/** setsockopt(2) of an option whose value is an int. */
export function setSocketOption(fd: number, level: number, option: number, value: number): void {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32LE(value);
  check(
    `set option ${option} of socket ${fd}`,
    native().libc.setsockopt(fd, level, option, bytes, bytes.length),
  );
}

/** asm-generic/socket.h: an array of u32, of which linux/sock_diag.h numbers the elements. */
const SOL_SOCKET = 1;
const SO_MEMINFO = 55;
const SK_MEMINFO_DROPS = 8;
const MEMINFO_BYTES = 9 * 4;

/** getsockopt(2) of an option of SOL_SOCKET, which fills `value`. */
function getSocketOption(fd: number, option: number, value: Buffer): number {
  const size = U32.encode(value.length);
  return native().libc.getsockopt(fd, SOL_SOCKET, option, value, size);
}

/**
 * Number of datagrams that the kernel has dropped because a socket had no room for them; it wraps
 * at 2^32.
 */
export function socketDrops(fd: number): number {
  const value = Buffer.alloc(MEMINFO_BYTES);
  check(`ask what socket ${fd} has dropped`, getSocketOption(fd, SO_MEMINFO, value));
  return value.readUInt32LE(SK_MEMINFO_DROPS * 4);
}

/** linux/socket.h. */
const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;
/** asm-generic/socket.h, Linux 5.14 and newer. */
const SO_NETNS_COOKIE = 71;

/**
 * The number by which the kernel knows the calling thread's network namespace; unlike the inode it
 * is given to no other namespace until the next boot. Undefined where the kernel does not tell.
 */
export function networkNamespaceCookie(): bigint | undefined {
  const fd = check('make a socket', native().libc.socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  return closing(fd, () => {
    const cookie = Buffer.alloc(8);
    const status = getSocketOption(fd, SO_NETNS_COOKIE, cookie);
    return status < 0 ? undefined : cookie.readBigUInt64LE();
  });
}

/**
 * Gives the kernel back what malloc holds free (malloc_trim(3)): the buffers of connections and of
 * netlink's answers, which come and go by thousands, leave holes between those that stay.
 */
export function trimHeap(): void {
  native().libc.malloc_trim(0);
}

/** mount(2) of a file system that needs no source, such as bpffs. */
export function mountFileSystem(type: string, target: string): void {
  check(`mount ${type} on ${target}`, native().libc.mount(type, target, type, 0, null));
}

/** umount2(2) of what mountFileSystem has mounted. */
export function unmount(target: string): void {
  check(`unmount ${target}`, native().libc.umount2(target, 0));
}

/** LOCK_EX and LOCK_NB of asm-generic/fcntl.h. */
const LOCK_EX = 2;
const LOCK_NB = 4;

/**
 * flock(2): locks the file or directory behind `fd` until the descriptor is closed; false when
 * somebody else has it locked.
 */
export function lockFile(fd: number): boolean {
  if (native().libc.flock(fd, LOCK_EX | LOCK_NB) === 0) return true;
  const errno = getSystemErrorName(-lastErrno);
  if (errno === 'EAGAIN') return false;
  throw new KernelError(`lock descriptor ${fd}`, errno);
}

/** Numbers of bpf(2): asm/unistd_64.h for x86_64, asm-generic/unistd.h for the rest. */
const NR_BPF = process.arch === 'x64' ? 321 : 280;

/**
 * bpf(2) with a command of `enum bpf_cmd` (linux/bpf.h) and a filled `union bpf_attr`, which the
 * kernel may write to. `operation` names the object for the error; `detail` supplies the verifier's
 * log. Returns what the call returns. Every Buffer whose address stands in `attr` must stay
 * referenced by the caller until this returns.
 */
export function bpf(
  operation: string,
  command: number,
  attr: Buffer,
  detail?: () => string,
): number {
  return check(operation, native().libc.syscall(NR_BPF, command, attr, attr.length), detail);
}

/**
 * Like bpf; undefined for one errno. No Error is made for that one, which takes longer than the
 * call itself.
 */
export function bpfUnless(
  errno: string,
  operation: string,
  command: number,
  attr: Buffer,
): number | undefined {
  const status = native().libc.syscall(NR_BPF, command, attr, attr.length);
  if (status < 0 && getSystemErrorName(-lastErrno) === errno) return undefined;
  return check(operation, status);
}

/**
 * Address of a Buffer's first byte, for pointer fields of `union bpf_attr`. Valid as long as the
 * Buffer lives.
 */
export function addressOf(buffer: Buffer): bigint {
  return native().koffi.address(buffer);
}
