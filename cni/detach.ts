// Takes an attachment away at the helper.

import { askHelper } from '../helper/protocol/client.ts';
import type { Edges } from './edges.ts';
import type { Invocation } from './skel.ts';
import { forgetWish } from './wishes.ts';

/** DEL must not keep a pod from going. */
const DETACH_DEADLINE_MS = 3_000;

/**
 * Forgets what the pod was to have, and detaches at the helper. Throws HelperError, also when nobody listens, and Error when a
 * wish cannot be removed.
 */
export async function detach(edges: Edges, call: Invocation, socket: string): Promise<void> {
  const { containerId, ifname } = call;
  // Before the helper is asked: it could put the wish in force after it has detached.
  await forgetWish(socket, call);
  await askHelper(edges, socket, 'detach', { containerId, ifname }, { deadlineMs: DETACH_DEADLINE_MS });
}
