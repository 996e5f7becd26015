// An fq of which nobody has chosen an option, as this kernel makes it.

import { findLink } from './links.ts';
import { listQdiscs, replaceQdisc, TC_H_ROOT } from './qdiscs.ts';
import { RtSocket } from './rtnetlink.ts';
import { withScratchNetns } from './scratch-netns.ts';

/**
 * TCA_OPTIONS of an fq that was told nothing, on the loopback device of a namespace that nobody
 * else sees. Takes some milliseconds. Throws KernelError where the kernel makes none.
 */
export function readUntouchedFq(): Promise<Buffer> {
  return withScratchNetns(async (netns) => {
    const rt = RtSocket.open(netns);
    try {
      const ifindex = (await findLink(rt, { name: 'lo' }))?.index ?? 1;
      await replaceQdisc(rt, { ifindex, parent: TC_H_ROOT, kind: 'fq' });
      const made = (await listQdiscs(rt, ifindex)).find(({ kind }) => kind === 'fq');
      return made?.options ?? Buffer.alloc(0);
    } finally {
      rt.close();
    }
  });
}
