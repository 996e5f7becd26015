// Opens sockets for requests by the netlink package.

import { Protocol } from 'netlink/dist/constants.js';
import { NetlinkSocket } from './netlink-socket.ts';
import { inNetns, type NetNamespace } from './netns.ts';
import { DATAGRAM_BYTES, RT_OPTIONS, SOL_NETLINK, type RtTransport } from './rt-transport.ts';
import { RtSocket } from './rtnetlink.ts';

function openTransport(protocol: Protocol): RtTransport {
  const socket = new NetlinkSocket(protocol, DATAGRAM_BYTES);
  try {
    for (const option of Object.values(RT_OPTIONS)) socket.setOption(SOL_NETLINK, option, 1);
  } catch (error) {
    socket.close();
    throw error;
  }
  return socket;
}

/**
 * A socket in the namespace of the calling thread: NETLINK_ROUTE, or of another protocol with such
 * requests.
 */
export function openRtHere(protocol: Protocol = Protocol.ROUTE): RtSocket {
  return new RtSocket(openTransport(protocol));
}

/** A NETLINK_ROUTE socket in `netns`, or in the namespace of the calling thread. */
export function openRt(netns?: NetNamespace): RtSocket {
  return netns === undefined ? openRtHere() : inNetns(netns, () => openRtHere());
}
