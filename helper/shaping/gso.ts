// Segment offload of the pod's own interface: what keeps a low cap smooth. Best effort: a pod's cap holds without.

import { changeLink, findLink } from '../kernel/links.ts';
import { openNetns } from '../kernel/netns.ts';
import { RtSocket } from '../kernel/rtnetlink.ts';
import { gsoLimitOf, UNLIMITED_GSO } from './rates.ts';
import type { AttachmentRecord } from './records.ts';

/** Limits the GSO size of a pod's interface to a short train at its egress cap; without one it is unlimited. */
export async function limitGso(
  record: AttachmentRecord,
  rateBitsPerSec: number | undefined,
  mtuBytes: number,
  log: (level: 'warn', message: string) => void,
): Promise<void> {
  const limit = rateBitsPerSec === undefined ? UNLIMITED_GSO : gsoLimitOf(rateBitsPerSec, mtuBytes);
  try {
    const netns = openNetns(record.sandbox);
    try {
      const rt = RtSocket.open(netns);
      try {
        const link = await findLink(rt, { name: record.ifname });
        if (link !== undefined) await changeLink(rt, link.index, limit);
      } finally {
        rt.close();
      }
    } finally {
      netns.close();
    }
  } catch (error) {
    const reason = (error as Error).message;
    log(
      'warn',
      `Cannot limit segment offload of ${record.ifname} in ${record.sandbox}: ${reason}; the cap holds, in larger steps`,
    );
  }
}
