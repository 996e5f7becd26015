// What can be seen of a sandbox: a helper in a container may not see what the runtime has mounted.

import fs from 'node:fs';
import path from 'node:path';
import { openNetns, type NetNamespace } from '../kernel/netns.ts';

/**
 * Whether a sandbox was removed. One in a directory that is not there is only out of sight: of a
 * container's mounts, perhaps.
 */
export function isRemoved(sandbox: string): boolean {
  return !fs.existsSync(sandbox) && fs.existsSync(path.dirname(sandbox));
}

/** The namespace at a path, if one can be seen there. */
export function tryOpenNetns(sandbox: string): NetNamespace | undefined {
  try {
    return openNetns(sandbox);
  } catch {
    return undefined;
  }
}
