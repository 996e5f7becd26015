// What the helper remembers on disk because the kernel cannot hold it: which attachment owns which
// interface and aggregates, and what stood on an exit before. Pure data; store.ts reads and writes
// it.

import type { AttachmentKey, AttachmentKind } from '../protocol/messages.ts';
import { nameOf } from '../protocol/pod-names.ts';
import type { AttachmentRecord, HostInterfaceRecord, LimitedGso, Origin } from './record-schema.ts';

export type * from './record-schema.ts';

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

/** The attachment that a host interface is of. */
export function ownerOf(
  records: readonly AttachmentRecord[],
  ifindex: number,
): AttachmentRecord | undefined {
  return records.find((record) => hostInterfaceIndexesOf(record).includes(ifindex));
}

/** Attachments by the indexes of their host interfaces. */
export type Owners = ReadonlyMap<number, AttachmentRecord>;

/** The attachment of each host interface, for who asks after many. */
export function ownersOf(records: readonly AttachmentRecord[]): Owners {
  return new Map(
    records.flatMap((record) =>
      hostInterfaceIndexesOf(record).map((ifindex) => [ifindex, record] as const),
    ),
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

/**
 * Attachments of which not more than one can be right, with the reason: they name the same
 * aggregate or the same interface.
 */
export function contradictionsOf(
  records: readonly AttachmentRecord[],
): Map<AttachmentRecord, string> {
  const found = new Map<AttachmentRecord, string>();
  const owners = new Map<string, AttachmentRecord>();
  for (const record of records) {
    const claims = [
      ...hostInterfaceIndexesOf(record).map((ifindex) => `interface ${ifindex}`),
      ...[record.egressAggregateId, record.ingressAggregateId].flatMap((id) =>
        id === undefined ? [] : [`aggregate ${id}`],
      ),
    ];
    for (const claim of claims) {
      const other = owners.get(claim);
      if (other === undefined) {
        owners.set(claim, record);
        continue;
      }
      found.set(record, `it has ${claim}, as the record of ${nameOf(other)}`);
      found.set(other, `it has ${claim}, as the record of ${nameOf(record)}`);
    }
  }
  return found;
}
