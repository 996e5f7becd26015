// What the kernel holds, of the devices in question.

import { nameOfProgram } from '../kernel/bpf.ts';
import { filtersAt, type FilterLists, type TcFilter, type TcHook } from '../kernel/filters.ts';
import { listLinks, type Link } from '../kernel/links.ts';
import { TC_H_ROOT, type Qdisc } from '../kernel/qdiscs.ts';
import { AGGREGATE_ID_MAX, AGGREGATE_ID_MIN, isConfigInUse } from '../wire/aggregate.ts';
import type { ProgramName } from '../wire/datapath-names.ts';
import { decodeFqOptions, isTunedFq } from '../wire/fq.ts';
import { redirectTargets } from '../wire/tc-action.ts';
import { TC_H_CLSACT } from '../wire/tc-message.ts';
import {
  nameOfPlace,
  type HookName,
  type Place,
  type Redirect,
  type XdpProgram,
} from '../wire/hook-place.ts';
import type { Datapath } from './datapath.ts';
import type { DeviceWatch } from './device-watch.ts';
import { aggregateIdsInUse } from '../shaping/aggregate-ids.ts';
import { exemptionLists } from '../shaping/aggregates.ts';
import { digestOf } from '../shaping/exemptions.ts';
import { isOurRoot, type ObservedExit, type ObservedQdisc } from '../shaping/holder-qdiscs.ts';
import { findExits, type Exit, type NodeDevices, type UplinkNames } from '../shaping/exits.ts';
import {
  interfaceOfEntry,
  routedPodKey,
  routingEntries,
  routingKeyOf,
  type RoutingEntry,
} from '../shaping/host-routing.ts';
import type { InFront } from '../shaping/in-front.ts';
import { desiredPages, type Desired, type Observed } from '../shaping/plan.ts';
import { observeOffload } from './gso.ts';
import {
  hostInterfaceIndexesOf,
  type AttachmentRecord,
  type ExitRecord,
} from '../shaping/records.ts';

const HOOKS: readonly HookName[] = ['ingress', 'egress', 'ingressLast'];
/** Qdiscs that hold filters of a device's own hooks; both stand at the same place. */
const HOOKS_OF_QDISC: Readonly<Record<string, readonly TcHook[]>> = {
  clsact: ['ingress', 'egress'],
  ingress: ['ingress'],
};
const NETKIT_HOOKS: readonly HookName[] = ['peer', 'peerLast'];

/**
 * An fq that may be somebody's choice: neither podpace's, whose leaves are known by its root, nor
 * the kernel's own.
 */
function isChosenFq({ kind, handle }: Qdisc, root: Qdisc | undefined): boolean {
  return kind === 'fq' && handle !== 0 && !(root !== undefined && isOurRoot(root));
}

/**
 * The qdiscs of one device. What cannot be compared with an `fq` of the kernel's own is taken for
 * somebody's choice.
 */
async function observedQdiscs(
  datapath: Datapath,
  qdiscs: readonly Qdisc[],
): Promise<ObservedQdisc[]> {
  const root = qdiscs.find(({ parent }) => parent === TC_H_ROOT);
  const hasChoice = qdiscs.some((qdisc) => isChosenFq(qdisc, root));
  const untouched = hasChoice ? await datapath.untouchedFq() : undefined;
  return qdiscs.map((qdisc) => {
    const { kind, handle, parent, options } = qdisc;
    const base = { kind, handle, parent, options: options.toString('base64') };
    if (kind !== 'fq') return base;
    const fq = decodeFqOptions(options);
    if (!isChosenFq(qdisc, root)) return { ...base, fq };
    return { ...base, fq, isTuned: untouched === undefined || isTunedFq(options, untouched) };
  });
}

/**
 * The qdiscs of devices, or of all with the whole node. The leaves of an `mq` that the kernel has
 * made by itself are in its lists only.
 */
