// Segment offload of the pod's own interface: what keeps a low cap smooth. Best effort: a pod's cap
// holds without.

import { changeLink, findLink, type Link } from '../kernel/links.ts';
import { openNetns } from '../kernel/netns.ts';
import { RtSocket } from '../kernel/rtnetlink.ts';
import { effectiveCapIn } from '../shaping/effective.ts';
import type { LoggingNode } from './enforcement.ts';
import { exemptionListsOf } from '../shaping/exemptions.ts';
import { gsoLimitOf, UNLIMITED_GSO, type GsoLimit } from '../shaping/rates.ts';
import {
  hostInterfacesOf,
  withGso,
  type AttachmentRecord,
  type GsoLimits,
  type HostInterfaceRecord,
  type LimitedGso,
} from '../shaping/records.ts';

function limitsOf({ gsoMaxSizeBytes, gsoMaxSegs, gsoIpv4MaxSizeBytes }: GsoLimits): GsoLimits {
  const limits = { gsoMaxSizeBytes, gsoMaxSegs };
  return gsoIpv4MaxSizeBytes === undefined ? limits : { ...limits, gsoIpv4MaxSizeBytes };
}

function isSame(a: GsoLimits, b: GsoLimits): boolean {
  return a.gsoMaxSizeBytes === b.gsoMaxSizeBytes && a.gsoMaxSegs === b.gsoMaxSegs;
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
 * Calls `use` with a socket in the pod's namespace and the pod's end of a pair, unless that is
 * another one by now.
 */
async function withInterface(
  sandbox: string,
  { podInterface, hostInterfaceIndex }: HostInterfaceRecord,
  use: (rt: RtSocket, link: Link) => Promise<void>,
): Promise<void> {
  const netns = openNetns(sandbox);
  try {
    const rt = RtSocket.open(netns);
    try {
      const link = await findLink(rt, { name: podInterface });
      const isPeer = link?.linkIndex === undefined || link.linkIndex === hostInterfaceIndex;
      if (link !== undefined && isPeer) await use(rt, link);
    } finally {
      rt.close();
    }
  } finally {
    netns.close();
  }
}

/** The egress rates that an interface is limited by, and was. */
interface GsoRates {
  readonly formerRate: number | undefined;
  readonly rateBitsPerSec: number | undefined;
}

/**
 * Limits the GSO size of a pod's interface to a short train at its egress cap; without one it has
 * what it had before. `keep` is told what the record has to say, before anything changes.
 */
async function limitGso(
  sandbox: string,
  one: HostInterfaceRecord,
  { formerRate, rateBitsPerSec }: GsoRates,
  keep: (gso: LimitedGso | undefined) => void,
): Promise<void> {
  await withInterface(sandbox, one, async (rt, link) => {
    const change = gsoChange(link, link.mtu, { gso: one.gso, formerRate }, rateBitsPerSec);
    if (change.gso !== undefined) keep(change.gso);
    if (change.write !== undefined) await changeLink(rt, link.index, change.write);
    if (change.gso === undefined) keep(undefined);
  });
}

/**
 * Limits the interfaces of a pod at its egress cap, in place of those of its former record. Failing
 * is only logged.
 */
export async function limitGsoAtCap(
  { defaults, exempt, log, store }: LoggingNode,
  former: AttachmentRecord | undefined,
  next: AttachmentRecord,
): Promise<void> {
  // What is exempt goes at full speed through the same interface.
  const [formerRate, rateBitsPerSec] = [former, next].map((record) =>
    record === undefined || exemptionListsOf(record, exempt) !== 0
      ? undefined
      : effectiveCapIn(record, 'egress', defaults)?.rateBitsPerSec,
  );
  const formers = former === undefined ? [] : hostInterfacesOf(former);
  const isLimited = formers.some(({ gso }) => gso !== undefined);
  if (formerRate === undefined && rateBitsPerSec === undefined && !isLimited) return;
  let record = next;
  for (const { gso: present, ...way } of hostInterfacesOf(next)) {
    const { gso } = formers.find((one) => one.hostInterfaceIndex === way.hostInterfaceIndex) ?? {};
    const known = gso === undefined ? way : { ...way, gso };
    try {
      await limitGso(next.sandbox, known, { formerRate, rateBitsPerSec }, (kept) => {
        if (kept === present) return;
        record = withGso(record, way.hostInterfaceIndex, kept);
        store.writeAttachment(record);
      });
    } catch (error) {
      const what = `Cannot limit segment offload of ${way.podInterface} in ${next.sandbox}`;
      log('warn', `${what}: ${(error as Error).message}; the cap holds, in larger steps`);
    }
  }
}

/** Gives a pod that may be gone what its interfaces had before. */
export async function giveGsoBack(
  { defaults, exempt }: LoggingNode,
  record: AttachmentRecord,
): Promise<void> {
  const cap = effectiveCapIn(record, 'egress', defaults);
  const formerRate = exemptionListsOf(record, exempt) === 0 ? cap?.rateBitsPerSec : undefined;
  for (const one of hostInterfacesOf(record)) {
    if (cap === undefined && one.gso === undefined) continue;
    try {
      await limitGso(
        record.sandbox,
        one,
        { formerRate, rateBitsPerSec: undefined },
        () => undefined,
      );
    } catch {
      // With its namespace the interface is gone, or about to be.
    }
  }
}
