// Changes of files that others read and write at any time: each appears whole or not at all, and
// none is written over what somebody else has just put there.

import fs from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { lockHolder, tryLock } from '../kernel/locks.ts';
import { isConfName, type Change, type ConfFiles } from '../network-list/plan.ts';
import { remedies } from '../protocol/remedies.ts';
import { hasErrno } from '../wire/errors.ts';
import { resolveIn } from './node-root.ts';

/** Not read by any runtime. Whoever holds the lock may take away what another has left of it. */
export const STAGED = '.podpace.new';

/** libcni reads files whole; no list comes near. */
const MAX_BYTES = 1_048_576;

const LOCK_WAIT_MS = 10_000;
const LOCK_PAUSE_MS = 50;

/** A directory of the node: `root` is where the node's root is mounted. */
export interface NodeDirectory {
  readonly root: string;
  readonly directory: string;
}

/** Somebody has changed a file since it was read. */
export class ChangedMeanwhile extends Error {
  override readonly name = 'ChangedMeanwhile';
}

/** What to do about a directory that cannot be written to; `flag` names another. */
function cannotWrite(directory: string, flag: string, error: unknown): Error {
  const { message } = error as Error;
  let remedy = `see what is wrong with ${directory}`;
  if (hasErrno(error, 'EROFS', 'EACCES', 'EPERM'))
    remedy = `name one that can be written to, and that the runtime looks in, with ${flag}`;
  if (hasErrno(error, 'ENOSPC', 'EDQUOT')) remedy = remedies.room(directory);
  return new Error(`Cannot write to ${directory}: ${message}; ${remedy}`, { cause: error });
}

function syncDirectory(directory: string): void {
  const fd = fs.openSync(directory, fs.constants.O_RDONLY);
  try {
    fs.fsyncSync(fd);
  } finally {
    fs.closeSync(fd);
  }
}

/**
 * Puts a file into a directory: `write` fills it, and it appears under its name when it is on the
 * disk and `isStillFree` says so. Throws Error with the remedy; the directory is then as it was.
 */
export function putFile(
  file: string,
  { mode, flag, owner }: { mode: number; flag: string; owner?: { uid: number; gid: number } },
  write: (staged: string) => void,
  requireUnchanged: () => void = () => undefined,
): void {
  const directory = path.dirname(file);
  const staged = path.join(directory, STAGED);
  try {
    fs.rmSync(staged, { force: true, recursive: true });
    write(staged);
    const fd = fs.openSync(staged, fs.constants.O_RDONLY);
    try {
      if (owner !== undefined) fs.fchownSync(fd, owner.uid, owner.gid);
      fs.fchmodSync(fd, mode);
      fs.fsyncSync(fd);
    } finally {
      fs.closeSync(fd);
    }
    requireUnchanged();
    fs.renameSync(staged, file);
    syncDirectory(directory);
  } catch (error) {
    try {
      fs.rmSync(staged, { force: true });
    } catch {
      // On a file system that takes no change nothing was left.
    }
    throw error instanceof ChangedMeanwhile ? error : cannotWrite(directory, flag, error);
  }
}

/** Removes a file; one that is not there is no failure. */
export function dropFile(file: string, flag: string): void {
  try {
    fs.rmSync(file, { force: true });
    syncDirectory(path.dirname(file));
  } catch (error) {
    throw cannotWrite(path.dirname(file), flag, error);
  }
}

/** Bytes as latin1; undefined where nothing is. Throws Error that says what it is instead. */
function readBytes(file: string): string | undefined {
  const { O_RDONLY, O_NONBLOCK } = fs.constants;
  let fd: number;
  try {
    fd = fs.openSync(file, O_RDONLY | O_NONBLOCK);
  } catch (error) {
    if (hasErrno(error, 'ENOENT')) return undefined;
    throw error;
  }
  try {
    const stat = fs.fstatSync(fd);
    if (!stat.isFile()) throw new Error('it is no regular file');
    if (stat.size > MAX_BYTES) throw new Error(`it has ${stat.size} bytes, more than ${MAX_BYTES}`);
    return fs.readFileSync(fd, 'latin1');
  } finally {
    fs.closeSync(fd);
  }
}

