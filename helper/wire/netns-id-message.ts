// RTM_GETNSID: struct rtgenmsg of linux/rtnetlink.h and NETNSA_* of linux/net_namespace.h.

import { MessageFormat } from './attributes.ts';
import { Struct } from './struct.ts';

export const RTM_GETNSID = 90;

/** struct rtgenmsg is one byte; attributes begin at the next multiple of four. */
const MESSAGE = new MessageFormat(new Struct('namespace id', { family: 'u8', padding: 3 }), {
  id: [1, 's32'],
  fd: [3, 'u32'],
});
/** NETNSA_NSID_NOT_ASSIGNED. */
const NOT_ASSIGNED = -1;

/** Asks which id the namespace behind a descriptor has. */
export function encodeNetnsIdQuery(netnsFd: number): Buffer {
  return MESSAGE.encode({ fd: netnsFd });
}

/** The id, or undefined when the namespace has none here. Throws WireError. */
export function decodeNetnsId(payload: Buffer): number | undefined {
  const { id } = MESSAGE.decode(payload);
  return id === NOT_ASSIGNED ? undefined : id;
}
