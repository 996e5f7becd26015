// Where programs stand: the ingress and egress hooks of a device, and the far end of a netkit pair.
//
// Where the kernel has tcx these are BPF links, elsewhere cls_bpf filters under a clsact qdisc.
// Either way the programs of others keep their place, and podpace's come first: the verdict of
// another's may end a packet's way through the hook.

import { ClsactHooks } from './clsact-hooks.ts';
import type { Hooks } from './hook-places.ts';
import type { RtSocket } from './rtnetlink.ts';
import { isTcxSupported } from './tcx.ts';
import { TcxHooks } from './tcx-hooks.ts';

export type { Hooks } from './hook-places.ts';

/**
 * Attaches in the way of this kernel, or in the one that is asked for. `links` is a directory on
 * bpffs for pinned links, `marks` one for notes on what filters were made; `rt` is a socket of the
 * node.
 */
export function openHooks(
  rt: RtSocket,
  { links, marks }: { readonly links: string; readonly marks: string },
  kind: Hooks['kind'] = isTcxSupported() ? 'tcx' : 'clsact',
): Hooks {
  return kind === 'tcx' ? new TcxHooks(links) : new ClsactHooks(rt, marks);
}
