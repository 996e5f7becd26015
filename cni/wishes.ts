// What a pod was to have and could not get, under `onUnenforceable: allow`: kept beside the
// helper's socket for a helper that puts it in force as soon as it can. Costs nothing where there
// is none: what reads and writes files is loaded when it is needed.

import type { AttachmentKey, AttachParams } from '../helper/protocol/messages.ts';
import { podOf } from '../helper/protocol/pod-names.ts';
import type { WishFiles } from '../helper/control/wish-files.ts';
import { hasWish } from './remains.ts';
import type { Pair } from './wiring/pair.ts';

async function filesAt(socket: string): Promise<WishFiles> {
  const { WishFiles } = await import('../helper/control/wish-files.ts');
  return new WishFiles(socket);
}

/** Why a wish is not in force, and the interface that it is about. */
interface Refusal extends Pick<Pair, 'host'> {
  readonly reason: string;
}

/** Keeps a wish; returns what a warning says of that, also when it could not be kept. */
export async function keepWish(
  socket: string,
  params: AttachParams,
  { host, reason }: Refusal,
): Promise<string> {
  try {
    const { kind } = host;
    const files = await filesAt(socket);
    files.write({
      ...{ ...params, hostInterfaceIndex: host.index, reason },
      ...(podOf(params) !== undefined && { addedAt: new Date().toISOString() }),
      ...((kind === 'veth' || kind === 'netkit') && { kind }),
    });
    return 'podpaced puts it in force as soon as it can be';
  } catch (error) {
    return `nor will it be later: ${(error as Error).message}`;
  }
}

/** Removes the wish of an attachment, if there is one. Throws Error when it cannot be removed. */
export async function forgetWish(
  socket: string,
  { containerId, ifname }: AttachmentKey,
): Promise<void> {
  const key = { containerId, ifname };
  if (hasWish(socket, key)) (await filesAt(socket)).remove(key);
}
