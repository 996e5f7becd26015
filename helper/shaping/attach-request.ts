// What an attach asks for: the device that it names, and the record that is to be in force there.

import { findLink, type Link } from '../kernel/links.ts';
import type { RtSocket } from '../kernel/rtnetlink.ts';
import type { AttachParams } from '../protocol/messages.ts';
import { remedies } from '../protocol/remedies.ts';
import { nameOf } from './effective.ts';
import { ShapingError } from './failure.ts';
import type { AttachmentRecord } from './records.ts';

/** The host interface. Throws ShapingError `not-found` when the node has none of that name. */
export async function hostInterfaceOf(rt: RtSocket, { hostInterface }: AttachParams): Promise<Link> {
  const link = await findLink(rt, { name: hostInterface });
  if (link !== undefined) return link;
  const remedy = remedies.nodeNamespace;
  throw new ShapingError('not-found', `No interface "${hostInterface}" on this node`, remedy);
}

/** The record that a request asks for, without aggregates. Throws ShapingError `unenforceable` for what none can be made of. */
export function recordOf(params: AttachParams, link: Link): AttachmentRecord {
  const { containerId, ifname, network, hostInterface, sandbox, caps } = params;
  const { exempt = [], hostRouting, congestionControl } = params;
  const { kind } = link;
  if (hostRouting !== undefined && link.masterIndex !== undefined) {
    throw new ShapingError(
      'unenforceable',
      `Cannot route packets of ${nameOf(params)} past the IP stack: ${hostInterface} is a port of another device`,
      'leave hostRouting out behind a bridge, or use a plugin that routes to its pods',
    );
  }
  return {
    ...{ containerId, ifname, network, hostInterface, sandbox, caps, hostInterfaceIndex: link.index },
    ...((kind === 'veth' || kind === 'netkit') && { kind }),
    ...(exempt.length > 0 && { exempt }),
    ...(hostRouting !== undefined && {
      hostRouting: { ...hostRouting, ...(hostRouting.mac !== undefined && { hostMac: link.mac }) },
    }),
    ...(congestionControl !== undefined && { congestionControl }),
  };
}
