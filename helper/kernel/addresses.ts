// Addresses of interfaces.

import { FlagsNew } from 'netlink/dist/constants.js';
import {
  RTM_GETADDR,
  RTM_NEWADDR,
  decodeInterfaceAddress,
  encodeAddressQuery,
  encodeInterfaceAddress,
} from '../wire/address-message.ts';
import type { InterfaceAddress, NewAddress } from '../wire/address-message.ts';
import type { RtSocket } from './rtnetlink.ts';

export type { InterfaceAddress, NewAddress } from '../wire/address-message.ts';

/**
 * Addresses of both families, of one interface or of all. Rejects with KernelError ENODEV when it
 * is gone.
 */
export async function listAddresses(rt: RtSocket, ifindex?: number): Promise<InterfaceAddress[]> {
  const operation =
    ifindex === undefined ? 'list addresses' : `list addresses of interface ${ifindex}`;
  const payload = encodeAddressQuery(ifindex ?? 0);
  const addresses = await rt.dump(
    { operation, type: RTM_GETADDR, payload },
    decodeInterfaceAddress,
  );
  // A kernel before 4.20 lists those of every interface.
  return addresses.filter((address) => ifindex === undefined || address.ifindex === ifindex);
}

/** Rejects with KernelError EEXIST when the interface has the address. */
export function addAddress(rt: RtSocket, address: NewAddress): Promise<void> {
  return rt.execute({
    operation: `add address ${describe(address)}`,
    type: RTM_NEWADDR,
    flags: FlagsNew.CREATE | FlagsNew.EXCL,
    payload: encodeInterfaceAddress(address),
  });
}

function describe({ ifindex, address, prefixLength }: InterfaceAddress): string {
  return `${address}/${prefixLength} of interface ${ifindex}`;
}
