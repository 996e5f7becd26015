// By what this node is told from itself at another time, or in another namespace.

import { bootId } from './boot-clock.ts';
import { networkNamespaceCookie } from './ffi.ts';

/** The boot and the calling thread's network namespace. */
export interface NodeIdentity {
  /** A UUID. */
  readonly bootId: string;
  /** In decimal; absent where the kernel does not tell it. */
  readonly netnsCookie?: string;
}

/** Looks who this node is now. */
export function nodeIdentity(): NodeIdentity {
  const cookie = networkNamespaceCookie();
  return { bootId: bootId(), ...(cookie !== undefined && { netnsCookie: String(cookie) }) };
}
