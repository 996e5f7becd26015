// Finds the host interface of a pod's interface that another plugin made. The kernel is asked; of
// prevResult, in which plugins list what they please (test/netns/scale/prev-results.test.ts), only
// the addresses are taken.

import { findPodPair } from '../../helper/kernel/pod-pairs.ts';
import { noPair } from '../../helper/protocol/no-pair.ts';
import type { CniInterface, CniResult } from '../result.ts';
import { CniError, ErrorCode } from '../types.ts';
import type { Pair } from './pair.ts';
import type { Session } from './session.ts';

/** The pod's end of a pair as a runtime and a result name it. */
interface PodEnd {
  readonly ifname: string;
  /** Path of the sandbox. */
  readonly netns: string;
  /** Name of the host interface. */
  readonly hostInterface: string;
}

/**
 * The entries that are the pod's end: of its name, in this sandbox if there are such, else in any,
 * else without one.
 */
function entriesOf(
  interfaces: readonly CniInterface[],
  { ifname, netns }: PodEnd,
): readonly CniInterface[] {
  const named = interfaces.filter(({ name }) => name === ifname);
  const inSandbox = named.filter(({ sandbox }) => sandbox !== undefined);
  const here = inSandbox.filter(({ sandbox }) => sandbox === netns);
  return [here, inSandbox, named].find((entries) => entries.length > 0) ?? [];
}

/**
 * Addresses of the pod's interface in a result, without prefix lengths: those that name no
 * interface, and those whose index leads to the pod's end, or to the host interface listed with a
 * sandbox, as Calico does. Those of other interfaces of the pod are left out.
 */
export function podAddressesOf(result: CniResult, end: PodEnd): string[] {
  return addressesIn(result, end, true);
}

/**
 * Of these, only those whose index leads to the interface: what is said of a second interface of
 * the pod.
 */
export function namedAddressesOf(result: CniResult, end: PodEnd): string[] {
  return addressesIn(result, end, false);
}

function addressesIn(
  { ips = [], interfaces = [] }: CniResult,
  end: PodEnd,
  isFirst: boolean,
): string[] {
  const own = entriesOf(interfaces, end);
  const isOwn = (entry: CniInterface | undefined): boolean =>
    entry !== undefined &&
    (own.includes(entry) || (entry.name === end.hostInterface && entry.sandbox !== undefined));
  return ips
    .filter((ip) => (ip.interface === undefined ? isFirst : isOwn(interfaces[ip.interface])))
    .map(({ address }) => address.split('/')[0] ?? '');
}

/**
 * Both ends of the pair of which `ifname` is the pod's end. The kernel is asked, not prevResult:
 * each end must name the other. Throws CniError 103 when the pod has no such interface, 104 when it
 * has no host interface.
 */
export async function findPair(session: Session, ifname: string): Promise<Pair> {
  const pair = await findPodPair(session, ifname);
  if (pair === undefined) {
    throw new CniError(
      ErrorCode.checkFailed,
      `Cannot find interface "${ifname}": it is not in ${session.netns.path}`,
      'the plugin before podpace must leave the interface of CNI_IFNAME in the sandbox',
    );
  }
  if (typeof pair !== 'string') return pair;
  const { message, remedy } = noPair(ifname, pair);
  throw new CniError(ErrorCode.noHostInterface, message, remedy);
}
