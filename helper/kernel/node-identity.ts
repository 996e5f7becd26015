// By what this node is told from itself at another time, or in another namespace.

import fs from 'node:fs';
import { networkNamespaceCookie } from './ffi.ts';

/** Drawn by the kernel at each boot. */
const BOOT_ID = '/proc/sys/kernel/random/boot_id';

/** The boot and the calling thread's network namespace. */
export interface NodeIdentity {
  /** A UUID. */
  readonly bootId: string;
  /** In decimal; absent where the kernel does not tell it. */
  readonly netnsCookie?: string;
}

/** Looks who this node is now. */
export function nodeIdentity(): NodeIdentity {
  const bootId = fs.readFileSync(BOOT_ID, 'utf8').trim();
  const cookie = networkNamespaceCookie();
  return { bootId, ...(cookie !== undefined && { netnsCookie: String(cookie) }) };
}
