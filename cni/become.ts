// The last step of a call that ends with another plugin: that takes the place of this process,
// which costs nothing like a second process with pipes to and from it.

import fs from 'node:fs';

const STDIN = 0;

/** Limit of the kernel (PIPE_BUF): up to here a pipe takes all of what is written, or nothing. */
const ATOMIC_BYTES = 4096;

/** Longer than anybody takes to write a plugin, ms. */
const WRITING_MS = 60_000;

/** e_ident and e_machine of elf(5), without the ABI, which tells nothing. */
function machineOf(file: string): string {
  const fd = fs.openSync(file, 'r');
  try {
    const header = Buffer.alloc(20);
    fs.readSync(fd, header, 0, header.length, 0);
    return header.toString('latin1', 0, 7) + header.toString('latin1', 18);
  } finally {
    fs.closeSync(fd);
  }
}

/**
 * True for a program that execve(2) takes: Node ends with a crash where it does not. So no script,
 * no program of another machine, and none that may be written to right now (ETXTBSY).
 */
function isSureToRun(file: string): boolean {
  fs.accessSync(file, fs.constants.X_OK);
  const sinceChangeMs = Date.now() - fs.statSync(file).ctimeMs;
  return sinceChangeMs > WRITING_MS && machineOf(file) === machineOf(process.execPath);
}

/**
 * Puts back what was read of stdin, when that is a pipe: by its other end, which nobody holds any
 * more. False when it is none, or has no room.
 */
function isGivenBack(stdin: Buffer): boolean {
  if (stdin.length > ATOMIC_BYTES || !fs.fstatSync(STDIN).isFIFO()) return false;
  const { O_WRONLY, O_NONBLOCK } = fs.constants;
  const fd = fs.openSync(`/proc/self/fd/${STDIN}`, O_WRONLY | O_NONBLOCK);
  try {
    return fs.writeSync(fd, stdin) === stdin.length;
  } finally {
    fs.closeSync(fd);
  }
}

/**
 * Has a program take the place of this process, with its environment, stdout and stderr, and
 * `stdin` to read; returns where that cannot be done for sure.
 */
export function become(file: string, stdin: Buffer): void {
  try {
    if (process.execve === undefined || !isSureToRun(file) || !isGivenBack(stdin)) return;
  } catch {
    // To run it in a process of its own will say why.
    return;
  }
  process.execve(file, [file]);
}
