// RTM_NEWADDR and its relatives: struct ifaddrmsg and IFA_* of linux/if_addr.h.

import { MessageFormat, WireError } from './attributes.ts';
import { ADDRESS, addressFamily } from './ip-address.ts';
import { Struct } from './struct.ts';

export const RTM_NEWADDR = 20;
export const RTM_GETADDR = 22;

const MESSAGE = new MessageFormat(
  new Struct('address', {
    ...{ family: 'u8', prefixLength: 'u8', flags: 'u8', scope: 'u8', ifindex: 'u32' },
  }),
  { local: [2, ADDRESS], address: [1, ADDRESS], longFlags: [8, 'u32'] },
);
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
  const { ifindex, prefixLength, ...own } = MESSAGE.decode(payload);
  // IFA_ADDRESS is the far end of a point-to-point address; IFA_LOCAL, where present, is always our
  // own.
  const address = own.local ?? own.address;
  if (address === undefined) throw new WireError('Cannot decode address: there is none in it');
  return { ifindex, address, prefixLength };
}

/** Asks for the addresses of one interface, or of all when `ifindex` is zero. */
export function encodeAddressQuery(ifindex: number): Buffer {
  return MESSAGE.encode({ ifindex });
}

/** Adds or deletes an address. Throws RangeError when `address` is none. */
export function encodeInterfaceAddress(own: NewAddress): Buffer {
  const { ifindex, address, prefixLength, scope } = own;
  const longFlags =
    (own.noDad === true ? IFA_F_NODAD : 0) | (own.noPrefixRoute === true ? IFA_F_NOPREFIXROUTE : 0);
  return MESSAGE.encode({
    ...{ family: addressFamily(address), prefixLength, scope, ifindex },
    ...{ local: address, address, longFlags: longFlags === 0 ? undefined : longFlags },
  });
}
