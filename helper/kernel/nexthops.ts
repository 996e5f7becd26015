// Nexthop objects: what routes lead to that name no device themselves.

import {
  RTM_GETNEXTHOP,
  decodeNexthop,
  encodeNexthopQuery,
  type Nexthop,
} from '../wire/nexthop-message.ts';
import type { RtSocket } from './rtnetlink.ts';

/** All nexthop objects of the socket's namespace, groups included. */
export function listNexthops(rt: RtSocket): Promise<Nexthop[]> {
  const request = {
    operation: 'list nexthop objects',
    type: RTM_GETNEXTHOP,
    payload: encodeNexthopQuery(),
  };
  return rt.dump(request, decodeNexthop);
}
