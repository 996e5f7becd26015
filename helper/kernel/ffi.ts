// Namespaces, locks, mounts, socket options and bpf(2): functions of the C library by what they are
// used for.

import { closing } from './descriptors.ts';
import { addressOf, check, failedWith, libc } from './libc.ts';
import { KernelError } from '../wire/errors.ts';
import { U32 } from '../wire/struct.ts';

export { addressOf };

/** CLONE_NEWNET of linux/sched.h. */
const CLONE_NEWNET = 0x40000000;

/** setns(2): moves the calling thread into the network namespace behind `fd`. */
export function setNetworkNamespace(fd: number): void {
  check('enter the network namespace', libc.setns(fd, CLONE_NEWNET));
}

/** unshare(2): moves the calling thread into a network namespace of its own. */
export function unshareNetworkNamespace(): void {
  check('make a network namespace', libc.unshare(CLONE_NEWNET));
}

/** NS_GET_NSTYPE of linux/nsfs.h. */
const NS_GET_NSTYPE = 0xb703;

/** True when `fd` is a network namespace; false for another kind of namespace, or of file. */
export function isNetworkNamespace(fd: number): boolean {
  return libc.ioctl(fd, NS_GET_NSTYPE) === CLONE_NEWNET;
}

/** AF_NETLINK of linux/socket.h. */
const AF_NETLINK = 16;

/**
 * Port that the netlink socket `fd` is bound to (struct sockaddr_nl); undefined when `fd` is
 * something else.
 */
export function netlinkPort(fd: number): number | undefined {
  const address = Buffer.alloc(128);
  if (libc.getsockname(fd, address, U32.encode(address.length)) < 0) return undefined;
  return address.readUInt16LE() === AF_NETLINK ? address.readUInt32LE(4) : undefined;
}

/** setsockopt(2) of an option whose value is an int. */
export function setSocketOption(fd: number, level: number, option: number, value: number): void {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32LE(value);
  check(
    `set option ${option} of socket ${fd}`,
    libc.setsockopt(fd, level, option, bytes, bytes.length),
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
  return libc.getsockopt(fd, SOL_SOCKET, option, value, size);
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
  const fd = check('make a socket', libc.socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
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
  libc.malloc_trim(0);
}

/** Ends the process without a word to anybody in it (_exit(2)). */
export function endAtOnce(status: number): void {
  libc._exit(status);
}

/** mount(2) of a file system that needs no source, such as bpffs. */
export function mountFileSystem(type: string, target: string): void {
  check(`mount ${type} on ${target}`, libc.mount(type, target, type, 0, null));
}

/** umount2(2) of what mountFileSystem has mounted. */
export function unmount(target: string): void {
  check(`unmount ${target}`, libc.umount2(target, 0));
}

/** LOCK_EX and LOCK_NB of asm-generic/fcntl.h. */
const LOCK_EX = 2;
const LOCK_NB = 4;

/**
 * flock(2): locks the file or directory behind `fd` until the descriptor is closed; false when
 * somebody else has it locked.
 */
export function lockFile(fd: number): boolean {
  if (libc.flock(fd, LOCK_EX | LOCK_NB) === 0) return true;
  const errno = failedWith();
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
  return check(operation, libc.syscall(NR_BPF, command, attr, attr.length), detail);
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
  const status = libc.syscall(NR_BPF, command, attr, attr.length);
  if (status < 0 && failedWith() === errno) return undefined;
  return check(operation, status);
}
