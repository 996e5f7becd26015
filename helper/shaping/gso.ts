// Segment offload of the pod's own interface: what keeps a low cap smooth. It is set when a cap
// comes, changes or goes, and not put right in between: who may set it in the pod may do so. Pure.

import type { AttachmentKey } from '../protocol/messages.ts';
import { effectiveCapIn } from './effective.ts';
import { exemptionListsOf } from './exemptions.ts';
import { gsoLimitOf, UNLIMITED_GSO, type GsoLimit, type NodeSettings } from './rates.ts';
import {
  hostInterfacesOf,
  type AttachmentRecord,
  type Change,
  type GsoLimits,
  type LimitedGso,
} from './records.ts';

/** The end of a pair that is in the pod. */
export interface PodEnd {
  readonly sandbox: string;
  readonly podInterface: string;
  /** Of the end on the node. */
  readonly hostInterfaceIndex: number;
}

/** The cap that a pod's interface is to be limited by. */
export interface DesiredOffload extends PodEnd {
  /** Whose record has to say what stood there before; undefined of one that goes. */
  readonly key?: AttachmentKey;
  /** Undefined without a limit. */
  readonly rateBitsPerSec: number | undefined;
  /** What a record without a word on it limited the interface by. */
  readonly formerRate: number | undefined;
}

/** A pod's interface as it is. */
export interface ObservedOffload {
  readonly limits: GsoLimits;
  readonly mtuBytes: number;
  /** What the record says of it. */
  readonly gso?: LimitedGso;
}

export type OffloadStep =
  | {
      readonly kind: 'keep-offload';
      readonly key: AttachmentKey;
      readonly end: PodEnd;
      readonly gso: LimitedGso | undefined;
    }
  | {
      readonly kind: 'limit-offload';
      /** As DesiredOffload has it. */
      readonly key: AttachmentKey | undefined;
      readonly end: PodEnd;
      readonly limits: GsoLimits;
    };

/**
 * What a record limits the interfaces of its pod by: exempt packets go at full speed by the same.
 */
function limitingRate(
  { defaults, exempt }: NodeSettings,
  record: AttachmentRecord | undefined,
): number | undefined {
  if (record === undefined || exemptionListsOf(record, exempt) !== 0) return undefined;
  return effectiveCapIn(record, 'egress', defaults)?.rateBitsPerSec;
}

/** What a change is to make of the pod's interfaces; empty where they have not been limited. */
export function desiredOffload(settings: NodeSettings, { former, next }: Change): DesiredOffload[] {
  const record = next ?? former;
  if (record === undefined) return [];
  const formerRate = limitingRate(settings, former);
  const rateBitsPerSec = limitingRate(settings, next);
  const ways = hostInterfacesOf(record);
  const isLimited = ways.some(({ gso }) => gso !== undefined);
  if (formerRate === undefined && rateBitsPerSec === undefined && !isLimited) return [];
  const { containerId, ifname, sandbox } = record;
  return ways.map(({ podInterface, hostInterfaceIndex }) => ({
    ...{ sandbox, podInterface, hostInterfaceIndex, formerRate, rateBitsPerSec },
    ...(next !== undefined && { key: { containerId, ifname } }),
  }));
}

function limitsOf({ gsoMaxSizeBytes, gsoMaxSegs, gsoIpv4MaxSizeBytes }: GsoLimits): GsoLimits {
  const limits = { gsoMaxSizeBytes, gsoMaxSegs };
  return gsoIpv4MaxSizeBytes === undefined ? limits : { ...limits, gsoIpv4MaxSizeBytes };
}

function isSame(a: GsoLimits, b: GsoLimits): boolean {
  return a.gsoMaxSizeBytes === b.gsoMaxSizeBytes && a.gsoMaxSegs === b.gsoMaxSegs;
}

function isSameWord(a: LimitedGso | undefined, b: LimitedGso | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  return (['former', 'limited'] as const).every(
    (name) =>
      isSame(a[name], b[name]) && a[name].gsoIpv4MaxSizeBytes === b[name].gsoIpv4MaxSizeBytes,
  );
}

