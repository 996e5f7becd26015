// What the helper remembers on disk because the kernel cannot hold it: which attachment owns which
// interface and aggregates, and what stood on an exit before. Pure data; store.ts reads and writes
// it.

import type {
  AttachmentKey,
  AttachmentKind,
  AttachParams,
  Caps,
  ChangedCaps,
  HostRouting,
  UnheldInterface,
} from '../protocol/messages.ts';
import type { PodOfRecord } from '../protocol/record-text.ts';

export type { PodOfRecord } from '../protocol/record-text.ts';

/**
 * Of a record that tells of one host interface and nothing else: releases that know no more read
 * it.
 */
export const RECORD_VERSION = 1;
/**
 * Of one that tells of several, or of ways that cannot be held: those releases leave it, and what
 * the kernel holds of it, alone.
 */
export const SEVERAL_VERSION = 2;

/**
 * Of which boot and which network namespace a device's index is: together they name one device.
 * Absent in records of 23c71bb; the cookie also where the kernel does not tell it
 * (SO_NETNS_COOKIE).
 */
export interface Origin {
  readonly bootId?: string;
  readonly netnsCookie?: string;
}

export interface AttachmentRecord extends AttachmentKey, Origin, PodOfRecord {
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
  /**
   * Segment offload of the pod's interface while a cap limits it; absent in records of versions
   * that did not keep it.
   */
  readonly gso?: LimitedGso;
  /**
   * The other end of `hostInterface`, where it is not the interface of CNI_IFNAME: that is gone.
   */
  readonly podInterface?: string;
  /** Further ways, which share its aggregates; absent when there are none. */
  readonly beside?: readonly HostInterfaceRecord[];
  /** Ways out of the pod on which its caps cannot be held; absent when there are none. */
  readonly unheld?: readonly UnheldInterface[];
}

/** Largest GSO packets of an interface. */
export interface GsoLimits {
  readonly gsoMaxSizeBytes: number;
  readonly gsoMaxSegs: number;
  /** Absent before Linux 6.3. */
  readonly gsoIpv4MaxSizeBytes?: number;
}

