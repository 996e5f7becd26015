// A child process with pipes to its stdin, stdout and stderr, by posix_spawn(3): to load
// node:child_process, and to have libuv fork the whole process, takes longer than most of what a
// CNI call runs.

import fs from 'node:fs';
import os from 'node:os';
import { getSystemErrorName } from 'node:util';
import { hasErrno, KernelError } from '../wire/errors.ts';
import { addressOf, check, failedWith, libc } from './libc.ts';
import { POLLIN, POLLOUT, ready, turn, type Polled } from './polling.ts';

/** asm-generic/fcntl.h. */
const O_CLOEXEC = 0o2000000;
/** More than what glibc keeps in either: 80 bytes of actions, 336 of attributes. */
const OPAQUE_BYTES = 512;
/** spawn.h. */
const POSIX_SPAWN_SETSIGDEF = 0x4;
const POSIX_SPAWN_SETSIGMASK = 0x8;
/** sigset_t, and the signals that can be ignored or caught: 1 to 31. */
const SIGNAL_SET_BYTES = 128;
const ALL_SIGNALS = 0x7fffffff;
/** struct sigaction begins with the handler; all zero it is the default. */
const SIGACTION_BYTES = 152;
const SIG_IGN = 1n;
/** asm/unistd.h: the same number on every machine. */
const NR_PIDFD_OPEN = 434;
/** A pipe that is ready takes so much without waiting (PIPE_BUF). */
const WRITE_BYTES = 4096;
const READ_BYTES = 64 * 1024;
/** A child that never stops writing must not keep the event loop for itself; ms. */
const TURN_MS = 50;

/** How a child has ended. */
export type Ending = { readonly status: number } | { readonly signal: string };

/** A descriptor that is waited for, and what to do when it is ready: false when that was the last. */
interface Watched extends Polled {
  readonly act: () => boolean;
}

/** `char *[]` as execve(2) takes it: strings with a NUL each, and where they are. */
function stringVector(strings: readonly Buffer[]): {
  readonly table: Buffer;
  readonly all: Buffer;
} {
  const nul = Buffer.alloc(1);
  const all = Buffer.concat(strings.flatMap((string) => [string, nul]));
  const table = Buffer.alloc((strings.length + 1) * 8);
  let address = addressOf(all);
  for (const [index, { length }] of strings.entries()) {
    table.writeBigUInt64LE(address, index * 8);
    address += BigInt(length + 1);
  }
  return { table, all };
}

/** Both ends of a pipe, which no other child gets. */
function openPipe(): [read: number, write: number] {
  const fds = Buffer.alloc(8);
  check('make a pipe', libc.pipe2(fds, O_CLOEXEC));
  return [fds.readInt32LE(0), fds.readInt32LE(4)];
}

/**
 * Has the ends of children kept until they are asked for, which is not so where whoever started us
 * ignores them. A handler, such as node:child_process has, stays.
 */
function keepEndings(): void {
  const { SIGCHLD } = os.constants.signals;
  const action = Buffer.alloc(SIGACTION_BYTES);
  check('ask about SIGCHLD', libc.sigaction(SIGCHLD, null, action));
  if (action.readBigUInt64LE() !== SIG_IGN) return;
  check('set SIGCHLD', libc.sigaction(SIGCHLD, Buffer.alloc(SIGACTION_BYTES), null));
}

/** Runs `file` with these as its stdin, stdout and stderr; returns its process id. */
function spawn(file: string, environment: readonly Buffer[], stdio: readonly number[]): number {
  const operation = `run ${file}`;
  if (file.includes('\0')) throw new KernelError(operation, 'ENOENT', 'its path holds a NUL');
  const [pid, actions, attributes] = [4, OPAQUE_BYTES, OPAQUE_BYTES].map((size) =>
    Buffer.alloc(size),
  ) as [Buffer, Buffer, Buffer];
  const signals = Buffer.alloc(SIGNAL_SET_BYTES);
  libc.posix_spawnattr_init(attributes);
  libc.posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
  libc.posix_spawnattr_setsigmask(attributes, signals);
  signals.writeInt32LE(ALL_SIGNALS);
  libc.posix_spawnattr_setsigdefault(attributes, signals);
  libc.posix_spawn_file_actions_init(actions);
  for (const [to, fd] of stdio.entries()) libc.posix_spawn_file_actions_adddup2(actions, fd, to);
  const argv = stringVector([Buffer.from(file)]);
  const env = stringVector(environment);
  const errno = libc.posix_spawn(pid, file, actions, attributes, argv.table, env.table);
  libc.posix_spawn_file_actions_destroy(actions);
  // Not collected before: the tables point there.
  if (errno !== 0 || argv.all.length + env.all.length === 0)
    throw new KernelError(operation, getSystemErrorName(-errno));
  return pid.readInt32LE();
}

