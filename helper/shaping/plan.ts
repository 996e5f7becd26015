// From what should be and what is to what must be done. Pure: the same input gives the same steps,
// and a plan made after its own steps were applied is empty.
//
// Order matters in one way: an attachment never passes through a state in which its traffic is
// classified and nobody schedules its departures, nor the reverse of what it had. So configuration
// comes before the entry that points at it, exits before classifiers; and on the way down
// classifiers go first, exits last.

import {
  AGGREGATE_ID_NONE,
  aggregatePage,
  isSameFrameOverhead,
  type AggregateConfig,
  type FrameOverhead,
  type HostInterface,
} from '../wire/aggregate.ts';
import {
  hasOurRoot,
  planExitQdiscs,
  type ForeignQdisc,
  type ObservedExit,
  type QdiscStep,
} from './holder-qdiscs.ts';
import type { ProgramName } from '../wire/datapath-names.ts';
import {
  isAt,
  nameOfPlace,
  placeNamed,
  type HookName,
  type Occupant,
  type Place,
} from '../wire/hook-place.ts';
import { aggregateIdsOf, type Orphan } from './aggregate-ids.ts';
import { exemptionLists, type Aggregates } from './aggregates.ts';
import { digestOf } from './exemptions.ts';
import { policyAt } from './former-plugin.ts';
import { toPass, type InFront } from './in-front.ts';
import {
  interfaceOfEntry,
  routingEntries,
  routingKeyOf,
  type RoutingEntry,
} from './host-routing.ts';
import { isUpper, type Exit } from './exits.ts';
import { planOffload, type DesiredOffload, type ObservedOffload, type OffloadStep } from './gso.ts';
import {
  policingSteps,
  type DesiredPolicing,
  type PolicingStanding,
  type PolicingStep,
} from './policing.ts';
import {
  hostInterfaceIndexesOf,
  hostInterfacesOf,
  type AttachmentRecord,
  type ExitRecord,
} from './records.ts';

export interface Desired extends DesiredPolicing {
  readonly attachments: readonly AttachmentRecord[];
  /** Those that the attachments name, and that others name which are in question. */
  readonly aggregates: Aggregates;
  /** Exits that must enforce egress caps; empty when no attachment has one. */
  readonly exits: readonly Exit[];
  /**
   * Exits on which packets to pods with host routing are taken in; empty when no attachment has it.
   */
  readonly arrivals: readonly number[];
  readonly foreignQdisc: ForeignQdisc;
  /** The node's list of exempt addresses. */
  readonly exempt: readonly string[];
  /** Devices whose caps are of attachments that nothing is known of: left as they are. */
  readonly orphans?: readonly Orphan[];
  /** Pods' interfaces whose segment offload is to follow their caps now. */
  readonly offload?: readonly DesiredOffload[];
  /** Places where somebody insists on standing before podpace's program: it stays where it is. */
  readonly contested?: ReadonlySet<string>;
}

function isOrphan({ orphans = [] }: Desired, ifindex: number): boolean {
  return orphans.some((orphan) => orphan.ifindex === ifindex);
}

/** Whether something holds packets at this device for an attachment that nothing is known of. */
function isOrphanHolder({ orphans = [] }: Pick<Desired, 'orphans'>, ifindex: number): boolean {
  return orphans.some(
    (orphan) => orphan.ifindex === ifindex && orphan.ingressId !== AGGREGATE_ID_NONE,
  );
}

/**
 * What the kernel holds, of the devices and attachments in question only: a plan says nothing about
 * any other. Where no device was looked at it is a plan of the maps alone.
 */
