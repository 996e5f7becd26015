// What leads out of a pod beside the interface of its attachment: pairs that can share its caps,
// and ways on which nothing can be held. The kernel is asked which there are; of prevResult it is
// taken which of them this list's plugins have made.

import type { Link } from '../../helper/kernel/links.ts';
import type { UnheldInterface } from '../../helper/protocol/messages.ts';
import type { CniResult } from '../types.ts';
import { ELSEWHERE, namedAddressesOf, otherEnd, PAIR_KINDS } from './host-interface.ts';
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

/** By which nothing leaves, or by another interface of the sandbox only. */
const NO_WAYS: ReadonlySet<string | undefined> = new Set([
  'dummy',
  'ifb',
  'nlmon',
  'vrf',
  'netdevsim',
]);

/**
 * Made in one namespace and moved to another they go on sending by the first, or to a process, and
 * the kernel tells of neither.
 */
const UNTRACEABLE: ReadonlySet<string | undefined> = new Set(['tun', 'wireguard', 'openvswitch']);

/**
 * The name that runtimes give to a pod's first interface, before which there is none but loopback.
 */
const FIRST_IFNAME = 'eth0';

/**
 * Whether what an interface sends leaves the sandbox by itself: a network card's own device (no
 * kind), or one that stands on a device of another namespace (macvlan, ipvlan, a VLAN). Tunnels and
 * the like that were made here leave by others of the sandbox; the kernel puts some of them into
 * each new namespace (net.core.fb_tunnels_only_for_init_net).
 */
function leavesByItself({ kind, linkNetnsId }: Link): boolean {
  return kind === undefined || linkNetnsId !== undefined || UNTRACEABLE.has(kind);
}

function unseen({ kind }: Link): string {
  const what = kind === undefined ? 'it is a device of its own' : `it is of kind ${kind}`;
  return `${what}, whose packets do not pass the node's end of a pair`;
}

/**
 * Names of interfaces that a result lists in the sandbox; all where it tells of no sandbox, as
 * Azure CNI does.
 */
function listedIn({ interfaces = [] }: CniResult, netns: string): ReadonlySet<string> {
  const isAnywhere = interfaces.every(({ sandbox }) => sandbox === undefined);
  const own = interfaces.filter(({ sandbox }) => isAnywhere || sandbox === netns);
  return new Set(own.map(({ name }) => name));
}

/** The host's end of a way out, or why nothing can be held there; undefined for what is none. */
async function hostEndOf(session: Session, link: Link): Promise<Link | string | undefined> {
  if (link.loopback || NO_WAYS.has(link.kind)) return undefined;
  if (!PAIR_KINDS.has(link.kind)) return leavesByItself(link) ? unseen(link) : undefined;
  if (link.linkNetnsId === undefined) return undefined;
  return (
    (await otherEnd(session, link)) ?? `the other end of its ${link.kind} pair is ${ELSEWHERE}`
  );
}

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