/** What a wait status says (sys/wait.h). */
function endingOf(status: number): Ending {
  const number = status & 0x7f;
  if (number === 0) return { status: (status >> 8) & 0xff };
  const named = Object.entries(os.constants.signals).find(([, value]) => value === number);
  return { signal: named?.[0] ?? String(number) };
}

/** A descriptor that becomes ready when a child ends. One that cannot be watched is ended. */
function watch(pid: number): number {
  const fd = libc.syscall(NR_PIDFD_OPEN, pid, null, 0);
  if (fd >= 0) return fd;
  const errno = failedWith();
  libc.kill(pid, os.constants.signals.SIGKILL);
  libc.waitpid(pid, Buffer.alloc(4), 0);
  throw new KernelError(`watch process ${pid}`, errno);
}

/** Hands on what there is to read; false at its end. */
function handOn(fd: number, take: (chunk: Buffer) => void): boolean {
  const chunk = Buffer.allocUnsafe(READ_BYTES);
  const bytes = fs.readSync(fd, chunk);
  if (bytes > 0) take(chunk.subarray(0, bytes));
  return bytes > 0;
}

/** A process of this one. Whoever starts it waits for its end, or it stays as a zombie. */
export class Child {
  readonly #pid: number;
  /** Becomes ready when the process ends. */
  readonly #pidfd: number;
  /** Our ends of its stdin, stdout and stderr. */
  readonly #pipes: readonly [number, number, number];
  #unwritten: Buffer;
  #ending: Ending | undefined;

  private constructor(pid: number, pipes: readonly [number, number, number], stdin: Buffer) {
    this.#pid = pid;
    this.#pipes = pipes;
    this.#unwritten = stdin;
    this.#pidfd = watch(pid);
  }

  /**
   * Starts `file` with nothing but its path as arguments; `environment` has an entry `NAME=value`
   * for each variable. Throws KernelError: ENOENT, EACCES, ENOEXEC, ETXTBSY and what else execve(2)
   * fails with.
   */
  static start(file: string, environment: readonly Buffer[], stdin: Buffer): Child {
    const [theirs, ours]: [number[], number[]] = [[], []];
    try {
      for (const isInput of [true, false, false]) {
        const [read, write] = openPipe();
        theirs.push(isInput ? read : write);
        ours.push(isInput ? write : read);
      }
      keepEndings();
      const pid = spawn(file, environment, theirs);
      const child = new Child(pid, ours.slice() as [number, number, number], stdin);
      ours.length = 0;
      return child;
    } finally {
      for (const fd of [...theirs, ...ours]) fs.closeSync(fd);
    }
  }

  /** Sends a signal, unless the process has ended. */
  kill(signal: 'SIGTERM' | 'SIGKILL'): void {
    if (this.#ending === undefined) libc.kill(this.#pid, os.constants.signals[signal]);
  }

  /**
   * Gives the process its stdin and hands on what it writes, as it comes, until it has ended and
   * nobody can write any more. To be called once. Others have their turn before it waits.
   */
  async end(onStdout: (chunk: Buffer) => void, onStderr: (chunk: Buffer) => void): Promise<Ending> {
    const [stdin, stdout, stderr] = this.#pipes;
    let watched: Watched[] = [
      { fd: stdin, events: POLLOUT, act: () => this.#write(stdin) },
      { fd: stdout, events: POLLIN, act: () => handOn(stdout, onStdout) },
      { fd: stderr, events: POLLIN, act: () => handOn(stderr, onStderr) },
      { fd: this.#pidfd, events: POLLIN, act: () => this.#reap() },
    ];
    for (let turnMs = 0; watched.length > 0;) {
      if (Date.now() >= turnMs) {
        await turn();
        turnMs = Date.now() + TURN_MS;
      }
      const acting = ready(watched);
      if (acting.length === 0) turnMs = 0;
      const over = acting.filter(({ act }) => !act());
      for (const { fd } of over) fs.closeSync(fd);
      watched = watched.filter((each) => !over.includes(each));
    }
    return this.#ending ?? { status: 0 };
  }

  /** Writes what there is room for; false when that was all, or nobody reads it. */
  #write(stdin: number): boolean {
    try {
      const bytes = fs.writeSync(stdin, this.#unwritten.subarray(0, WRITE_BYTES));
      this.#unwritten = this.#unwritten.subarray(bytes);
    } catch (error) {
      // It need not read its stdin.
      if (!hasErrno(error, 'EPIPE')) throw error;
      return false;
    }
    return this.#unwritten.length > 0;
  }

  #reap(): boolean {
    const status = Buffer.alloc(4);
    check('wait for a child', libc.waitpid(this.#pid, status, 0));
    this.#ending = endingOf(status.readInt32LE());
    return false;
  }
}