/** Limits under which nothing is larger than it was. */
function limited(former: GsoLimits, limit: GsoLimit): GsoLimits {
  const gsoMaxSizeBytes = Math.min(former.gsoMaxSizeBytes, limit.gsoMaxSizeBytes);
  const gsoMaxSegs = Math.min(former.gsoMaxSegs, limit.gsoMaxSegs);
  const { gsoIpv4MaxSizeBytes: ipv4 } = former;
  return {
    ...{ gsoMaxSizeBytes, gsoMaxSegs },
    ...(ipv4 !== undefined && { gsoIpv4MaxSizeBytes: Math.min(ipv4, limit.gsoMaxSizeBytes) }),
  };
}

/**
 * What a record without its own word limited an interface to, if that stands there: before it, the
 * kernel's default did.
 */
function guessed(
  found: GsoLimits,
  rateBitsPerSec: number | undefined,
  mtuBytes: number,
): LimitedGso | undefined {
  if (rateBitsPerSec === undefined) return undefined;
  const limit = gsoLimitOf(rateBitsPerSec, mtuBytes);
  if (limit === UNLIMITED_GSO || !isSame(found, limit)) return undefined;
  const ipv4 = found.gsoIpv4MaxSizeBytes !== undefined;
  const former = {
    ...UNLIMITED_GSO,
    ...(ipv4 && { gsoIpv4MaxSizeBytes: UNLIMITED_GSO.gsoMaxSizeBytes }),
  };
  return { former, limited: limitsOf(found) };
}

/** What limiting, or ceasing to, makes of an interface. */
export interface GsoChange {
  /** What has to be written; absent when it stands there. */
  readonly write?: GsoLimits;
  /** For the record; absent when nothing is limited any more. */
  readonly gso?: LimitedGso;
}

/**
 * From what an interface has and what a record says of it, to its limits at an egress cap,
 * undefined for none. Never raises what stood there before podpace came, and leaves alone what
 * somebody has set since. `formerRate` is what the record limited it by.
 */
export function gsoChange(
  found: GsoLimits,
  mtuBytes: number,
  {
    gso,
    formerRate,
  }: { readonly gso: LimitedGso | undefined; readonly formerRate: number | undefined },
  rateBitsPerSec: number | undefined,
): GsoChange {
  const known = gso ?? guessed(found, formerRate, mtuBytes);
  const isOurs = known !== undefined && isSame(found, known.limited);
  const limit = rateBitsPerSec === undefined ? UNLIMITED_GSO : gsoLimitOf(rateBitsPerSec, mtuBytes);
  // An interface with BIG TCP keeps that at a cap which is fast enough for 64 KB.
  if (limit === UNLIMITED_GSO) return isOurs ? { write: known.former } : {};
  const former = isOurs ? known.former : limitsOf(found);
  const wanted = limited(former, limit);
  if (isSame(wanted, former)) return isSame(found, former) ? {} : { write: former };
  const next = { gso: { former, limited: wanted } };
  return isSame(wanted, found) ? next : { ...next, write: wanted };
}

/**
 * What limits pods' interfaces to a short train at their caps, or gives them back what they had.
 * The record is told before anything is limited, and when nothing is any more.
 */
export function planOffload(
  { offload = [] }: { readonly offload?: readonly DesiredOffload[] },
  observed: { readonly offload?: ReadonlyMap<number, ObservedOffload | Error> },
): OffloadStep[] {
  return offload.flatMap(({ key, rateBitsPerSec, formerRate, ...end }): OffloadStep[] => {
    const found = observed.offload?.get(end.hostInterfaceIndex);
    if (found === undefined || found instanceof Error) return [];
    const { limits, mtuBytes, gso: present } = found;
    const { write, gso } = gsoChange(
      limits,
      mtuBytes,
      { gso: present, formerRate },
      rateBitsPerSec,
    );
    const limit = (to: GsoLimits): OffloadStep => ({
      ...{ kind: 'limit-offload', key, end, limits: to },
    });
    const limiting = write === undefined ? [] : [limit(write)];
    if (key === undefined || isSameWord(gso, present)) return limiting;
    const keeping: OffloadStep = { kind: 'keep-offload', key, end, gso };
    if (gso === undefined) return [...limiting, keeping];
    // From one limit to another by way of none: whoever stops in between leaves nothing that looks
    // like somebody's choice.
    const isLimited = present !== undefined && isSame(limits, present.limited);
    return [...(isLimited && write !== undefined ? [limit(gso.former)] : []), keeping, ...limiting];
  });
}
