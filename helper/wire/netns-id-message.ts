// RTM_GETNSID: struct rtgenmsg of linux/rtnetlink.h and NETNSA_* of linux/net_namespace.h.

import { Attributes, encodePayload, requireLength } from './attributes.ts';

export const RTM_GETNSID = 90;

/** struct rtgenmsg is one byte; attributes begin at the next multiple of four. */
const RTGENMSG_BYTES = 4;
const NETNSA_NSID = 1;
const NETNSA_FD = 3;
/** NETNSA_NSID_NOT_ASSIGNED. */
const NOT_ASSIGNED = -1;

/** Asks which id the namespace behind a descriptor has. */
export function encodeNetnsIdQuery(netnsFd: number): Buffer {
  return encodePayload(Buffer.alloc(RTGENMSG_BYTES), (attributes) =>
    attributes.u32(NETNSA_FD, netnsFd),
  );
}

/** The id, or undefined when the namespace has none here. Throws WireError. */
export function decodeNetnsId(payload: Buffer): number | undefined {
  requireLength('namespace id', payload, RTGENMSG_BYTES);
  const id = Attributes.decode(payload.subarray(RTGENMSG_BYTES)).s32(NETNSA_NSID);
  return id === NOT_ASSIGNED ? undefined : id;
}