async function qdiscsOf(
  { devices: watch }: Datapath,
  devices: readonly Link[],
  { isWhole, isTold }: Pick<Sight, 'isWhole' | 'isTold'>,
): ReturnType<DeviceWatch['qdiscs']> {
  if (!isWhole) return watch.qdiscs(devices);
  if (!isTold) return watch.listQdiscs();
  const qdiscs = await watch.qdiscs(devices);
  const isDefaultMq = ({ kind, handle }: Qdisc): boolean => kind === 'mq' && handle === 0;
  const hasUntold = devices.some(({ index }) => qdiscs.get(index)?.some(isDefaultMq) === true);
  return hasUntold ? watch.listQdiscs() : qdiscs;
}

/**
 * Those of `links` that are asked for, with their qdiscs; with the whole node all whose root is
 * podpace's.
 */
async function observeDevices(
  datapath: Datapath,
  links: readonly Link[],
  indexes: ReadonlySet<number>,
  sight: Pick<Sight, 'isWhole' | 'isTold'>,
): Promise<{ readonly devices: ReadonlyMap<number, ObservedExit>; readonly filters: FilterLists }> {
  const { isWhole } = sight;
  const asked = isWhole ? links : links.filter(({ index }) => indexes.has(index));
  const qdiscs = await qdiscsOf(datapath, asked, sight);
  const isOurs = (index: number): boolean => isWhole && qdiscs.get(index)?.some(isOurRoot) === true;
  const byIndex = new Map(links.map((link) => [link.index, link]));
  const devices = new Map<number, ObservedExit>();
  const filters = new Map<string, readonly TcFilter[]>();
  for (const { index, name, numTxQueues, xdpProgramId } of links) {
    if (!indexes.has(index) && !isOurs(index)) continue;
    const own = await observedQdiscs(datapath, qdiscs.get(index) ?? []);
    const redirects: Redirect[] = [];
    for (const hook of isWhole ? hooksWithFilters(own) : []) {
      const list = await filtersAt(datapath.rt, index, hook);
      filters.set(nameOfPlace({ ifindex: index, hook }), list);
      redirects.push(...redirectsIn(list, hook, byIndex));
    }
    const xdp = xdpProgramId === undefined ? undefined : observedXdp(xdpProgramId);
    devices.set(index, {
      ...{ ifindex: index, name, numTxQueues, qdiscs: own },
      ...(redirects.length > 0 && { redirects }),
      ...(xdp !== undefined && { xdp }),
    });
  }
  return { devices, filters };
}

function observedXdp(id: number): XdpProgram {
  return { id, name: nameOfProgram(id) ?? '' };
}

/** Hooks of a device that have filters at all: of most devices none where there is tcx. */
function hooksWithFilters(qdiscs: readonly ObservedQdisc[]): readonly TcHook[] {
  return HOOKS_OF_QDISC[qdiscs.find(({ parent }) => parent === TC_H_CLSACT)?.kind ?? ''] ?? [];
}

/** Where filters send packets away. */
function redirectsIn(
  filters: readonly TcFilter[],
  hook: TcHook,
  links: ReadonlyMap<number, Link>,
): Redirect[] {
  return filters.flatMap(({ kind: type, priority, options }) =>
    redirectTargets(type, options).map((ifindex) => {
      const { name = `interface ${ifindex}`, kind } = links.get(ifindex) ?? {};
      return { hook, type, priority, ifindex, name, comesBack: kind === 'ifb' };
    }),
  );
}

/** Filters go with their device; of links the pins are left. */
async function observePrograms(
  datapath: Datapath,
  devices: Iterable<number>,
  links: readonly Link[],
  filters: FilterLists,
): Promise<Pick<Observed, 'programs' | 'inFront' | 'deadPins'>> {
  const kinds = new Map(links.map(({ index, kind }) => [index, kind]));
  const places = [...devices].flatMap((ifindex): Place[] => {
    const isGone = !kinds.has(ifindex);
    if (isGone && datapath.hooks.kind === 'clsact') return [];
    const mayHaveFarEnd = isGone || kinds.get(ifindex) === 'netkit';
    const hooks = mayHaveFarEnd ? [...HOOKS, ...NETKIT_HOOKS] : HOOKS;
    return hooks.map((hook) => ({ ifindex, hook }));
  });
  const standings = await datapath.hooks.standings(places, filters);
  const programs = new Map<string, ProgramName | 'stale'>();
  const inFront = new Map<string, InFront>();
  const deadPins = new Set<string>();
  for (const [index, point] of places.entries()) {
    const standing = standings[index];
    if (standing === undefined) continue;
    const place = nameOfPlace(point);
    const { programId, inFront: occupants, canPass } = standing;
    if (programId === undefined) deadPins.add(place);
    else programs.set(place, datapath.programNameOf(programId) ?? 'stale');
    if (occupants.length > 0) inFront.set(place, { occupants, canPass });
  }
  return { programs, inFront, deadPins };
}

