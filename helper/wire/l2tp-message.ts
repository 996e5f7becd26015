// Tunnels and sessions of L2TP as generic netlink lists them (linux/l2tp.h), as far as it takes to
// know how long their packets are. Pure.

import { Attributes, requireLength } from './attributes.ts';

export const L2TP_FAMILY = 'l2tp';

/** struct genlmsghdr: command, version, two bytes reserved. */
const GENLMSGHDR_BYTES = 4;
const L2TP_CMD_TUNNEL_GET = 4;
const L2TP_CMD_SESSION_GET = 8;
const L2TP_GENL_VERSION = 1;

const L2TP_ATTR_PW_TYPE = 1;
const L2TP_ATTR_ENCAP_TYPE = 2;
const L2TP_ATTR_PROTO_VERSION = 7;
const L2TP_ATTR_IFNAME = 8;
const L2TP_ATTR_CONN_ID = 9;
const L2TP_ATTR_COOKIE = 15;
const L2TP_ATTR_SEND_SEQ = 19;
const L2TP_ATTR_IP6_DADDR = 32;
const L2TP_ENCAPTYPE_UDP = 0;
const L2TP_PWTYPE_PPP = 7;

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
  return Buffer.from([L2TP_CMD_TUNNEL_GET, L2TP_GENL_VERSION, 0, 0]);
}

/** Asks for all sessions. */
export function encodeL2tpSessionQuery(): Buffer {
  return Buffer.from([L2TP_CMD_SESSION_GET, L2TP_GENL_VERSION, 0, 0]);
}

function attributesOf(payload: Buffer): Attributes {
  requireLength('L2TP message', payload, GENLMSGHDR_BYTES);
  return Attributes.decode(payload.subarray(GENLMSGHDR_BYTES));
}

/** Throws WireError. */
export function decodeL2tpTunnel(payload: Buffer): L2tpTunnel {
  const attributes = attributesOf(payload);
  return {
    id: attributes.u32(L2TP_ATTR_CONN_ID) ?? 0,
    version: attributes.u8(L2TP_ATTR_PROTO_VERSION) ?? 3,
    isInUdp: attributes.u16(L2TP_ATTR_ENCAP_TYPE) === L2TP_ENCAPTYPE_UDP,
    isOuterIpv6: attributes.bytes(L2TP_ATTR_IP6_DADDR) !== undefined,
  };
}

/** Throws WireError. */
export function decodeL2tpSession(payload: Buffer): L2tpSession {
  const attributes = attributesOf(payload);
  const ifname = attributes.string(L2TP_ATTR_IFNAME);
  return {
    tunnelId: attributes.u32(L2TP_ATTR_CONN_ID) ?? 0,
    ...(ifname !== undefined && ifname !== '' && { ifname }),
    isPpp: attributes.u16(L2TP_ATTR_PW_TYPE) === L2TP_PWTYPE_PPP,
    cookieBytes: attributes.bytes(L2TP_ATTR_COOKIE)?.length ?? 0,
    hasSequence: attributes.u8(L2TP_ATTR_SEND_SEQ) === 1,
  };
}
