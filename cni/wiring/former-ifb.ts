// What the CNI bandwidth plugin leaves of a pod beside its pair, where podpace has taken its place.

import type { RtSocket } from '../../helper/kernel/rtnetlink.ts';
import type { Attachment } from './alias.ts';
import type { Kernel } from './kernel.ts';
import { formerIfbName } from './former-ifb-name.ts';
import { deleteIfThere } from './pair.ts';

/**
 * Removes the ifb by which the bandwidth plugin has shaped what a pod sends, as its own DEL would
 * have. Another device of that name stays. GC cannot do the same: the name is a hash of network and
 * container, so that an ifb of no pod in its list may be one of another network.
 */
export async function deleteFormerIfb(
  kernel: Kernel,
  node: RtSocket,
  attachment: Attachment,
): Promise<void> {
  const name = formerIfbName(attachment);
  const found = await kernel.findLink(node, { name });
  // The kernel finds devices by their alternative names as well.
  const isIfb = found?.name === name && found.kind === 'ifb';
  if (isIfb) await deleteIfThere(kernel, node, found);
}