export interface Observed {
  /** Pages that are there, of those that the attachments' aggregates stand in. */
  readonly pages: ReadonlySet<number>;
  /**
   * Of the aggregates in question, and of all that are in use where the whole node was looked at; a
   * rate of 0 is an entry that is not in use.
   */
  readonly configs: ReadonlyMap<number, AggregateConfig>;
  readonly hostInterfaces: ReadonlyMap<number, HostInterface>;
  /** Of the devices in question. */
  readonly overheads: ReadonlyMap<number, FrameOverhead>;
  /** What stands where the node's sockets take packets. */
  readonly policing?: PolicingStanding;
  /** Whether the program behind ingress caps stands where `deliver` goes on. */
  readonly goesOnInReceive: boolean;
  /**
   * Digests of the lists of exempt addresses that have entries: the node's, those of the
   * attachments' aggregates.
   */
  readonly exemptions: ReadonlyMap<number, string>;
  /**
   * Of host routing, those that are of the devices in question or of the attachments' addresses.
   */
  readonly routing: readonly RoutingEntry[];
  /**
   * Every exit candidate and every host interface of an attachment, by index; a vanished one is
   * absent.
   */
  readonly devices: ReadonlyMap<number, ObservedExit>;
  /**
   * Which of our current programs stands at a place; `stale` is one of ours that is not the loaded
   * one.
   */
  readonly programs: ReadonlyMap<string, ProgramName | 'stale'>;
  /** Places where a link of podpace's has ended and its pin is left. */
  readonly deadPins?: ReadonlySet<string>;
  /** Places where somebody else comes before it. */
  readonly inFront: ReadonlyMap<string, InFront>;
  readonly exitRecords: readonly ExitRecord[];
  /**
   * Of those that the desired state speaks of and that are there, by the host interface's index.
   */
  readonly offload?: ReadonlyMap<number, ObservedOffload | Error>;
}

export interface RestoreStep {
  readonly kind: 'restore-root';
  readonly exit: ExitRecord;
  readonly isStillOurs: boolean;
  /** What stood there before is not known. */
  readonly isRecordLost?: true;
}

export type Step =
  | QdiscStep
  | RestoreStep
  | PolicingStep
  | OffloadStep
  | { readonly kind: 'make-page' | 'remove-page'; readonly page: number }
  | { readonly kind: 'clear-aggregate'; readonly aggregateId: number }
  | { readonly kind: 'write-continuation' }
  | { readonly kind: 'write-exemptions'; readonly list: number; readonly texts: readonly string[] }
  | {
      readonly kind: 'write-config';
      readonly aggregateId: number;
      readonly config: AggregateConfig;
    }
  | {
      readonly kind: 'write-host-interface';
      readonly ifindex: number;
      readonly entry: HostInterface;
    }
  | { readonly kind: 'remove-host-interface'; readonly ifindex: number }
  | { readonly kind: 'write-overhead'; readonly ifindex: number; readonly overhead: FrameOverhead }
  | { readonly kind: 'remove-overhead'; readonly ifindex: number }
  | { readonly kind: 'write-routing'; readonly ifindex: number; readonly entry: RoutingEntry }
  | { readonly kind: 'remove-routing'; readonly ifindex: number; readonly entry: RoutingEntry }
  | ({ readonly kind: 'attach'; readonly program: ProgramName } & Place)
  | ({
      readonly kind: 'come-first';
      readonly program: ProgramName;
      /** Who stands in front now. */
      readonly passed: readonly Occupant[];
    } & Place)
  | ({ readonly kind: 'detach' } & Place)
  | ({ readonly kind: 'drop-pin' } & Place);

export interface Plan {
  readonly steps: readonly Step[];
  /** By device index: why caps cannot be enforced there. */
  readonly problems: ReadonlyMap<number, string>;
}

/**
 * The host interfaces of all attachments, each with the aggregates that it shares with others of
 * its own.
 */
function eachWay({ attachments }: Pick<Desired, 'attachments'>) {
  return attachments.flatMap((attachment) => {
    const { egressAggregateId, ingressAggregateId } = attachment;
    return hostInterfacesOf(attachment).map((one) => ({
      egressAggregateId,
      ingressAggregateId,
      one,
    }));
  });
}

/** Every program that must stand somewhere. */
export function desiredPrograms(
  desired: Pick<Desired, 'attachments' | 'exits' | 'arrivals' | 'orphans' | 'policesNode'>,
): Map<string, ProgramName> {
  const programs = new Map<string, ProgramName>();
  for (const exit of desired.exits)
    programs.set(
      nameOfPlace({ ifindex: exit.ifindex, hook: 'egress' }),
      isUpper(exit) ? 'departUpper' : 'depart',
    );
  for (const ifindex of desired.arrivals)
    programs.set(nameOfPlace({ ifindex, hook: 'ingressLast' }), 'arrive');
  for (const { egressAggregateId, ingressAggregateId, one } of eachWay(desired)) {
    const { hostInterfaceIndex: ifindex, kind, hostRouting } = one;
    // The far end of a netkit can be reached from here, and a packet that is redirected there never
    // comes up on this one.
    const isNetkit = kind === 'netkit';
    if (egressAggregateId !== undefined) {
      programs.set(nameOfPlace({ ifindex, hook: isNetkit ? 'peer' : 'ingress' }), 'classify');
    }
    if (hostRouting !== undefined) {
      programs.set(
        nameOfPlace({ ifindex, hook: isNetkit ? 'peerLast' : 'ingressLast' }),
        'forward',
      );
    }
    const egress = nameOfPlace({ ifindex, hook: 'egress' });
    // It holds what the node answers to a pod that is policed as well.
    const holdsAnswers = egressAggregateId !== undefined && programs.get(egress) === 'depart';
    if (ingressAggregateId !== undefined || (desired.policesNode === true && holdsAnswers)) {
      programs.set(egress, 'deliver');
    }
  }
  // What stands there is a pod's own, not an exit's.
  for (const { ifindex } of desired.orphans ?? [])
    if (isOrphanHolder(desired, ifindex)) programs.delete(nameOfPlace({ ifindex, hook: 'egress' }));
  return programs;
}

