// The name of what the CNI bandwidth plugin made for a pod. Apart from other names, since the hash
// is Node's: its module takes 8 ms to load.

import { createHash } from 'node:crypto';
import type { Attachment } from './alias.ts';

/**
 * Name of the ifb for what a pod sends: `bwp` and as much of a SHA-512 as fits. The name of the
 * pod's interface has no part in it.
 */
export function formerIfbName({
  network,
  containerId,
}: Pick<Attachment, 'network' | 'containerId'>): string {
  const digest = createHash('sha512').update(`${network}${containerId}`).digest('hex');
  return `bwp${digest.slice(0, 12)}`;
}