export interface LimitedGso {
  /** As they stood there before, to be given back. */
  readonly former: GsoLimits;
  /** As podpace set them: what stands there otherwise is somebody's later choice. */
  readonly limited: GsoLimits;
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

export interface ExitRecord extends Origin {
  readonly ifindex: number;
  readonly name: string;
  /**
   * Empty when the kernel's default stood there: deleting ours brings it back. Root first, then its
   * leaves.
   */
  readonly formerQdiscs: readonly FormerQdisc[];
}

/**
 * What a pod was to have that was added without (`onUnenforceable: allow`): nothing of it is in
 * force.
 */
export interface Wish extends AttachParams, PodOfRecord {
  readonly hostInterfaceIndex: number;
  readonly kind?: AttachmentKind;
  /** Why it was not in force when the pod was added. */
  readonly reason: string;
}

/**
 * A pod that was added without a cap: what a cap needs that comes later. The plugin writes it, with
 * or without a helper, and asks the kernel only what it would have asked anyway.
 */
export interface UncappedRecord extends AttachmentKey, PodOfRecord {
  readonly network: string;
  /** Path of the pod's network namespace, as CNI_NETNS gave it. */
  readonly sandbox: string;
  /** That namespace by device and inode; absent where nothing was at the path. */
  readonly sandboxNetns?: string;
  /** Likewise that of the node. */
  readonly nodeNetns?: string;
  readonly bootId?: string;
  /** Until the kernel was asked, the one that the list's result names, if it names just one. */
  readonly hostInterface?: string;
  /** There with `hostInterface`. */
  readonly hostInterfaceIndex?: number;
  readonly kind?: AttachmentKind;
  /** The kernel was asked for the host interface: it is that one, or there is none. */
  readonly isAsked?: boolean;
  /** Why there is no host interface: a clause. Only where the kernel was asked. */
  readonly noPair?: string;
  /** Of the network's configuration, for a cap that comes later. */
  readonly exempt?: readonly string[];
  readonly congestionControl?: string;
  /** Further interfaces that the list's result has in the sandbox; absent when there are none. */
  readonly listed?: readonly string[];
}

/** One way in and out of a pod: the end on the node of a pair whose other end is in the sandbox. */
export interface HostInterfaceRecord {
  /** Name of the other end. */
  readonly podInterface: string;
  readonly hostInterface: string;
  readonly hostInterfaceIndex: number;
  readonly kind?: AttachmentKind;
  readonly hostRouting?: RoutedRecord;
  readonly gso?: LimitedGso;
}

/**
 * The ways of an attachment, which share its caps: first the one of CNI_IFNAME, as long as it is
 * there.
 */
export function hostInterfacesOf(record: AttachmentRecord): readonly HostInterfaceRecord[] {
  const {
    ifname,
    podInterface = ifname,
    hostInterface,
    hostInterfaceIndex,
    kind,
    hostRouting,
    gso,
  } = record;
  return [
    {
      ...{ podInterface, hostInterface, hostInterfaceIndex },
      ...(kind !== undefined && { kind }),
      ...(hostRouting !== undefined && { hostRouting }),
      ...(gso !== undefined && { gso }),
    },
    ...(record.beside ?? []),
  ];
}

/** Indexes of these. */
export function hostInterfaceIndexesOf({
  hostInterfaceIndex,
  beside = [],
}: Pick<AttachmentRecord, 'hostInterfaceIndex' | 'beside'>): readonly number[] {
  return [hostInterfaceIndex, ...beside.map((one) => one.hostInterfaceIndex)];
}

/**
 * The record with these ways, of which the first takes the place of the former first; undefined
 * without any.
 */
function withWays(
  record: AttachmentRecord,
  [first, ...beside]: readonly HostInterfaceRecord[],
): AttachmentRecord | undefined {
  if (first === undefined) return undefined;
  const { podInterface: _end, kind: _kind, hostRouting: _routing, ...others } = record;
  const { gso: _gso, beside: _beside, ...rest } = others;
  const { podInterface, ...own } = first;
  return {
    ...{ ...rest, ...own },
    ...(podInterface !== record.ifname && { podInterface }),
    ...(beside.length > 0 && { beside }),
  };
}

/** The record without the ways that are gone; undefined when none is left, itself when all are. */
export function withoutGone(
  record: AttachmentRecord,
  isGone: (ifindex: number) => boolean,
): AttachmentRecord | undefined {
  const ways = hostInterfacesOf(record);
  const left = ways.filter(({ hostInterfaceIndex }) => !isGone(hostInterfaceIndex));
  return left.length === ways.length ? record : withWays(record, left);
}

/** The record with another word on the segment offload at one of its ways. */
export function withGso(
  record: AttachmentRecord,
  ifindex: number,
  gso: LimitedGso | undefined,
): AttachmentRecord {
  const ways = hostInterfacesOf(record).map((way) => {
    if (way.hostInterfaceIndex !== ifindex) return way;
    const { gso: _former, ...rest } = way;
    return gso === undefined ? rest : { ...rest, gso };
  });
  return withWays(record, ways) ?? record;
}

/** The record with what a former one of the same attachment says of the segment offload. */
export function withGsoOf(
  record: AttachmentRecord,
  former: AttachmentRecord | undefined,
): AttachmentRecord {
  const own = new Set(hostInterfaceIndexesOf(record));
  const known = former === undefined ? [] : hostInterfacesOf(former);
  return known.reduce(
    (next, { hostInterfaceIndex, gso }) =>
      gso !== undefined && own.has(hostInterfaceIndex)
        ? withGso(next, hostInterfaceIndex, gso)
        : next,
    record,
  );
}

/** An attachment that comes, changes or goes: as it was, and as it is to be. */
export interface Change {
  readonly former: AttachmentRecord | undefined;
  readonly next: AttachmentRecord | undefined;
}

export function isSameAttachment(a: AttachmentKey, b: AttachmentKey): boolean {
  return a.containerId === b.containerId && a.ifname === b.ifname;
}

/** What a record says of its device. */
export type DeviceClaim = Origin & { readonly name: string; readonly kind?: AttachmentKind };

/**
 * True when a record cannot be of a device that is there now: it is of another boot, or of another
 * namespace.
 */
export function isOutlived(record: Origin, origin: Origin): boolean {
  return (['bootId', 'netnsCookie'] as const).some(
    (name) =>
      record[name] !== undefined && origin[name] !== undefined && record[name] !== origin[name],
  );
}

/**
 * Whether the device that now has a record's index is the one that the record was made of. Within
 * one boot and namespace an index is not given twice, so a device may have got another name;
 * without knowing these, its name must be the same.
 */
export function isSameDevice(
  claim: DeviceClaim,
  link: { readonly name: string; readonly kind?: string },
): boolean {
  if (claim.kind !== undefined && claim.kind !== link.kind) return false;
  return claim.bootId !== undefined || claim.name === link.name;
}
