// Finds the host interface of a pod's interface that another plugin made.

import type { Link } from '../../helper/kernel/links.ts';
import { CniError, ErrorCode, type CniResult } from '../types.ts';
import type { Pair } from './pair.ts';
import type { Session } from './session.ts';

/** Pairs of which one end stays on the node. */
const PAIR_KINDS: ReadonlySet<string | undefined> = new Set(['veth', 'netkit']);

/** prevResult must list the interface in a sandbox. Throws CniError 7 in the reference plugin's words. */
export function requireContainerInterface(result: CniResult, ifname: string): void {
  const interfaces = result.interfaces ?? [];
  if (interfaces.length === 0) {
    throw new CniError(
      ErrorCode.invalidConfig,
      'no interfaces provided: prevResult lists none, so there is nothing to cap',
      'chain podpace after a plugin that makes an interface and reports it (bridge, ptp, flannel, calico)',
    );
  }
  if (interfaces.some(({ name, sandbox }) => name === ifname && sandbox !== undefined)) return;
  const found = interfaces
    .map(({ name, sandbox }) => (sandbox === undefined ? `${name} (node)` : name))
    .join(', ');
  throw new CniError(
    ErrorCode.invalidConfig,
    `Cannot find interface "${ifname}" of the pod in prevResult: it lists ${found}`,
    'the plugins before podpace must report the interface of CNI_IFNAME with its sandbox',
  );
}

function noHostInterface(ifname: string, reason: string): CniError {
  return new CniError(
    ErrorCode.noHostInterface,
    `Cannot cap interface "${ifname}": ${reason}`,
    'podpace caps at the node-side end of a veth or netkit pair: chain it after bridge, ptp or another plugin that makes one',
  );
}

/** Addresses of the pod's interface in a result, without prefix lengths. */
export function podAddressesOf({ ips = [], interfaces = [] }: CniResult, ifname: string): string[] {
  const index = interfaces.findIndex(({ name, sandbox }) => name === ifname && sandbox !== undefined);
  return ips
    .filter((ip) => ip.interface === undefined || ip.interface === index)
    .map(({ address }) => address.split('/')[0] ?? '');
}

/**
 * Both ends of the pair of which `ifname` is the pod's end. The kernel is asked, not prevResult: each end must
 * name the other. Throws CniError 103 when the pod has no such interface, 104 when it has no host interface.
 */
export async function findPair(session: Session, ifname: string): Promise<Pair> {
  const { kernel, node, pod, netns } = session;
  const inside = await kernel.findLink(pod, { name: ifname });
  if (inside === undefined) {
    throw new CniError(
      ErrorCode.checkFailed,
      `Cannot find interface "${ifname}": it is not in ${netns.path}`,
      'the plugin before podpace must leave the interface of CNI_IFNAME in the sandbox',
    );
  }
  if (!PAIR_KINDS.has(inside.kind)) {
    throw noHostInterface(ifname, `it is of kind ${inside.kind ?? 'unknown'} and has no host interface`);
  }
  if (inside.linkIndex === undefined || inside.linkNetnsId === undefined) {
    throw noHostInterface(ifname, `both ends of its ${inside.kind} pair are in ${netns.path}`);
  }
  const outside = await kernel.findLink(node, { index: inside.linkIndex });
  const isPeer =
    outside !== undefined && outside.kind === inside.kind && (await leadsTo(session, outside, inside));
  if (isPeer) return { host: outside, pod: inside };
  throw noHostInterface(
    ifname,
    `the other end of its ${inside.kind} pair is not in the node's network namespace`,
  );
}

/** Indexes are unique within a namespace only: two pairs of three namespaces may well have the same ones. */
async function leadsTo({ kernel, node, netns }: Session, outside: Link, inside: Link): Promise<boolean> {
  if (outside.linkIndex !== inside.index || outside.linkNetnsId === undefined) return false;
  return outside.linkNetnsId === (await kernel.netnsIdOf(node, netns));
}