/** The map entry of each of an attachment's host interfaces. */
export function hostInterfaceOf(attachment: AttachmentRecord): HostInterface {
  const { egressAggregateId, ingressAggregateId } = attachment;
  return {
    egressId: egressAggregateId ?? AGGREGATE_ID_NONE,
    ingressId: ingressAggregateId ?? AGGREGATE_ID_NONE,
  };
}

/**
 * Devices that must hold packets until their departure: those of the exits, and host interfaces
 * with an ingress cap.
 */
export function shapedDevices(desired: Desired): Set<number> {
  const ingress = desired.attachments.filter(
    ({ ingressAggregateId }) => ingressAggregateId !== undefined,
  );
  const holders = desired.exits.flatMap((exit) => exit.holders);
  return new Set([...holders, ...ingress.flatMap(hostInterfaceIndexesOf)]);
}

function isSameConfig(a: AggregateConfig | undefined, b: AggregateConfig): boolean {
  if (a === undefined) return false;
  return (Object.keys(b) as (keyof AggregateConfig)[]).every((name) => a[name] === b[name]);
}

/** Pages that the state of the aggregates stands in. */
export function desiredPages({ aggregates }: Pick<Desired, 'aggregates'>): Set<number> {
  return new Set([...aggregates.keys()].map(aggregatePage));
}

export type PageStep = Step & { readonly kind: 'make-page' | 'remove-page' };

/** From the pages that are there to those that are to be. */
export function planPages(wanted: ReadonlySet<number>, there: ReadonlySet<number>): PageStep[] {
  const missing = [...wanted].filter((page) => !there.has(page));
  const left = [...there].filter((page) => !wanted.has(page));
  return [
    ...missing.map((page): PageStep => ({ kind: 'make-page', page })),
    ...left.map((page): PageStep => ({ kind: 'remove-page', page })),
  ];
}

/** Whoever has an ingress cap needs the program behind `deliver`. */
function continuationSteps({ attachments }: Desired, { goesOnInReceive }: Observed): Step[] {
  const isNeeded = attachments.some(({ ingressAggregateId }) => ingressAggregateId !== undefined);
  return isNeeded && !goesOnInReceive ? [{ kind: 'write-continuation' }] : [];
}

/** Lists of exempt addresses that are not as they have to be. */
function exemptionSteps(desired: Desired, { exemptions }: Observed): Step[] {
  return [...exemptionLists(desired)]
    .filter(([list, texts]) => exemptions.get(list) !== digestOf(texts))
    .map(([list, texts]) => ({ kind: 'write-exemptions', list, texts }));
}

/** Lists of exempt addresses that are nobody's. */
function exemptionOrphanSteps(desired: Desired, { exemptions }: Observed): Step[] {
  const wanted = exemptionLists(desired);
  return [...exemptions.keys()]
    .filter((list) => !wanted.has(list))
    .map((list) => ({ kind: 'write-exemptions', list, texts: [] }));
}

/** A new one is emptied, whatever its elements held, before it has its configuration. */
function aggregateSteps({ aggregates }: Desired, { configs }: Observed): Step[] {
  return [...aggregates.values()].flatMap(({ id: aggregateId, config, isNew }): Step[] => {
    if (isSameConfig(configs.get(aggregateId), config)) return [];
    const write: Step = { kind: 'write-config', aggregateId, config };
    return isNew ? [{ kind: 'clear-aggregate', aggregateId }, write] : [write];
  });
}

