// The map entries of host routing: keys and values of routed_pods and pod_addresses of
// bpf/routing.h, byte for byte.

import { asIpv6, encodeAddress, encodeMac } from './ip-address.ts';

/** Bytes of a key and a value of the map routed_pods. */
export const ROUTED_POD_KEY_SIZE = 4;
export const ROUTED_POD_SIZE = 20;
/** Bytes of a key and a value of the map pod_addresses. */
export const POD_ADDRESS_KEY_SIZE = 16;
export const POD_ADDRESS_SIZE = 20;

const IPV4_BYTES = 4;
const MAC_BYTES = 6;

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
  const value = Buffer.alloc(ROUTED_POD_SIZE);
  const encoded = addresses.map(encodeAddress);
  encoded.find(({ length }) => length === IPV4_BYTES)?.copy(value, 0);
  encoded.find(({ length }) => length !== IPV4_BYTES)?.copy(value, IPV4_BYTES);
  return value;
}

/** Key of pod_addresses: an IPv4 address in its IPv6 form. Throws for what is no address. */
export function encodePodAddressKey(address: string): Buffer {
  return asIpv6(encodeAddress(address));
}

/** Value of pod_addresses. */
export function encodePodAddress({ ifindex, isShaped, macs }: PodAddress): Buffer {
  const value = Buffer.alloc(POD_ADDRESS_SIZE);
  value.writeUInt32LE(ifindex, 0);
  value.writeUInt32LE(Number(isShaped), 4);
  for (const [index, mac] of (macs ?? []).entries())
    encodeMac(mac).copy(value, 8 + index * MAC_BYTES);
  return value;
}

/** The host interface in a value of pod_addresses. */
export function interfaceOfPodAddress(value: Buffer): number {
  return value.readUInt32LE(0);
}
