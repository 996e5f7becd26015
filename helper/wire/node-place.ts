// The value of the map node_place, byte for byte struct node_place of bpf/node.h: how the datapath
// tells a socket of the node from one of a pod.

/** Bytes of a value; zeros stand for a node that is not known. */
export const NODE_PLACE_SIZE = 16;

export interface NodePlace {
  /** Of the node's network namespace. */
  readonly netnsCookie: bigint;
  /** Where the namespace stands in a socket, in this kernel. */
  readonly netnsOffset: number;
  /** And the cookie in a namespace. */
  readonly cookieOffset: number;
}

export function encodeNodePlace({ netnsCookie, netnsOffset, cookieOffset }: NodePlace): Buffer {
  const value = Buffer.alloc(NODE_PLACE_SIZE);
  value.writeBigUInt64LE(netnsCookie, 0);
  value.writeUInt32LE(netnsOffset, 8);
  value.writeUInt32LE(cookieOffset, 12);
  return value;
}
