// Ids by which one network namespace knows another: what IFLA_LINK_NETNSID of a link means.

import { RTM_GETNSID, decodeNetnsId, encodeNetnsIdQuery } from '../wire/netns-id-message.ts';
import type { NetNamespace } from './netns.ts';
import type { RtSocket } from './rtnetlink.ts';

/** The id that the socket's namespace has given to `netns`, or undefined when it has given none. */
export function netnsIdOf(rt: RtSocket, netns: NetNamespace): Promise<number | undefined> {
  return rt.get(
    {
      operation: `find the id of network namespace "${netns.path}"`,
      type: RTM_GETNSID,
      payload: encodeNetnsIdQuery(netns.fd),
    },
    decodeNetnsId,
  );
}
