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
import { unlessErrno, unlessRefused } from '../wire/errors.ts';
import { openRtHere } from './open-rt.ts';
import type { RtSocket } from './rtnetlink.ts';

async function withSocket<T>(
  protocol: Protocol,
  ask: (socket: RtSocket) => Promise<T>,
): Promise<T> {
  const socket = openRtHere(protocol);
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
export function listXfrmStates(): Promise<XfrmState[]> {
  const request = { operation: 'list xfrm states', type: XFRM_MSG_GETSA, payload: Buffer.alloc(0) };
  const states = withSocket(Protocol.XFRM, (socket) => socket.dump(request, decodeXfrmState));
  return unlessRefused(['EPROTONOSUPPORT'], states, []);
}

/**
 * All of L2TP. A kernel that has none of it, or has not loaded it, has nothing to list. Rejects
 * with KernelError.
 */
export function listL2tp(): Promise<{
  readonly tunnels: L2tpTunnel[];
  readonly sessions: L2tpSession[];
}> {
  const family = { type: GENL_ID_CTRL, payload: encodeFamilyQuery(L2TP_FAMILY) };
  const all = withSocket(Protocol.GENERIC, async (socket) => {
    const { id: type } = await socket.get({ operation: 'find L2TP', ...family }, decodeFamily);
    const ofTunnels = { operation: 'list L2TP tunnels', type, payload: encodeL2tpTunnelQuery() };
    const ofSessions = { operation: 'list L2TP sessions', type, payload: encodeL2tpSessionQuery() };
    const tunnels = await socket.dump(ofTunnels, decodeL2tpTunnel);
    return { tunnels, sessions: await socket.dump(ofSessions, decodeL2tpSession) };
  });
  return unlessRefused(['ENOENT', 'ENOTSUP'], all, { tunnels: [], sessions: [] });
}

/**
 * Names of the devices that sessions of PPPoE are on: a line of this file is the session's number,
 * the other end's hardware address and the device (net/pppox of the kernel,
 * drivers/net/ppp/pppoe.c); the first line is a title.
 */
export function pppoeDevices(): string[] {
  const text = unlessErrno(['ENOENT'], () =>
    fs.readFileSync('/proc/thread-self/net/pppoe', 'utf8'),
  );
  const lines = text?.split('\n').slice(1) ?? [];
  return lines.flatMap((line) => line.trim().split(/\s+/)[2] ?? []);
}
