// The wire between node and peer: a veth pair with several queues, addresses and default routes at
// both ends.

import { addAddress } from '../../helper/kernel/addresses.ts';
import { changeLink, createVethPair, findLink } from '../../helper/kernel/links.ts';
import { inNetns, openNetns } from '../../helper/kernel/netns.ts';
import type { NetNamespace } from '../../helper/kernel/netns.ts';
import { addRoute, RT_TABLE_MAIN } from '../../helper/kernel/routes.ts';
import { openRt } from '../../helper/kernel/open-rt.ts';
import type { RtSocket } from '../../helper/kernel/rtnetlink.ts';
import { writeSysctl } from '../../helper/kernel/sysctl.ts';

/** The uplink's name on both sides. */
export const UPLINK = 'uplink';

/** As on a small cloud machine; more than one makes podpace use `mq`. */
export const UPLINK_QUEUES = 4;

/** Addresses of the two ends, of TEST-NET-2 (RFC 5737). */
export const NODE_ADDRESS = '198.51.100.1';
export const PEER_ADDRESS = '198.51.100.2';

/** Gives an end its address and sends everything that is not its own network's to the other end. */
async function configureEnd(rt: RtSocket, address: string, gateway: string): Promise<void> {
  for (const name of ['lo', UPLINK]) {
    const link = await findLink(rt, { name });
    if (link === undefined)
      throw new Error(`Cannot make the uplink: the new namespace has no device "${name}"`);
    if (name === UPLINK) await addAddress(rt, { ifindex: link.index, address, prefixLength: 24 });
    await changeLink(rt, link.index, { up: true });
  }
  await addRoute(rt, { destination: '0.0.0.0/0', gateway, table: RT_TABLE_MAIN });
}

async function withSocket<T>(netns: NetNamespace, use: (rt: RtSocket) => Promise<T>): Promise<T> {
  const rt = openRt(netns);
  try {
    return await use(rt);
  } finally {
    rt.close();
  }
}

/**
 * Joins the namespaces at two paths by an uplink; the node's forwards packets afterwards, as every
 * node does. The namespaces take it with them when they go. Throws KernelError.
 */
export async function joinByUplink(nodePath: string, peerPath: string): Promise<void> {
  const node = openNetns(nodePath);
  const peer = openNetns(peerPath);
  try {
    await withSocket(node, async (rt) => {
      const pair = { name: UPLINK, mtu: 1500, numTxQueues: UPLINK_QUEUES };
      await createVethPair(rt, { ...pair, peer: { name: UPLINK, netns: peer } });
      await withSocket(peer, (peerRt) => configureEnd(peerRt, PEER_ADDRESS, NODE_ADDRESS));
      await configureEnd(rt, NODE_ADDRESS, PEER_ADDRESS);
    });
    inNetns(node, () => writeSysctl('net/ipv4/ip_forward', '1'));
  } finally {
    node.close();
    peer.close();
  }
}
