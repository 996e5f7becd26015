// The C library, as far as Node has no binding for it: setns, mount, bpf. Everything here is synchronous and
// acts on the calling thread, which is Node's main thread.

import { getSystemErrorName } from 'node:util';
import { loadAddon } from './assets.ts';
import { KernelError } from './errors.ts';

/** The part of koffi's native addon that is used; its JavaScript wrapper adds 8 ms to a start and is left out. */
interface Koffi {
  load(path: string | null): { func(prototype: string): (...args: unknown[]) => unknown };
  errno(): number;
  address(buffer: Uint8Array): bigint;
}

interface Libc {
  setns(fd: number, type: number): number;
  mount(source: string, target: string, type: string, flags: number, data: null): number;
  syscall(number: number, command: number, attr: Buffer, size: number): number;
}

let koffi: Koffi | undefined;
let libc: Libc | undefined;

function native(): { koffi: Koffi; libc: Libc } {
  if (koffi === undefined || libc === undefined) {
    koffi = loadAddon('koffi.node') as Koffi;
    const library = koffi.load(null);
    libc = {
      setns: library.func('int setns(int fd, int nstype)') as Libc['setns'],
      mount: library.func(
        'int mount(const char *source, const char *target, const char *type, unsigned long flags, const void *data)',
      ) as Libc['mount'],
      syscall: library.func(
        'long syscall(long number, long command, void *attr, unsigned long size)',
      ) as Libc['syscall'],
    };
  }
  return { koffi, libc };
}

function check(operation: string, status: number, detail?: () => string): number {
  if (status >= 0) return status;
  throw new KernelError(operation, getSystemErrorName(-native().koffi.errno()), detail?.());
}

/** CLONE_NEWNET of linux/sched.h. */
const CLONE_NEWNET = 0x40000000;

/** setns(2): moves the calling thread into the network namespace behind `fd`. */
export function setNetworkNamespace(fd: number): void {
  check('enter the network namespace', native().libc.setns(fd, CLONE_NEWNET));
}

/** mount(2) of a file system that needs no source, such as bpffs. */
export function mountFileSystem(type: string, target: string): void {
  check(`mount ${type} on ${target}`, native().libc.mount(type, target, type, 0, null));
}

/** Numbers of bpf(2): asm/unistd_64.h for x86_64, asm-generic/unistd.h for the rest. */
const NR_BPF = process.arch === 'x64' ? 321 : 280;

/**
 * bpf(2) with a command of `enum bpf_cmd` (linux/bpf.h) and a filled `union bpf_attr`, which the kernel may write
 * to. `operation` names the object for the error; `detail` supplies the verifier's log. Returns what the call returns.
 * Every Buffer whose address stands in `attr` must stay referenced by the caller until this returns.
 */
export function bpf(operation: string, command: number, attr: Buffer, detail?: () => string): number {
  return check(operation, native().libc.syscall(NR_BPF, command, attr, attr.length), detail);
}

/** Address of a Buffer's first byte, for pointer fields of `union bpf_attr`. Valid as long as the Buffer lives. */
export function addressOf(buffer: Buffer): bigint {
  return native().koffi.address(buffer);
}
