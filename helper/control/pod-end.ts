// The end of a pair that is in the pod's namespace.

import { openBlockingRt } from '../kernel/blocking-rt.ts';
import { findLink, type Link } from '../kernel/links.ts';
import { openNetns } from '../kernel/netns.ts';
import type { RtSocket } from '../kernel/rtnetlink.ts';
import type { PodEnd } from '../shaping/gso.ts';

/**
 * Calls `use` with a socket in the pod's namespace and the pod's end of a pair, unless that is
 * another one by now.
 */
export async function withPodEnd(
  { sandbox, podInterface, hostInterfaceIndex }: PodEnd,
  use: (rt: RtSocket, link: Link) => Promise<void>,
): Promise<void> {
  const netns = openNetns(sandbox);
  try {
    // For two requests, which the kernel answers at once either way.
    const rt = openBlockingRt(netns);
    try {
      const link = await findLink(rt, { name: podInterface });
      const isPeer = link?.linkIndex === undefined || link.linkIndex === hostInterfaceIndex;
      if (link !== undefined && isPeer) await use(rt, link);
    } finally {
      rt.close();
    }
  } finally {
    netns.close();
  }
}
