// Segment offload of the pod's own interface: what keeps a low cap smooth. Best effort: a pod's cap holds without.

import { changeLink, findLink } from '../kernel/links.ts';
import { openNetns } from '../kernel/netns.ts';
import { RtSocket } from '../kernel/rtnetlink.ts';
import { gsoLimitOf } from './rates.ts';
import type { AttachmentRecord } from './records.ts';

/** Limits the GSO size of a pod's interface to about 1 ms of its egress cap. */
export async function limitGso(
  record: AttachmentRecord,
  mtuBytes: number,
  log: (level: 'warn', message: string) => void,
): Promise<void> {
  const { egress } = record.caps;
  if (egress === undefined) return;
  try {
    const netns = openNetns(record.sandbox);
    try {
      const rt = RtSocket.open(netns);
      try {
        const link = await findLink(rt, { name: record.ifname });
        if (link !== undefined) await changeLink(rt, link.index, gsoLimitOf(egress.rateBitsPerSec, mtuBytes));
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
