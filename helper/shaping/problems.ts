// What a plan that is not empty means to an operator: each outstanding step is something that is
// missing now, and concerns the attachments that judgement.ts says. Pure.

import { addedBytes, aggregatePage, type HostInterface } from '../wire/aggregate.ts';
import { remedies } from '../protocol/remedies.ts';
import { nameOf as nameOfAttachment, podOf } from '../protocol/pod-names.ts';
import { NODE_LIST } from '../wire/exemption.ts';
import { aggregatesOf } from './aggregate-ids.ts';
import { detourNotes, redirectProblems, xdpNotes } from './bypasses.ts';
import { isLeftToFormer, policyAt } from './former-plugin.ts';
import { qdiscProblems } from './holder-qdiscs.ts';
import { nameOfOccupants } from './in-front.ts';
import type { ProgramName } from '../wire/datapath-names.ts';
import { nameOfPlace, placeNamed, type Occupant } from '../wire/hook-place.ts';
import type { ProblemCode } from '../protocol/problem-codes.ts';
import { policingNotes } from './policing.ts';
import { cappedDirections, type Problem, type Scope } from './judgement.ts';
import {
  desiredPrograms,
  shapedDevices,
  type Desired,
  type Observed,
  type Plan,
  type Step,
} from './plan.ts';
import { hostInterfaceIndexesOf, type AttachmentRecord } from './records.ts';

const ROLES: Readonly<Record<ProgramName, string>> = {
  classify: 'classifier',
  depart: 'departure program',
  departUpper: 'departure program',
  deliver: 'departure program for ingress',
  forward: 'host routing out of the pod',
  arrive: 'host routing into pods',
};

/** The station of each in a code. */
const STATIONS = {
  classify: 'classifier',
  depart: 'departure',
  departUpper: 'departure',
  deliver: 'delivery',
  forward: 'host-routing',
  arrive: 'host-routing',
} as const satisfies Readonly<Record<ProgramName, string>>;

function nameOf(observed: Observed, ifindex: number): string {
  return observed.devices.get(ifindex)?.name ?? `the interface with index ${ifindex}`;
}

/** Behind the name of a pod's interface: whose it is, where that is known. */
function ofPod(record: AttachmentRecord): string {
  const pod = podOf(record);
  return pod === undefined ? '' : ` of ${pod}`;
}

/** Whose list of exempt addresses it is. */
function whoseList(list: number): string {
  return list === NODE_LIST ? 'of the node' : `of aggregate ${list}`;
}

function placeOf(step: Step, observed: Observed): string {
  if ('ifindex' in step) return nameOf(observed, step.ifindex);
  if (step.kind === 'write-config') return `aggregate ${step.aggregateId}`;
  return step.kind === 'make-page' ? `aggregates ${aggregatesOf(step.page)}` : 'node';
}

function cappedIngress(record: AttachmentRecord | undefined): Scope[] {
  return cappedDirections(record).filter(({ direction }) => direction === 'ingress');
}

/** Its kind, what it is, and whom it concerns. */
type Fault = readonly [code: ProblemCode, text: string, scopes: readonly Scope[]];

/** Steps that write one entry of a map. */
type EntryKind =
  'write-exemptions' | 'write-config' | 'write-host-interface' | 'write-routing' | 'write-overhead';

/** Who is who on the node, by index: each question takes one look. */
class Parties {
  readonly #desired: Desired;
  readonly #observed: Observed;
  readonly #owners = new Map<number, AttachmentRecord>();
  readonly #exits: ReadonlySet<number>;
  readonly #holders: ReadonlySet<number>;
  /** Holders of other exits than themselves. */
  readonly #below: ReadonlySet<number>;