/**
 * A walk through the maps of host routing takes as long as so many lookups, however few entries
 * there are.
 */
const LOOKUPS_OF_A_WALK = 256;

/** What stands where attachments have entries of host routing. */
function readRouting(datapath: Datapath, attachments: readonly AttachmentRecord[]): RoutingEntry[] {
  const entries = attachments.flatMap(routingEntries);
  const places = [...new Map(entries.map((entry) => [routingKeyOf(entry), entry])).values()];
  if (places.length > LOOKUPS_OF_A_WALK) {
    const wanted = new Set(places.map(routingKeyOf));
    return datapath.routingEntries().filter((entry) => wanted.has(routingKeyOf(entry)));
  }
  return places.flatMap(({ map, key }) => {
    const value = datapath.maps[map].get(key);
    return value === undefined ? [] : [{ map, key, value }];
  });
}

/**
 * Entries of host routing that are of some devices, or at keys that the attachments have; with the
 * whole node, all. Those of devices that no attachment here has are looked for in all.
 */
function observeRouting(
  datapath: Datapath,
  { attachments }: Desired,
  { places, isWhole, former }: Sight,
): RoutingEntry[] {
  if (isWhole) return datapath.routingEntries();
  const known = [...attachments, ...former];
  const owned = new Set(known.flatMap(hostInterfaceIndexesOf));
  const isStray = (ifindex: number): boolean =>
    !owned.has(ifindex) && datapath.maps.routedPods.get(routedPodKey(ifindex)) !== undefined;
  const found = [...places].some(isStray)
    ? datapath.routingEntries()
    : readRouting(datapath, known);
  const wanted = new Set(attachments.flatMap(routingEntries).map(routingKeyOf));
  return found.filter(
    (entry) => places.has(interfaceOfEntry(entry)) || wanted.has(routingKeyOf(entry)),
  );
}

/**
 * Digests of the lists of exempt addresses: the node's, those of the attachments' aggregates, and
 * with the whole node those of aggregates that are not in use.
 */
function observeExemptions(
  datapath: Datapath,
  desired: Desired,
  { isWhole, former, digests }: Extent,
): Map<number, string> {
  const lists = exemptionLists(desired);
  const asked = new Set([...lists.keys(), ...aggregateIdsInUse(former)]);
  const isUnused = (list: number): boolean =>
    list < AGGREGATE_ID_MIN ||
    list > AGGREGATE_ID_MAX ||
    datapath.maps.aggregateConfig.at(list).rateBytesPerSec === 0;
  for (const [list, texts] of lists) {
    const digest = digestOf(texts);
    if (digest !== undefined && digests.get(list) === digest)
      datapath.noteExemptionDigest(list, digest, texts);
  }
  return new Map([...digests].filter(([list]) => asked.has(list) || (isWhole && isUnused(list))));
}

/** How much of the maps is looked at. */
interface Extent extends Pick<Sight, 'isWhole' | 'former'> {
  /** Of all lists of exempt addresses. */
  readonly digests: ReadonlyMap<number, string>;
}

/** The part of what is observed that stands in maps, without host routing. */
type Maps = Omit<Observed, 'routing' | keyof typeof NO_DEVICES>;

