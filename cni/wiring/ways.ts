// What leads out of a pod beside the interface of its attachment: pairs that can share its caps,
// and ways on which nothing can be held. The kernel is asked which there are; of prevResult it is
// taken which of them this list's plugins have made.

import { hostEndOf } from '../../helper/kernel/pod-pairs.ts';
import type { UnheldInterface } from '../../helper/protocol/messages.ts';
import { listedIn, type CniResult } from '../result.ts';
import { namedAddressesOf } from './host-interface.ts';
import type { Pair } from './pair.ts';
import type { Session } from './session.ts';

/** A pair with those addresses of the pod's end that a result names for it. */
interface OtherPair extends Pair {
  readonly addresses: readonly string[];
}

export interface OtherWays {
  readonly pairs: readonly OtherPair[];
  readonly unheld: readonly UnheldInterface[];
}

export const NO_OTHERS: OtherWays = { pairs: [], unheld: [] };

/**
 * The name that runtimes give to a pod's first interface, before which there is none but loopback.
 */
const FIRST_IFNAME = 'eth0';

/**
 * The other ways out of a pod. `add`: those that the list's plugins have made. They need not be
 * listed, but where the attachment is the pod's first, nobody else can have made them; of another
 * attachment (Multus) only what is listed is taken. `check`: only what is listed, since other lists
 * may have made interfaces meanwhile.
 */
export async function findOtherWays(
  session: Session,
  ifname: string,
  result: CniResult,
  command: 'add' | 'check',
): Promise<OtherWays> {
  const { kernel, pod, netns } = session;
  const listed = listedIn(result, netns.path);
  const isFirst = command === 'add' && ifname === FIRST_IFNAME;
  const pairs: OtherPair[] = [];
  const unheld: UnheldInterface[] = [];
  for (const link of await kernel.listLinks(pod)) {
    const { name } = link;
    if (name === ifname || !(isFirst || listed.has(name))) continue;
    const end = await hostEndOf(session, link);
    if (end === undefined) continue;
    if (typeof end === 'string') {
      unheld.push({ podInterface: name, reason: end });
      continue;
    }
    const own = { ifname: name, netns: netns.path, hostInterface: end.name };
    pairs.push({ host: end, pod: link, addresses: namedAddressesOf(result, own) });
  }
  return { pairs, unheld };
}
