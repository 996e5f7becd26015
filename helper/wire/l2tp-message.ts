// Tunnels and sessions of L2TP as generic netlink lists them (linux/l2tp.h), as far as it takes to
// know how long their packets are. Pure.

import { GENLMSGHDR } from './ethtool-message.ts';
import { MessageFormat } from './attributes.ts';

export const L2TP_FAMILY = 'l2tp';

const L2TP_CMD_TUNNEL_GET = 4;
const L2TP_CMD_SESSION_GET = 8;
const L2TP_GENL_VERSION = 1;
const L2TP_ENCAPTYPE_UDP = 0;
const L2TP_PWTYPE_PPP = 7;

const MESSAGE = new MessageFormat(GENLMSGHDR, {
  pseudowire: [1, 'u16'],
  encapsulation: [2, 'u16'],
  protocolVersion: [7, 'u8'],
  ifname: [8, 'string'],
  connectionId: [9, 'u32'],
  cookie: [15, 'bytes'],
  sendsSequence: [19, 'u8'],
  ipv6Destination: [32, 'bytes'],
});

export interface L2tpTunnel {
  readonly id: number;
  readonly version: number;
  readonly isInUdp: boolean;
  readonly isOuterIpv6: boolean;
}

export interface L2tpSession {
  readonly tunnelId: number;
  /** Of its device; absent where it has none of this name. */
  readonly ifname?: string;
  readonly isPpp: boolean;
  readonly cookieBytes: number;
  readonly hasSequence: boolean;
}

/** Asks for all tunnels. */
export function encodeL2tpTunnelQuery(): Buffer {
  return MESSAGE.encode({ command: L2TP_CMD_TUNNEL_GET, version: L2TP_GENL_VERSION });
}

/** Asks for all sessions. */
export function encodeL2tpSessionQuery(): Buffer {
  return MESSAGE.encode({ command: L2TP_CMD_SESSION_GET, version: L2TP_GENL_VERSION });
}

/** Throws WireError. */
export function decodeL2tpTunnel(payload: Buffer): L2tpTunnel {
  const tunnel = MESSAGE.decodeAttributes(payload);
  return {
    id: tunnel.connectionId ?? 0,
    version: tunnel.protocolVersion ?? 3,
    isInUdp: tunnel.encapsulation === L2TP_ENCAPTYPE_UDP,
    isOuterIpv6: tunnel.ipv6Destination !== undefined,
  };
}

/** Throws WireError. */
export function decodeL2tpSession(payload: Buffer): L2tpSession {
  const { ifname = '', ...session } = MESSAGE.decodeAttributes(payload);
  return {
    tunnelId: session.connectionId ?? 0,
    ...(ifname !== '' && { ifname }),
    isPpp: session.pseudowire === L2TP_PWTYPE_PPP,
    cookieBytes: session.cookie?.length ?? 0,
    hasSequence: session.sendsSequence === 1,
  };
}
