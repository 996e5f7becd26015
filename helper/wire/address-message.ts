// RTM_NEWADDR and its relatives: struct ifaddrmsg and IFA_* of linux/if_addr.h.

import { Attributes, encodePayload, requireLength } from './attributes.ts';
import { addressFamily, decodeAddress, encodeAddress } from './ip-address.ts';

export const RTM_NEWADDR = 20;
export const RTM_DELADDR = 21;
export const RTM_GETADDR = 22;

const IFADDRMSG_BYTES = 8;
const IFA_ADDRESS = 1;
const IFA_LOCAL = 2;
const IFA_FLAGS = 8;
const IFA_F_NODAD = 0x02;
const IFA_F_NOPREFIXROUTE = 0x200;

/** An address of an interface. */
export interface InterfaceAddress {
  readonly ifindex: number;
  readonly address: string;
  readonly prefixLength: number;
}

/** An address to add. */
export interface NewAddress extends InterfaceAddress {
  /** Leave the route to the prefix out. */
  readonly noPrefixRoute?: boolean;
  /** IPv6: usable at once, without duplicate address detection. */
  readonly noDad?: boolean;
  /** RT_SCOPE_* of linux/rtnetlink.h; 0, the default, is global, 253 this link only. */
  readonly scope?: number;
}

/** Decodes the payload of RTM_NEWADDR. Throws WireError. */
export function decodeInterfaceAddress(payload: Buffer): InterfaceAddress {
  requireLength('address', payload, IFADDRMSG_BYTES);
  const attributes = Attributes.decode(payload.subarray(IFADDRMSG_BYTES));
  // IFA_ADDRESS is the far end of a point-to-point address; IFA_LOCAL, where present, is always our
  // own.
  const bytes = attributes.bytes(IFA_LOCAL) ?? attributes.bytes(IFA_ADDRESS) ?? Buffer.alloc(0);
  return {
    ifindex: payload.readUInt32LE(4),
    address: decodeAddress(bytes),
    prefixLength: payload.readUInt8(1),
  };
}

/** Asks for the addresses of one interface, or of all when `ifindex` is zero. */
export function encodeAddressQuery(ifindex: number): Buffer {
  const header = Buffer.alloc(IFADDRMSG_BYTES);
  header.writeUInt32LE(ifindex, 4);
  return header;
}

/** Adds or deletes an address. Throws RangeError when `address` is none. */
export function encodeInterfaceAddress(address: NewAddress): Buffer {
  const flags =
    (address.noDad === true ? IFA_F_NODAD : 0) |
    (address.noPrefixRoute === true ? IFA_F_NOPREFIXROUTE : 0);
  const bytes = encodeAddress(address.address);
  const header = Buffer.alloc(IFADDRMSG_BYTES);
  header.writeUInt8(addressFamily(address.address), 0);
  header.writeUInt8(address.prefixLength, 1);
  header.writeUInt8(address.scope ?? 0, 3);
  header.writeUInt32LE(address.ifindex, 4);
  return encodePayload(header, (attributes) => {
    attributes.bytes(IFA_LOCAL, bytes);
    attributes.bytes(IFA_ADDRESS, bytes);
    attributes.u32(IFA_FLAGS, flags === 0 ? undefined : flags);
  });
}