/** What the maps hold of the aggregates of `desired` and of some devices. */
function observeCaps(
  datapath: Datapath,
  desired: Desired,
  indexes: Iterable<number>,
  extent: Extent,
): Maps {
  const ids = new Set([...desired.aggregates.keys(), ...aggregateIdsInUse(extent.former)]);
  const used = new Map(extent.isWhole ? datapath.maps.aggregateConfig.entries(isConfigInUse) : []);
  return {
    pages: new Set([...desiredPages(desired)].filter((page) => datapath.hasPage(page))),
    policing: datapath.policing.standing(),
    goesOnInReceive: datapath.goesOnInReceive(),
    exemptions: observeExemptions(datapath, desired, extent),
    configs: new Map([
      ...used,
      ...[...ids].map((id) => [id, used.get(id) ?? datapath.maps.aggregateConfig.at(id)] as const),
    ]),
    hostInterfaces: datapath.maps.hostInterfaces.getAmong(indexes),
    overheads: datapath.maps.upperExits.getAmong(indexes),
  };
}

/** Where none is looked at. */
const NO_DEVICES = {
  ...{ devices: new Map(), programs: new Map(), inFront: new Map(), exitRecords: [] },
};

/**
 * What the maps hold of attachments and of some devices: a few lookups for each, or one walk for
 * many. `digests`: of the lists of exempt addresses.
 */
export function observeMaps(
  datapath: Datapath,
  desired: Desired,
  indexes: Iterable<number>,
  digests = datapath.exemptionDigests(),
): Observed {
  const routing = readRouting(datapath, desired.attachments);
  const extent = { isWhole: false, former: [], digests };
  return { ...NO_DEVICES, ...observeCaps(datapath, desired, indexes, extent), routing };
}

/** Which devices to look at. */
export interface Sight {
  /** All devices of the node. */
  readonly links: readonly Link[];
  /** Those whose programs and map entries the desired state speaks of. */
  readonly places: ReadonlySet<number>;
  /** Those that only hold packets for others of these. */
  readonly holders: ReadonlySet<number>;
  /**
   * All of the node is looked at: also for what is left of pods that nothing is known of any more.
   */
  readonly isWhole: boolean;
  /** It goes by what the kernel's events have told of devices and qdiscs. */
  readonly isTold: boolean;
  /** Attachments as they were: what stood for them is looked at, too. */
  readonly former: readonly AttachmentRecord[];
}

/** Everything a plan for `desired` needs to know. */
export async function observe(
  datapath: Datapath,
  desired: Desired,
  sight: Sight,
  exitRecords: readonly ExitRecord[],
): Promise<Observed> {
  const { links, places, holders } = sight;
  const indexes = new Set([...places, ...holders]);
  const { devices, filters } = await observeDevices(datapath, links, indexes, sight);
  const digests = sight.isWhole ? datapath.exemptionDigests() : datapath.knownExemptionDigests();
  return {
    ...observeCaps(datapath, desired, places, { ...sight, digests }),
    routing: observeRouting(datapath, desired, sight),
    devices,
    ...(await observePrograms(datapath, places, links, filters)),
    exitRecords: exitRecords.filter(({ ifindex }) => indexes.has(ifindex)),
    offload: await observeOffload(
      (desired.offload ?? []).filter(({ hostInterfaceIndex }) => devices.has(hostInterfaceIndex)),
      [...sight.former, ...desired.attachments],
    ),
  };
}

/** The node's exits, what there is to say of the uplinks that were named, and all devices. */
export interface ObservedExits extends UplinkNames {
  readonly exits: readonly Exit[];
  readonly links: readonly Link[];
}

/**
 * On which devices pods' packets can leave now. `listed`: all devices, if they have just been
 * listed.
 */
export async function observeExits(
  { rt, routes, outer }: Pick<Datapath, 'rt' | 'routes'> & Partial<Pick<Datapath, 'outer'>>,
  known: Omit<NodeDevices, 'links' | 'reaches' | 'outerWays'>,
  listed?: readonly Link[],
): Promise<ObservedExits> {
  const links = listed ?? (await listLinks(rt));
  const reaches = await routes.read();
  const outerWays = await outer?.read(links);
  const node = { ...known, links, reaches, ...(outerWays !== undefined && { outerWays }) };
  return { ...findExits(node), links };
}
