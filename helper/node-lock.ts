// One helper for a node. Two of them would fight for the same hooks, qdiscs, maps and records, so
// each locks what it is about to change before it changes anything, and holds the locks until it
// dies: the kernel then takes them away.
//
// What is locked: the network namespace, whose hooks and qdiscs there is one set of; the
// directories of pins and records, which a helper of another namespace may have been given too. A
// helper from before there were locks is known by its socket.

import fs from 'node:fs';
import path from 'node:path';
import type { HelperConfig } from './config.ts';
import { effectiveCapabilities } from './kernel/capabilities.ts';
import { hasErrno } from './wire/errors.ts';
import { lockHolder, NETWORK_NAMESPACE, tryLock } from './kernel/locks.ts';
import { listenerOf } from './kernel/unix-sockets.ts';
import { Refusal } from './refusal.ts';
import { isServed } from './socket-file.ts';

type Places = Pick<HelperConfig, 'socket' | 'stateDir' | 'pinDir'>;
type Log = (level: 'warn', message: string) => void;

/** Another helper is at work here. */
function notAlone(pid: number | undefined, how: string): Refusal {
  const who = pid === undefined || pid === 0 ? '' : ` (process ${pid})`;
  return new Refusal(`another podpaced is serving this node${who}: ${how}; nothing was changed`);
}

function nameOf(place: string): string {
  return place === NETWORK_NAMESPACE ? 'this network namespace' : place;
}

/**
 * Anybody in a namespace can lock it; a helper has CAP_NET_ADMIN, which pods on the node's network
 * seldom have. So a process that can be seen to be none does not keep the helper from its work.
 */
function canBeHelper(pid: number): boolean {
  // Of another process namespace.
  if (pid === 0) return true;
  try {
    return effectiveCapabilities(pid).has('CAP_NET_ADMIN');
  } catch (error) {
    if (hasErrno(error, 'ENOENT', 'ESRCH')) return false;
    throw error;
  }
}

function refuseHolder(place: string, holder: number | undefined): void {
  if (holder === undefined || (place === NETWORK_NAMESPACE && !canBeHelper(holder))) return;
  throw notAlone(holder, `it holds the lock of ${nameOf(place)}`);
}

/** Sockets at which a helper of these places may answer. */
function socketsOf({ socket, stateDir }: Places): string[] {
  const entries = fs.existsSync(stateDir) ? fs.readdirSync(stateDir, { withFileTypes: true }) : [];
  const others = entries
    .filter((entry) => entry.isSocket())
    .map(({ name }) => path.join(stateDir, name));
  return [...new Set([socket, ...others])];
}

async function refuseServed(places: Places): Promise<void> {
  for (const socket of socketsOf(places)) {
    if (await isServed(socket)) throw notAlone(listenerOf(socket), `it answers on ${socket}`);
  }
}

function lockable({ stateDir, pinDir }: Places): string[] {
  return [NETWORK_NAMESPACE, pinDir, stateDir];
}

function isSameFile(fd: number, place: string): boolean {
  const [open, named] = [fs.fstatSync(fd, { bigint: true }), fs.statSync(place, { bigint: true })];
  return open.dev === named.dev && open.ino === named.ino;
}

/** The locks of a helper. */
export class NodeLock {
  readonly #fds = new Map<string, number>();
  readonly #log: Log;

  private constructor(log: Log) {
    this.#log = log;
  }

  /** Locks everything that is there. Throws Refusal, and has then changed nothing. */
  static async take(places: Places, log: Log): Promise<NodeLock> {
    // First by reading only: to lock takes a native addon, and to unpack that would be a change
    // already.
    for (const place of lockable(places)) refuseHolder(place, lockHolder(place));
    await refuseServed(places);
    const lock = new NodeLock(log);
    try {
      for (const place of lockable(places)) if (fs.existsSync(place)) lock.#add(place);
      return lock;
    } catch (error) {
      lock.release();
      throw error;
    }
  }

  /**
   * Makes a directory, readable by root only, unless it is there, and has it locked. Throws
   * Refusal.
   */
  provide(directory: string): void {
    fs.mkdirSync(directory, { recursive: true, mode: 0o700 });
    const fd = this.#fds.get(directory);
    // What was locked at first may have been taken away by a helper that was just being
    // uninstalled.
    if (fd === undefined || !isSameFile(fd, directory)) this.#add(directory);
  }

  /** The kernel does the same when this process ends in any way. */
  release(): void {
    for (const fd of this.#fds.values()) fs.closeSync(fd);
    this.#fds.clear();
  }

  #add(place: string): void {
    const fd = tryLock(place);
    if (fd !== undefined) {
      this.#fds.set(place, fd);
      return;
    }
    const holder = lockHolder(place);
    refuseHolder(place, holder ?? 0);
    this.#log(
      'warn',
      `Process ${holder} has locked the network namespace of this node and is no podpaced: a second podpaced ` +
        'with other directories would not be noticed',
    );
  }
}
