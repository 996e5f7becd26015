// A kernel that lacks something, as far as bpf(2) goes: node lesser-kernel.ts COMMAND[,COMMAND]
// PROGRAM [ARGUMENT]…
//
// Becomes the program, for which those commands of bpf(2) answer EINVAL, which is what a kernel
// says that does not know them.

import koffi from 'koffi';

/** linux/prctl.h and linux/seccomp.h. */
const PR_SET_SECCOMP = 22;
const SECCOMP_MODE_FILTER = 2;
const SECCOMP_RET_ALLOW = 0x7fff_0000;
const SECCOMP_RET_ERRNO = 0x0005_0000;
const EINVAL = 22;

/** struct seccomp_data: the number of the call, and the lower half of its first argument. */
const NUMBER_OFFSET = 0;
const ARGUMENT_OFFSET = 16;

/** linux/fcntl.h. */
const F_SETFD = 2;

const NR_BPF = process.arch === 'x64' ? 321 : 280;

/** Classic BPF of linux/bpf_common.h. */
const LOAD_WORD = 0x20;
const JUMP_IF_EQUAL = 0x15;
const RETURN = 0x06;

/** struct sock_filter. */
function instruction(code: number, value: number, ifEqual = 0, ifNot = 0): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeUInt16LE(code);
  bytes.writeUInt8(ifEqual, 2);
  bytes.writeUInt8(ifNot, 3);
  bytes.writeUInt32LE(value, 4);
  return bytes;
}

function filterOf(commands: readonly number[]): Buffer {
  return Buffer.concat([
    instruction(LOAD_WORD, NUMBER_OFFSET),
    instruction(JUMP_IF_EQUAL, NR_BPF, 0, commands.length + 1),
    instruction(LOAD_WORD, ARGUMENT_OFFSET),
    ...commands.map((command, index) =>
      instruction(JUMP_IF_EQUAL, command, commands.length - index),
    ),
    instruction(RETURN, SECCOMP_RET_ALLOW),
    instruction(RETURN, SECCOMP_RET_ERRNO | EINVAL),
  ]);
}

const [list = '', program = '', ...rest] = process.argv.slice(2);
const filter = filterOf(list.split(',').map(Number));
// struct sock_fprog.
const described = Buffer.alloc(16);
described.writeUInt16LE(filter.length / 8);
described.writeBigUInt64LE(koffi.address(filter), 8);

const libc = koffi.load(null);
const prctl = libc.func('int prctl(int option, unsigned long mode, void *filter)');
const execv = libc.func('int execv(const char *path, const char **argv)');
const fcntl = libc.func('int fcntl(int fd, int operation, ...)');
// Node has them closed for whatever it becomes.
for (const fd of [0, 1, 2]) fcntl(fd, F_SETFD, 'int', 0);
if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, described) !== 0)
  throw new Error(`prctl: ${koffi.errno()}`);
execv(program, [program, ...rest, null]);
throw new Error(`execv ${program}: ${koffi.errno()}`);
