// Host interfaces that the kernel holds caps for and no record speaks of: it was lost, or cannot be
// read. What stands there stays in force, untouched, until the device goes.

import type { Link } from '../kernel/links.ts';
import { printable } from '../protocol/printable.ts';
import { remedies } from '../protocol/remedies.ts';
import { nameOf } from '../protocol/pod-names.ts';
import { AGGREGATE_ID_NONE } from '../wire/aggregate.ts';
import { aggregateIdsOf, type Orphan } from '../shaping/aggregate-ids.ts';
import type { Datapath } from './datapath.ts';
import {
  hostInterfaceIndexesOf,
  hostInterfacesOf,
  isSameDevice,
  type AttachmentRecord,
  type DeviceClaim,
  type HostInterfaceRecord,
} from '../shaping/records.ts';
import type { Store } from './store.ts';
import { formatRate } from '../shaping/units.ts';

/** The places of a pod's own programs; the last ones are of host routing. */
const HOOKS = ['ingress', 'egress', 'peer'] as const;

async function hasProgram({ hooks }: Datapath, ifindex: number): Promise<boolean> {
  for (const hook of HOOKS) {
    if ((await hooks.attachedProgramId({ ifindex, hook })) !== undefined) return true;
  }
  return false;
}

/**
 * Looks for them. An entry alone caps nothing (it may be of a device of former times): one of
 * podpace's programs has to stand there too.
 */
export async function findOrphans(
  datapath: Datapath,
  links: readonly Link[],
  known: readonly AttachmentRecord[],
): Promise<Orphan[]> {
  const owned = new Set(known.flatMap(hostInterfaceIndexesOf));
  const names = new Map(links.map(({ index, name }) => [index, name]));
  const orphans: Orphan[] = [];
  for (const ifindex of datapath.maps.hostInterfaces.keys()) {
    const name = names.get(ifindex);
    if (owned.has(ifindex) || name === undefined) continue;
    const entry = datapath.maps.hostInterfaces.get(ifindex);
    const isCapped =
      entry !== undefined && aggregateIdsOf([{ ifindex, name, ...entry }]).length > 0;
    if (isCapped && (await hasProgram(datapath, ifindex)))
      orphans.push({ ifindex, name, ...entry });
  }
  return orphans;
}

/** Those that were found when the whole node was last looked at. */
export class Orphans {
  known: readonly Orphan[] = [];

  /** From here on nothing is spared. */
  forget(): void {
    this.known = [];
  }
}

/** What a record says of one of its devices. */
function claimOf(
  { bootId }: AttachmentRecord,
  { hostInterface: name, kind }: HostInterfaceRecord,
): DeviceClaim {
  return { name, ...(bootId !== undefined && { bootId }), ...(kind !== undefined && { kind }) };
}

/**
 * Forgets the records of devices that are not those which have their indexes now; returns a
 * sentence for each. The devices themselves are not touched: they are somebody else's.
 */
export function forgetOutlived(store: Store, links: readonly Link[]): string[] {
  const byIndex = new Map(links.map((link) => [link.index, link]));
  const isOther = (ifindex: number, claim: DeviceClaim): boolean => {
    const link = byIndex.get(ifindex);
    return link !== undefined && !isSameDevice(claim, link);
  };
  const former = store.takeOutlived();
  const attachments = store
    .readAttachments()
    .filter((record) =>
      hostInterfacesOf(record).some((one) => isOther(one.hostInterfaceIndex, claimOf(record, one))),
    );
  const exits = store.readExits().filter((record) => isOther(record.ifindex, record));
  for (const record of attachments) store.removeAttachment(record);
  for (const { ifindex } of exits) store.removeExit(ifindex);
  return [
    ...[...former.attachments, ...attachments].map(
      (record) =>
        `Forgetting ${nameOf(record)}: its record is of ${record.hostInterface}, interface ${record.hostInterfaceIndex}, ` +
        'of another boot, network namespace or device',
    ),
    ...[...former.exits, ...exits].map(
      ({ name, ifindex }) =>
        `Forgetting what stood on ${name}: its record is of another boot, network namespace or device than interface ${ifindex} here`,
    ),
  ];
}

/** What to tell of an orphan. */
export function orphanProblem(datapath: Datapath, { name, egressId, ingressId }: Orphan): string {
  const caps = [['egress', egressId] as const, ['ingress', ingressId] as const].flatMap(
    ([direction, id]) => {
      if (id === AGGREGATE_ID_NONE) return [];
      const rate = formatRate(datapath.maps.aggregateConfig.at(id).rateBytesPerSec * 8);
      return [`${direction} as aggregate ${id} at ${rate}`];
    },
  );
  return (
    `No record of the attachment at ${printable(name)} is known: its cap stays in force (${caps.join(', ')}) and is not ` +
    `looked after; ${remedies.lostRecord}`
  );
}
