// What an attach asks for: the device that it names, and the record that is to be in force there.

import { findLink, type Link } from '../kernel/links.ts';
import type { RtSocket } from '../kernel/rtnetlink.ts';
import type { AttachParams, HostRouting } from '../protocol/messages.ts';
import { networkSays } from '../protocol/network-keys.ts';
import { remedies } from '../protocol/remedies.ts';
import { nameOf, podNamesOf, podOf } from '../protocol/pod-names.ts';
import { ShapingError } from '../shaping/failure.ts';
import type { AttachmentRecord, HostInterfaceRecord, RoutedRecord } from '../shaping/records.ts';

/** The host interface. Throws ShapingError `not-found` when the node has none of that name. */
export async function hostInterfaceOf(
  rt: RtSocket,
  { hostInterface }: AttachParams,
): Promise<Link> {
  const link = await findLink(rt, { name: hostInterface });
  if (link !== undefined) return link;
  const remedy = remedies.nodeNamespace;
  throw new ShapingError('not-found', `No interface "${hostInterface}" on this node`, remedy);
}

/**
 * The pairs beside the one of `host` that a request names: those that are there, and of no other
 * attachment. One without a hardware address that packets could have, a port of a bridge, has its
 * packets pass the stack.
 */
export async function pairsBesideOf(
  rt: RtSocket,
  { beside = [] }: AttachParams,
  host: Link,
  taken: ReadonlySet<number>,
): Promise<HostInterfaceRecord[]> {
  const found = new Map<number, HostInterfaceRecord>();
  for (const { podInterface, hostInterfaceIndex, hostRouting } of beside) {
    if (hostInterfaceIndex === host.index || taken.has(hostInterfaceIndex)) continue;
    const link = await findLink(rt, { index: hostInterfaceIndex });
    if (link === undefined) continue;
    found.set(hostInterfaceIndex, {
      ...{ podInterface, hostInterface: link.name, hostInterfaceIndex, ...kindOf(link) },
      ...(hostRouting !== undefined &&
        link.masterIndex === undefined && { hostRouting: routed(hostRouting, link) }),
    });
  }
  return [...found.values()];
}

function kindOf({ kind }: Link): Pick<HostInterfaceRecord, 'kind'> {
  return kind === 'veth' || kind === 'netkit' ? { kind } : {};
}

function routed(hostRouting: HostRouting, { mac }: Link): RoutedRecord {
  return { ...hostRouting, ...(hostRouting.mac !== undefined && { hostMac: mac }) };
}

/**
 * The record that a request asks for, without aggregates; `addedAt` is kept where the pod has a
 * name. Throws ShapingError `unenforceable` for what none can be made of.
 */
export function recordOf(
  params: AttachParams,
  link: Link,
  beside: readonly HostInterfaceRecord[],
  addedAt: string,
): AttachmentRecord {
  const { containerId, ifname, network, hostInterface, sandbox, caps } = params;
  const { hostRouting, unheld = [] } = params;
  if (hostRouting !== undefined && link.masterIndex !== undefined) {
    throw new ShapingError(
      'unenforceable',
      `Cannot route packets of ${nameOf(params)} past the IP stack: ${hostInterface} is a port of another device`,
      'leave hostRouting out behind a bridge, or use a plugin that routes to its pods',
    );
  }
  return {
    ...{
      containerId,
      ifname,
      network,
      hostInterface,
      sandbox,
      caps,
      hostInterfaceIndex: link.index,
    },
    ...kindOf(link),
    ...networkSays(params),
    ...(hostRouting !== undefined && { hostRouting: routed(hostRouting, link) }),
    ...(beside.length > 0 && { beside }),
    ...(unheld.length > 0 && { unheld }),
    ...podNamesOf(params),
    ...(podOf(params) !== undefined && { addedAt }),
  };
}
