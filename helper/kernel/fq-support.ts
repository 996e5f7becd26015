// Whether the kernel has the qdisc that holds packets until their departure.

import { findLink } from './links.ts';
import { replaceQdisc, TC_H_ROOT } from './qdiscs.ts';
import { RtSocket } from './rtnetlink.ts';
import { withScratchNetns } from './scratch-netns.ts';

/**
 * Puts an `fq` on a device of a namespace that nobody else sees; the kernel loads its module for that where it can. Throws
 * KernelError when it refuses: ENOENT is how it says that it has no such qdisc. Takes some milliseconds, and now and then some
 * tens: namespaces are made one at a time.
 */
export async function tryFq(): Promise<void> {
  await withScratchNetns(async (netns) => {
    const rt = RtSocket.open(netns);
    try {
      const lo = await findLink(rt, { name: 'lo' });
      await replaceQdisc(rt, { ifindex: lo?.index ?? 1, parent: TC_H_ROOT, kind: 'fq' });
    } finally {
      rt.close();
    }
  });
}
