// What the helper remembers on disk because the kernel cannot hold it: which attachment owns which interface and
// aggregates, and what stood on an exit before. Pure data; store.ts reads and writes it.

import type { AttachmentKey, AttachmentKind, Caps, ChangedCaps, HostRouting } from '../protocol/messages.ts';

/** Changes with every incompatible change of a record. */
export const RECORD_VERSION = 1;

export interface AttachmentRecord extends AttachmentKey {
  readonly network: string;
  readonly hostInterface: string;
  readonly hostInterfaceIndex: number;
  readonly sandbox: string;
  /** As ADD asked for them. */
  readonly caps: Caps;
  /** Addresses to and from which the caps do not count. */
  readonly exempt?: readonly string[];
  /** Kind of its pair; absent in records of versions that did not ask. */
  readonly kind?: AttachmentKind;
  readonly hostRouting?: RoutedRecord;
  /** Of TCP in the pod, as ADD set it. */
  readonly congestionControl?: string;
  /** What `set` has changed since. */
  readonly changes?: ChangedCaps;
  /** Aggregate of the effective egress cap; absent without one. */
  readonly egressAggregateId?: number;
  readonly ingressAggregateId?: number;
}

export interface RoutedRecord extends HostRouting {
  /** Of the host interface; absent for a netkit. */
  readonly hostMac?: string;
}

/** A qdisc as it has to be put back. `options` are the raw TCA_OPTIONS in base64. */
export interface FormerQdisc {
  readonly kind: string;
  readonly handle: number;
  readonly parent: number;
  readonly options: string;
}

export interface ExitRecord {
  readonly ifindex: number;
  readonly name: string;
  /** Empty when the kernel's default stood there: deleting ours brings it back. Root first, then its leaves. */
  readonly formerQdiscs: readonly FormerQdisc[];
}

export function isSameAttachment(a: AttachmentKey, b: AttachmentKey): boolean {
  return a.containerId === b.containerId && a.ifname === b.ifname;
}