/** Aggregates that nobody has any more. */
function aggregateOrphanSteps(
  { aggregates, orphans = [] }: Desired,
  { configs }: Observed,
): Step[] {
  const others = new Set(aggregateIdsOf(orphans));
  return [...configs]
    .filter(([id, { rateBytesPerSec }]) => rateBytesPerSec !== 0 && !others.has(id))
    .filter(([id]) => !aggregates.has(id))
    .map(([aggregateId]) => ({ kind: 'clear-aggregate', aggregateId }));
}

function hostInterfaceSteps(desired: Desired, observed: Observed): Step[] {
  return desired.attachments.flatMap((attachment): Step[] => {
    const entry = hostInterfaceOf(attachment);
    return hostInterfaceIndexesOf(attachment).flatMap((ifindex): Step[] => {
      const found = observed.hostInterfaces.get(ifindex);
      const isRight = found?.egressId === entry.egressId && found.ingressId === entry.ingressId;
      return isRight ? [] : [{ kind: 'write-host-interface', ifindex, entry }];
    });
  });
}

function overheadSteps(desired: Desired, observed: Observed): Step[] {
  return desired.exits.flatMap(({ ifindex, overhead }): Step[] => {
    const found = observed.overheads.get(ifindex);
    if (overhead === undefined || (found !== undefined && isSameFrameOverhead(found, overhead)))
      return [];
    return [{ kind: 'write-overhead', ifindex, overhead }];
  });
}

/** Entries of devices that are no exits any more. */
function overheadOrphanSteps(desired: Desired, observed: Observed): Step[] {
  const used = new Set(
    desired.exits.flatMap(({ ifindex, overhead }) => (overhead === undefined ? [] : [ifindex])),
  );
  return [...observed.overheads.keys()]
    .filter((ifindex) => !used.has(ifindex))
    .map((ifindex) => ({ kind: 'remove-overhead', ifindex }));
}

function routingSteps(desired: Desired, observed: Observed): Step[] {
  const found = new Map(observed.routing.map((entry) => [routingKeyOf(entry), entry.value]));
  return desired.attachments.flatMap((attachment) =>
    routingEntries(attachment)
      .filter((entry) => found.get(routingKeyOf(entry))?.equals(entry.value) !== true)
      .map((entry): Step => ({ kind: 'write-routing', ifindex: interfaceOfEntry(entry), entry })),
  );
}

/** Entries of host routing that no attachment has any more. */
function routingOrphanSteps(desired: Desired, observed: Observed): Step[] {
  const wanted = new Set(desired.attachments.flatMap(routingEntries).map(routingKeyOf));
  return observed.routing
    .filter((entry) => !wanted.has(routingKeyOf(entry)))
    .filter((entry) => !isOrphan(desired, interfaceOfEntry(entry)))
    .map((entry) => ({ kind: 'remove-routing', ifindex: interfaceOfEntry(entry), entry }));
}

/** Hooks in the order in which programs come: what holds packets before what sends them there. */
const HOOK_ORDER: readonly HookName[] = ['egress', 'ingress', 'peer', 'ingressLast', 'peerLast'];

function attachSteps(
  { contested }: Desired,
  programs: ReadonlyMap<string, ProgramName>,
  observed: Observed,
  hook: HookName,
): Step[] {
  return [...programs].flatMap(([place, program]): Step[] => {
    if (!isAt(place, hook)) return [];
    const point = placeNamed(place);
    if (!observed.devices.has(point.ifindex)) return [];
    const passed = toPass(place, observed.inFront, contested);
    if (passed.length > 0) return [{ kind: 'come-first', program, ...point, passed }];
    return observed.programs.get(place) === program ? [] : [{ kind: 'attach', program, ...point }];
  });
}

function detachSteps(
  desired: Desired,
  programs: ReadonlyMap<string, ProgramName>,
  observed: Observed,
  hook: HookName,
): Step[] {
  return [...observed.programs.keys()]
    .filter((place) => isAt(place, hook) && !programs.has(place))
    .map(placeNamed)
    .filter(({ ifindex }) => !isOrphan(desired, ifindex))
    .map((point) => ({ kind: 'detach', ...point }));
}

function pinSteps({ deadPins = new Set() }: Observed): Step[] {
  return [...deadPins].map((place) => ({ kind: 'drop-pin', ...placeNamed(place) }));
}

