// Takes an attachment away at the helper.

import { askHelper } from '../helper/protocol/client.ts';
import type { Edges } from './edges.ts';
import type { Invocation } from './skel.ts';
import { forgetWish } from './wishes.ts';

/**
 * Forgets what the pod was to have, and detaches at the helper, which has `deadlineMs` for it.
 * Throws HelperError, also when nobody listens, and Error when a wish cannot be removed.
 */
export async function detach(
  edges: Edges,
  call: Invocation,
  socket: string,
  deadlineMs: number,
): Promise<void> {
  const { containerId, ifname } = call;
  // Before the helper is asked: it could put the wish in force after it has detached.
  await forgetWish(socket, call);
  await askHelper(edges, socket, 'detach', { containerId, ifname }, { deadlineMs });
}
