// The map entries of host routing: keys and values of routed_pods and pod_addresses of
// bpf/routing.h, byte for byte.

import { asIpv6, encodeAddress, encodeMac } from './ip-address.ts';
import { Struct } from './struct.ts';

const ROUTED_POD = new Struct('routed pod', { ipv4: 4, ipv6: 16 });
const ADDRESS = new Struct('pod address', { ifindex: 'u32', isShaped: 'u32', pod: 6, host: 6 });

/** Bytes of a key and a value of the map routed_pods. */
export const ROUTED_POD_KEY_SIZE = 4;
export const ROUTED_POD_SIZE = ROUTED_POD.size;
/** Bytes of a key and a value of the map pod_addresses. */
export const POD_ADDRESS_KEY_SIZE = 16;
export const POD_ADDRESS_SIZE = ADDRESS.size;

/** Where packets to an address of a pod go. */
export interface PodAddress {
  /** Of the host interface. */
  readonly ifindex: number;
  /** Whether they have to wait there for a cap. */
  readonly isShaped: boolean;
  /**
   * Hardware addresses of the pod's end and of the host interface; absent for a device of layer 3.
   */
  readonly macs?: readonly [pod: string, host: string];
}

/**
 * Value of routed_pods: what a pod may send from, one address of each family. Throws for what is no
 * address.
 */
export function encodeRoutedPod(addresses: readonly string[]): Buffer {
  const encoded = addresses.map(encodeAddress);
  const ipv4 = encoded.find(({ length }) => length === 4);
  return ROUTED_POD.encode({ ipv4, ipv6: encoded.find(({ length }) => length !== 4) });
}

/** Key of pod_addresses: an IPv4 address in its IPv6 form. Throws for what is no address. */
export function encodePodAddressKey(address: string): Buffer {
  return asIpv6(encodeAddress(address));
}

/** Value of pod_addresses. */
export function encodePodAddress({ ifindex, isShaped, macs }: PodAddress): Buffer {
  const [pod, host] = (macs ?? []).map(encodeMac);
  return ADDRESS.encode({ ifindex, isShaped: Number(isShaped), pod, host });
}

/** The host interface in a value of pod_addresses. */
export function interfaceOfPodAddress(value: Buffer): number {
  return ADDRESS.decode(value).ifindex;
}
