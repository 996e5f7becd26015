// The value of the map node_place, byte for byte struct node_place of bpf/node.h: how the datapath
// tells a socket of the node from one of a pod.

import { Struct, type SizedCodec } from './struct.ts';

export interface NodePlace {
  /** Of the node's network namespace. */
  readonly netnsCookie: bigint;
  /** Where the namespace stands in a socket, in this kernel. */
  readonly netnsOffset: number;
  /** And the cookie in a namespace. */
  readonly cookieOffset: number;
}

/** Zeros stand for a node that is not known. */
export const NODE_PLACE: SizedCodec<NodePlace> = new Struct('place of the node', {
  ...{ netnsCookie: 'u64', netnsOffset: 'u32', cookieOffset: 'u32' },
});
