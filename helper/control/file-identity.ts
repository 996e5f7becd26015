// Namespaces as stat(2) tells them apart, by which no addon is needed.

import fs from 'node:fs';

/** The network namespace of the calling thread. */
export const OWN_NETNS = '/proc/thread-self/ns/net';

/**
 * What is at a path, by device and inode; undefined where nothing is. Of a namespace it is
 * unlike that of any other that is there at the same time.
 */
export function identityAt(file: string): string | undefined {
  try {
    const stat = fs.statSync(file, { throwIfNoEntry: false });
    return stat === undefined ? undefined : `${stat.dev}:${stat.ino}`;
  } catch {
    return undefined;
  }
}

/** Whether two identities are on one file system, as all namespaces are. */
export function isSameDevice(a: string, b: string): boolean {
  return a.split(':')[0] === b.split(':')[0];
}