  constructor(desired: Desired, observed: Observed) {
    this.#desired = desired;
    this.#observed = observed;
    this.#exits = new Set(desired.exits.map(({ ifindex }) => ifindex));
    this.#holders = new Set(desired.exits.flatMap(({ holders }) => holders));
    this.#below = new Set(
      desired.exits.flatMap(({ ifindex, holders }) => holders.filter((each) => each !== ifindex)),
    );
    for (const record of desired.attachments)
      for (const ifindex of hostInterfaceIndexesOf(record)) this.#owners.set(ifindex, record);
  }

  /** A device for people: a host interface with its pod, where that has a name. */
  nameOf(ifindex: number): string {
    const owner = this.#owners.get(ifindex);
    return `${nameOf(this.#observed, ifindex)}${owner === undefined ? '' : ofPod(owner)}`;
  }

  /**
   * What is wrong while a step is outstanding; undefined for what is left over and disturbs no cap,
   * and for qdiscs: they are told of per device.
   */
  problemOf(step: Step): Problem | undefined {
    const fault = this.#faultOf(step);
    if (fault === undefined) return undefined;
    const [code, text, scopes] = fault;
    return { code, text, place: placeOf(step, this.#observed), scopes };
  }

  #faultOf(step: Step): Fault | undefined {
    switch (step.kind) {
      case 'attach':
        return this.#programFault(step);
      case 'make-page':
        return [
          'state-missing',
          `The state of aggregates ${aggregatesOf(step.page)} is gone: they have their caps, and neither AQM nor a lane for sparse flows`,
          [...this.#desired.aggregates.values()]
            .filter(({ id }) => aggregatePage(id) === step.page)
            .flatMap(({ members }) => members),
        ];
      case 'write-continuation':
        return [
          'continuation-missing',
          'The program behind ingress caps is gone from the map continuations: they are held by a plain clock',
          this.#desired.attachments.flatMap(cappedIngress),
        ];
      case 'police-node':
        return [
          'policing-missing',
          'What pods send to the node itself is not capped: the program is missing where sockets take packets',
          [{ of: 'senders' }],
        ];
      case 'write-exemptions':
      case 'write-config':
      case 'write-host-interface':
      case 'write-routing':
      case 'write-overhead':
        return this.#entryFault(step);
      case 'set-root':
      case 'set-leaf':
      case 'record-exit':
      case 'restore-root':
      case 'free-node':
      case 'remove-host-interface':
      case 'remove-overhead':
      case 'remove-routing':
      case 'remove-page':
      case 'clear-aggregate':
      case 'keep-offload':
      case 'limit-offload':
      case 'come-first':
      case 'detach':
      case 'drop-pin':
        return undefined;
    }
  }

  #programFault(step: Extract<Step, { readonly kind: 'attach' }>): Fault {
    const place = `${this.nameOf(step.ifindex)} (${step.hook})`;
    const isStale = this.#observed.programs.get(nameOfPlace(step)) === 'stale';
    const fault = isStale ? `on ${place} is of another podpaced` : `is missing on ${place}`;
    return [
      `${STATIONS[step.program]}-${isStale ? 'stale' : 'missing'}`,
      `The ${ROLES[step.program]} ${fault}`,
      this.byProgram(step.program, step.ifindex),
    ];
  }

  /** An entry of a map that is not there, or is another. */
  #entryFault(step: Extract<Step, { readonly kind: EntryKind }>): Fault {
    switch (step.kind) {
      case 'write-exemptions':
        return [
          'exemptions-wrong',
          `The exempt addresses ${whoseList(step.list)} are not those in the map exemptions`,
          this.#byExemptions(step.list, step.texts),
        ];
      case 'write-config':
        return [
          'config-wrong',
          `Aggregate ${step.aggregateId} has no configuration or another than its cap`,
          this.#membersOf(step.aggregateId),
        ];
      case 'write-host-interface':
        return [
          'host-interface-unknown',
          `${this.nameOf(step.ifindex)} is not known to the classifier`,
          this.#byEntry(step.ifindex, step.entry),
        ];
      case 'write-routing':
        return [
          'host-routing-entry',
          `${this.nameOf(step.ifindex)} has another entry of host routing than its pod's`,
          this.#owner(step.ifindex, step.entry.map === 'routedPods' ? 'egress' : 'ingress'),
        ];
      case 'write-overhead':
        return [
          'overhead-wrong',
          `${this.nameOf(step.ifindex)} has another overhead than ${addedBytes(step.overhead)} bytes a packet`,
          [this.#sendersBy(step.ifindex)],
        ];
    }
  }

  /** The directions of a pod for which its entry is not as it has to be. */
  #byEntry(ifindex: number, { egressId, ingressId }: HostInterface): Scope[] {
    const found = this.#observed.hostInterfaces.get(ifindex);
    return cappedDirections(this.#owners.get(ifindex)).filter(({ direction }) =>
      direction === 'egress' ? found?.egressId !== egressId : found?.ingressId !== ingressId,
    );
  }

  /**
   * Whom it concerns that a device does not hold packets as it has to. `isRefused`: its qdisc is
   * somebody's and stays, so exits above it have no program, also for what leaves by their other
   * devices.
   */
  concernedByQdisc(ifindex: number, isRefused: boolean): Scope[] {
    const receiving = cappedIngress(this.#owners.get(ifindex));
    if (!this.#holders.has(ifindex)) return receiving;
    const isAnyonesWay = isRefused && this.#below.has(ifindex);
    return [...receiving, isAnyonesWay ? { of: 'senders' } : this.#sendersBy(ifindex)];
  }

  /**
   * Entries of a list that should be empty are not looked up by anybody: see
   * AggregateConfig.exemptions.
   */
  #byExemptions(list: number, texts: readonly string[]): Scope[] {
    if (texts.length === 0) return [];
    if (list === NODE_LIST) return this.#desired.attachments.flatMap(cappedDirections);
    return this.#membersOf(list);
  }

  #membersOf(aggregateId: number): Scope[] {
    return [...(this.#desired.aggregates.get(aggregateId)?.members ?? [])];
  }

  /** Whom it concerns that a program is not there, or does not see every packet. */
  byProgram(program: ProgramName, ifindex: number): Scope[] {
    switch (program) {
      case 'classify':
      case 'forward':
        return this.#owner(ifindex, 'egress');
      case 'arrive':
        return this.#desired.attachments
          .filter(({ hostRouting }) => hostRouting !== undefined)
          .map((key) => ({ of: 'attachment', key, direction: 'ingress' }));
      case 'deliver': {
        const receiver = cappedIngress(this.#owners.get(ifindex));
        return this.#exits.has(ifindex) ? [...receiver, this.#sendersBy(ifindex)] : receiver;
      }
      case 'depart':
      case 'departUpper':
        return [this.#sendersBy(ifindex)];
    }
  }

  #owner(ifindex: number, direction: 'egress' | 'ingress'): Scope[] {
    const key = this.#owners.get(ifindex);
    return key === undefined ? [] : [{ of: 'attachment', key, direction }];
  }

  /** All that send by a device: its owner does not. */
  #sendersBy(ifindex: number): Scope {
    const except = this.#owners.get(ifindex);
    return { of: 'senders', ...(except !== undefined && { except }) };
  }
}

function remedyFor(occupants: readonly Occupant[], device: string, hook: string): string {
  const filter = occupants.find((occupant) => occupant.kind === 'filter');
  return remedies.inFront(device, hook, filter?.priority);
}

/** Programs that may not see every packet, since others come before them. */
function behindOthers({ desired, observed }: Looked, parties: Parties): Problem[] {
  const programs = desiredPrograms(desired);
  return [...observed.inFront].flatMap(([place, { occupants }]): Problem[] => {
    const program = programs.get(place);
    if (program === undefined) return [];
    const { ifindex, hook } = placeNamed(place);
    const device = nameOf(observed, ifindex);
    const text =
      `The ${ROLES[program]} on ${parties.nameOf(ifindex)} (${hook}) comes after ${nameOfOccupants(occupants)}, ` +
      `which may keep packets from it; ${remedyFor(occupants, device, hook)}`;
    return [
      {
        code: `${STATIONS[program]}-behind`,
        text,
        place: device,
        scopes: parties.byProgram(program, ifindex),
      },
    ];
  });
}

/** The node as it should be and as it is, and what has to be done: what problems follow from. */
export interface Looked {
  readonly desired: Desired;
  readonly observed: Observed;
  readonly plan: Plan;
}

/** What to tell of the ways out of a pod on which its caps are not held. */
export function unheldSentences(record: AttachmentRecord): string[] {
  return (record.unheld ?? []).map(
    ({ podInterface, reason }) =>
      `What ${nameOfAttachment(record)} sends and receives by its interface ${podInterface} is not held: ${reason}`,
  );
}

/**
 * Every reason why a cap is not enforced as it should be, with whom it concerns; empty when all
 * are.
 */
export function problemsOf({ desired, observed, plan }: Looked): Problem[] {
  const parties = new Parties(desired, observed);
  const missing = plan.steps.flatMap((step) => parties.problemOf(step) ?? []);
  const qdiscs = [...shapedDevices(desired)].flatMap((ifindex) => {
    const device = observed.devices.get(ifindex);
    if (device === undefined) return [];
    const scopes = isLeftToFormer(desired, device)
      ? ([{ of: 'node' }] as const)
      : parties.concernedByQdisc(ifindex, plan.problems.has(ifindex));
    // Somebody's own is left, anything else is put right.
    const code = plan.problems.has(ifindex) ? 'qdisc-foreign' : 'qdisc-replaced';
    return qdiscProblems(device, policyAt(desired, device)).map((text): Problem => ({
      code,
      text,
      place: nameOf(observed, ifindex),
      scopes,
    }));
  });
  const gone = desired.attachments
    .filter(
      (record) => !hostInterfaceIndexesOf(record).some((ifindex) => observed.devices.has(ifindex)),
    )
    .map((record) => ({
      code: 'host-interface-gone' as const,
      ...{ text: `${record.hostInterface}${ofPod(record)} is gone`, place: record.hostInterface },
      scopes: cappedDirections(record),
    }));
  const redirected = redirectProblems({ desired, observed }, (program, ifindex) =>
    parties.byProgram(program, ifindex),
  );
  const unheld = desired.attachments.flatMap((record) =>
    unheldSentences(record).map((text) => ({
      code: 'interface-unheld' as const,
      ...{ text, place: nameOfAttachment(record), scopes: cappedDirections(record) },
    })),
  );
  return [
    ...missing,
    ...behindOthers({ desired, observed, plan }, parties),
    ...redirected,
    ...qdiscs,
    ...gone,
    ...unheld,
  ];
}

/** What is to be known although nothing is known to be wrong, with whom it concerns. */
export function notesOf({ desired, observed }: Omit<Looked, 'plan'>): Problem[] {
  const parties = new Parties(desired, observed);
  const detours = detourNotes({ desired, observed }, (program, ifindex) =>
    parties.byProgram(program, ifindex),
  );
  return [...detours, ...xdpNotes({ desired, observed }), ...policingNotes(desired)];
}
