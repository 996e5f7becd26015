// Who listens on a unix socket, as proc(5) tells.

import fs from 'node:fs';

/** SO_ACCEPTCON: the socket listens. */
const LISTENING = '00010000';

/** Inode of the listening socket at a path in the content of /proc/net/unix. */
export function listenerIn(table: string, socketPath: string): string | undefined {
  // Num RefCount Protocol Flags Type St Inode Path
  return table
    .split('\n')
    .map((line) => line.match(/^\S+ \S+ \S+ (\S+) \S+ \S+ +(\S+) (.*)$/))
    .find((match) => match?.[1] === LISTENING && match[3] === socketPath)?.[2];
}

function hasSocket(pid: string, link: string): boolean {
  try {
    const folder = `/proc/${pid}/fd`;
    return fs.readdirSync(folder).some((fd) => fs.readlinkSync(`${folder}/${fd}`) === link);
  } catch {
    // It has ended meanwhile, or a descriptor of it was closed.
    return false;
  }
}

/**
 * Process that listens on a socket of this network namespace; undefined when it cannot be found.
 */
export function listenerOf(socketPath: string): number | undefined {
  const inode = listenerIn(fs.readFileSync('/proc/thread-self/net/unix', 'utf8'), socketPath);
  if (inode === undefined) return undefined;
  const pid = fs
    .readdirSync('/proc')
    .find((name) => /^\d+$/.test(name) && hasSocket(name, `socket:[${inode}]`));
  return pid === undefined ? undefined : Number(pid);
}