/** Host interface entries that no attachment owns any more. */
function orphanSteps(desired: Desired, observed: Observed): Step[] {
  const owned = new Set(desired.attachments.flatMap(hostInterfaceIndexesOf));
  return [...observed.hostInterfaces.keys()]
    .filter((ifindex) => !owned.has(ifindex) && !isOrphan(desired, ifindex))
    .map((ifindex) => ({ kind: 'remove-host-interface', ifindex }));
}

/**
 * Exits that need nothing any more. Where somebody else's root qdisc took the place of ours it
 * stays. A root of ours that no record tells of makes room for the kernel's default, unless a
 * program that stays at the device needs it.
 */
function restoreSteps(
  desired: Desired,
  shaped: ReadonlySet<number>,
  observed: Observed,
  stays: ReadonlySet<number>,
): Step[] {
  const recorded = new Set(observed.exitRecords.map(({ ifindex }) => ifindex));
  const lost = [...observed.devices.values()].filter(
    (device) => hasOurRoot(device) && !recorded.has(device.ifindex) && !stays.has(device.ifindex),
  );
  return [
    ...observed.exitRecords.map((exit): RestoreStep => {
      const device = observed.devices.get(exit.ifindex);
      return {
        kind: 'restore-root',
        exit,
        isStillOurs: device !== undefined && hasOurRoot(device),
      };
    }),
    ...lost.map(({ ifindex, name }): RestoreStep => ({
      ...{ kind: 'restore-root', exit: { ifindex, name, formerQdiscs: [] } },
      ...{ isStillOurs: true, isRecordLost: true },
    })),
  ].filter(({ exit: { ifindex } }) => !shaped.has(ifindex) && !isOrphanHolder(desired, ifindex));
}

/** Devices at whose egress a program of ours stays after some steps. */
function stayingAtEgress({ programs }: Observed, steps: readonly Step[]): Set<number> {
  const taken = new Set(
    steps.flatMap((step) => (step.kind === 'detach' ? [nameOfPlace(step)] : [])),
  );
  const staying = [...programs.keys()].filter((place) => !taken.has(place)).map(placeNamed);
  return new Set(staying.filter(({ hook }) => hook === 'egress').map(({ ifindex }) => ifindex));
}

/**
 * Everything that turns `observed` into `desired`. Steps for devices that are not there are left
 * out.
 */
export function plan(desired: Desired, observed: Observed): Plan {
  const programs = desiredPrograms(desired);
  const recorded = new Set(observed.exitRecords.map(({ ifindex }) => ifindex));
  const shaped = shapedDevices(desired);
  const problems = new Map<number, string>();
  const qdiscSteps: Step[] = [];
  for (const ifindex of shaped) {
    const device = observed.devices.get(ifindex);
    if (device === undefined) continue;
    const { steps, problem } = planExitQdiscs(
      device,
      recorded.has(ifindex),
      policyAt(desired, device),
    );
    qdiscSteps.push(...steps);
    if (problem !== undefined) problems.set(ifindex, problem);
  }
  // Without its qdisc a device would not hold packets, and the departure step would be a policer:
  // worse than nothing.
  for (const ifindex of problems.keys()) programs.delete(nameOfPlace({ ifindex, hook: 'egress' }));
  for (const { ifindex, holders } of desired.exits) {
    if (holders.some((holder) => problems.has(holder)))
      programs.delete(nameOfPlace({ ifindex, hook: 'egress' }));
  }
  const leaving = detachSteps(desired, programs, observed, 'egress');
  return {
    steps: [
      ...planPages(desiredPages(desired), observed.pages),
      ...continuationSteps(desired, observed),
      ...exemptionSteps(desired, observed),
      ...aggregateSteps(desired, observed),
      ...qdiscSteps,
      ...overheadSteps(desired, observed),
      ...hostInterfaceSteps(desired, observed),
      ...routingSteps(desired, observed),
      ...policingSteps(desired, observed),
      ...pinSteps(observed),
      ...HOOK_ORDER.flatMap((hook) => attachSteps(desired, programs, observed, hook)),
      ...HOOK_ORDER.slice(1)
        .toReversed()
        .flatMap((hook) => detachSteps(desired, programs, observed, hook)),
      ...routingOrphanSteps(desired, observed),
      ...orphanSteps(desired, observed),
      ...leaving,
      ...overheadOrphanSteps(desired, observed),
      ...restoreSteps(desired, shaped, observed, stayingAtEgress(observed, leaving)),
      ...exemptionOrphanSteps(desired, observed),
      ...planOffload(desired, observed),
      ...aggregateOrphanSteps(desired, observed),
    ],
    problems,
  };
}