/** The files of a directory of network configurations, and why some cannot be read. */
export interface ReadConfDir {
  readonly files: ConfFiles;
  /** Of those that a runtime would read. */
  readonly unreadable: ReadonlyMap<string, string>;
}

/** Throws Error with the remedy when the directory is not there, or none. */
export function readConfDir({ root, directory }: NodeDirectory): ReadConfDir {
  const here = resolveIn(root, directory);
  let names: string[];
  try {
    names = fs.readdirSync(here);
  } catch (error) {
    const remedy = hasErrno(error, 'ENOENT')
      ? `make it, or name the one that the runtime reads with --conf-dir`
      : `name the one that the runtime reads with --conf-dir`;
    throw new Error(
      `Cannot read the network lists in ${here}: ${(error as NodeJS.ErrnoException).code}; ${remedy}`,
      { cause: error },
    );
  }
  const files = new Map<string, string>();
  const unreadable = new Map<string, string>();
  for (const name of names.filter((one) => one !== STAGED)) {
    try {
      const file = resolveIn(root, path.join(directory, name));
      // As runtimes do.
      if (fs.statSync(file, { throwIfNoEntry: false })?.isDirectory() === true) continue;
      const text = readBytes(file);
      if (text !== undefined) files.set(name, text);
      else if (fs.lstatSync(path.join(here, name), { throwIfNoEntry: false }) !== undefined)
        unreadable.set(name, 'it is a link that leads nowhere');
    } catch (error) {
      unreadable.set(name, (error as Error).message);
    }
  }
  for (const name of unreadable.keys()) if (!isConfName(name)) unreadable.delete(name);
  return { files, unreadable };
}

/**
 * Makes one change of a directory of network configurations. A link is followed; mode and owner
 * stay. Throws ChangedMeanwhile when the file is not what the change was planned for.
 */
export function applyChange({ root, directory }: NodeDirectory, change: Change): void {
  const { name, before, after } = change;
  const file = resolveIn(root, path.join(directory, name));
  const requireUnchanged = (): void => {
    if (readBytes(file) !== before) throw new ChangedMeanwhile(`${file} was changed meanwhile`);
  };
  requireUnchanged();
  if (after === undefined)
    return dropFile(path.join(resolveIn(root, directory), name), '--conf-dir');
  const stat = fs.statSync(file, { throwIfNoEntry: false });
  const kept = {
    mode: stat === undefined ? 0o644 : stat.mode & 0o7777,
    ...(stat !== undefined && { owner: { uid: stat.uid, gid: stat.gid } }),
  };
  putFile(
    file,
    { ...kept, flag: '--conf-dir' },
    (staged) => fs.writeFileSync(staged, after, { encoding: 'latin1', flag: 'wx', mode: 0o600 }),
    requireUnchanged,
  );
}

/**
 * Runs `act` while this process alone changes these directories; waits for others to end. Throws
 * Error that names who does not.
 */
export async function withLocks<T>(
  directories: readonly string[],
  act: () => Promise<T> | T,
): Promise<T> {
  const fds: number[] = [];
  try {
    // In one order, so that two do not wait for each other.
    for (const directory of [...new Set(directories)].toSorted())
      fds.push(await lockInTime(directory));
    return await act();
  } finally {
    for (const fd of fds) fs.closeSync(fd);
  }
}

async function lockInTime(directory: string): Promise<number> {
  for (let waitedMs = 0; ; waitedMs += LOCK_PAUSE_MS) {
    const fd = tryLock(directory);
    if (fd !== undefined) return fd;
    if (waitedMs >= LOCK_WAIT_MS)
      throw new Error(
        `Cannot lock ${directory}: process ${lockHolder(directory) ?? 'of another container'} has it; ` +
          'try again when that has ended',
      );
    await sleep(LOCK_PAUSE_MS);
  }
}
