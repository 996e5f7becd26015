// An fq of which nobody has chosen an option, as this kernel makes it.

import { findLink } from './links.ts';
import { listQdiscs, replaceQdisc, TC_H_ROOT } from './qdiscs.ts';
import { withScratchSocket } from './scratch-netns.ts';

/**
 * TCA_OPTIONS of an fq that was told nothing, on the loopback device of a namespace that nobody
 * else sees. Takes some milliseconds. Throws KernelError where the kernel makes none.
 */
export function readUntouchedFq(): Promise<Buffer> {
  return withScratchSocket(async (rt) => {
    const ifindex = (await findLink(rt, { name: 'lo' }))?.index ?? 1;
    await replaceQdisc(rt, { ifindex, parent: TC_H_ROOT, kind: 'fq' });
    const made = (await listQdiscs(rt, ifindex)).find(({ kind }) => kind === 'fq');
    return made?.options ?? Buffer.alloc(0);
  });
}
