// What the kernel says of tunnels beside the description of their devices: states of IPsec,
// sessions of L2TP and PPPoE. All in the namespace of the calling thread.

import fs from 'node:fs';
import { Protocol } from 'netlink/dist/constants.js';
import { GENL_ID_CTRL, decodeFamily, encodeFamilyQuery } from '../wire/ethtool-message.ts';
import {
  L2TP_FAMILY,
  decodeL2tpSession,
  decodeL2tpTunnel,
  encodeL2tpSessionQuery,
  encodeL2tpTunnelQuery,
  type L2tpSession,
  type L2tpTunnel,
} from '../wire/l2tp-message.ts';
import { XFRM_MSG_GETSA, decodeXfrmState, type XfrmState } from '../wire/xfrm-message.ts';
import { hasErrno } from '../wire/errors.ts';
import { openRtTransport } from './rt-transport.ts';
import { RtSocket } from './rtnetlink.ts';

async function withSocket<T>(
  protocol: Protocol,
  ask: (socket: RtSocket) => Promise<T>,
): Promise<T> {
  const socket = new RtSocket(openRtTransport(protocol));
  try {
    return await ask(socket);
  } finally {
    socket.close();
  }
}

/**
 * States that make packets of ESP. A kernel without IPsec over netlink has none to list. Rejects
 * with KernelError.
 */
export async function listXfrmStates(): Promise<XfrmState[]> {
  const request = { operation: 'list xfrm states', type: XFRM_MSG_GETSA, payload: Buffer.alloc(0) };
  try {
    return await withSocket(Protocol.XFRM, (socket) => socket.dump(request, decodeXfrmState));
  } catch (error) {
    if (hasErrno(error, 'EPROTONOSUPPORT')) return [];
    throw error;
  }
}

/**
 * All of L2TP. A kernel that has none of it, or has not loaded it, has nothing to list. Rejects
 * with KernelError.
 */
export async function listL2tp(): Promise<{
  readonly tunnels: L2tpTunnel[];
  readonly sessions: L2tpSession[];
}> {
  try {
    return await withSocket(Protocol.GENERIC, async (socket) => {
      const family = {
        operation: 'find L2TP',
        type: GENL_ID_CTRL,
        payload: encodeFamilyQuery(L2TP_FAMILY),
      };
      const { id: type } = await socket.get(family, decodeFamily);
      const ofTunnels = { operation: 'list L2TP tunnels', type, payload: encodeL2tpTunnelQuery() };
      const tunnels = await socket.dump(ofTunnels, decodeL2tpTunnel);
      const ofSessions = {
        operation: 'list L2TP sessions',
        type,
        payload: encodeL2tpSessionQuery(),
      };
      return { tunnels, sessions: await socket.dump(ofSessions, decodeL2tpSession) };
    });
  } catch (error) {
    if (hasErrno(error, 'ENOENT', 'ENOTSUP')) return { tunnels: [], sessions: [] };
    throw error;
  }
}

/**
 * Names of the devices that sessions of PPPoE are on: a line of this file is the session's number,
 * the other end's hardware address and the device (net/pppox of the kernel,
 * drivers/net/ppp/pppoe.c); the first line is a title.
 */
export function pppoeDevices(): string[] {
  try {
    const lines = fs.readFileSync('/proc/thread-self/net/pppoe', 'utf8').split('\n').slice(1);
    return lines.flatMap((line) => line.trim().split(/\s+/)[2] ?? []);
  } catch (error) {
    if (hasErrno(error, 'ENOENT')) return [];
    throw error;
  }
}
