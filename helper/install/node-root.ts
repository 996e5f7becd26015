// Files of the node as a container sees them that has its root mounted: links lead from there, not
// from the container's root.

import fs from 'node:fs';
import path from 'node:path';

/** As the kernel (path_resolution(7)). */
const MAX_LINKS = 40;

/**
 * Where a path of the node is here, all links followed; what is not there ends where it would be.
 */
export function resolveIn(root: string, nodePath: string): string {
  let left = nodePath.split('/').filter((part) => part !== '' && part !== '.');
  let resolved: string[] = [];
  for (let links = 0; left.length > 0;) {
    const [part = '', ...rest] = left;
    left = rest;
    if (part === '..') {
      resolved = resolved.slice(0, -1);
      continue;
    }
    const link = linkAt(path.join(root, ...resolved, part));
    if (link === undefined) {
      resolved.push(part);
      continue;
    }
    links += 1;
    if (links > MAX_LINKS) throw new Error(`Cannot follow ${nodePath}: too many symbolic links`);
    if (link.startsWith('/')) resolved = [];
    left = [...link.split('/').filter((one) => one !== '' && one !== '.'), ...left];
  }
  return path.join(root, ...resolved);
}

function linkAt(file: string): string | undefined {
  const stat = fs.lstatSync(file, { throwIfNoEntry: false });
  return stat?.isSymbolicLink() === true ? fs.readlinkSync(file) : undefined;
}

export function isThere(root: string, nodePath: string): boolean {
  return fs.existsSync(resolveIn(root, nodePath));
}
