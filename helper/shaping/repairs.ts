// What to tell of what was not as the helper had left it: entries of maps, devices, exits. Pure.

import { nameOf } from '../protocol/pod-names.ts';
import { addedBytes, isSameFrameOverhead, type AggregateConfig } from '../wire/aggregate.ts';
import { NODE_LIST } from '../wire/exemption.ts';
import { aggregatesOf } from './aggregate-ids.ts';
import type { Exit } from './exits.ts';
import type { Desired, Step } from './plan.ts';
import type { Looked } from './problems.ts';
import { hostInterfacesOf, ownerOf, ownersOf } from './records.ts';
import { formatDuration, formatRate } from './units.ts';

/** What was done to devices, a sentence for each device. */
export function changesOf(steps: readonly Step[], { observed, desired }: Looked): string[] {
  const words = new Map<number, Set<string>>();
  for (const step of steps) {
    const what = WORDS[step.kind];
    if (what === undefined || !('ifindex' in step)) continue;
    words.set(step.ifindex, (words.get(step.ifindex) ?? new Set()).add(what));
  }
  const exits = knownExits(desired.exits);
  const owners = ownersOf(desired.attachments);
  return [...words].map(([ifindex, own]) => {
    const exit = exits.get(ifindex);
    const device = observed.devices.get(ifindex)?.name ?? `interface ${ifindex}`;
    const owner = owners.get(ifindex);
    const name = owner === undefined ? device : `${device} of ${nameOf(owner)}`;
    return `${name}${exit === undefined ? '' : ` (${exit.role}, ${exit.kind})`} has changed: ${[...own].join(', ')}`;
  });
}

/** Exits by index. */
export type KnownExits = ReadonlyMap<number, Exit>;

export function knownExits(exits: readonly Exit[]): KnownExits {
  return new Map(exits.map((exit) => [exit.ifindex, exit]));
}

/**
 * Of the ways into pods nothing is told but a new name: there may be a thousand, and they come and
 * go with the pods.
 */
function isTold(exit: Exit | undefined): exit is Exit {
  return exit !== undefined && exit.role !== 'pod';
}

/**
 * Whether a step writes an overhead that an exit has had before: what stood there was somebody's
 * damage, and no former figure.
 */
export function isSameAsBefore(step: Step, before: KnownExits): boolean {
  if (step.kind !== 'write-overhead') return true;
  const former = before.get(step.ifindex)?.overhead;
  return former !== undefined && isSameFrameOverhead(former, step.overhead);
}

function addedBytesOf({ overhead }: Exit): number {
  return overhead === undefined ? 0 : addedBytes(overhead);
}

/** Which exits have come, gone or got another name or overhead, a sentence for each. */
export function exitChangesOf(before: KnownExits, after: KnownExits): string[] {
  const gone = [...before.values()].filter(
    (exit) => isTold(exit) && !isTold(after.get(exit.ifindex)),
  );
  const come = [...after.values()].filter(
    (exit) => isTold(exit) && !isTold(before.get(exit.ifindex)),
  );
  const renamed = [...after.values()].flatMap(({ ifindex, name }) => {
    const former = before.get(ifindex)?.name ?? name;
    return former === name ? [] : [`${former} is called ${name} now`];
  });
  const recharged = [...after.values()].flatMap((exit) => {
    const former = before.get(exit.ifindex);
    const bytes = addedBytesOf(exit);
    if (!isTold(exit) || former === undefined || addedBytesOf(former) === bytes) return [];
    return [`What leaves by ${exit.name} is charged ${bytes} bytes a packet for headers below now`];
  });
  return [
    ...gone.map(({ name, role, kind }) => `${name} (${role}, ${kind}) is no way out any more`),
    ...renamed,
    ...come.map(({ name, role, kind }) => `${name} (${role}, ${kind}) is a way out now`),
    ...recharged,
  ];
}

const WORDS: Readonly<Partial<Record<Step['kind'], string>>> = {
  'set-root': 'put its qdiscs in place',
  'set-leaf': 'put its qdiscs in place',
  attach: 'put its program in place',
  detach: 'took its program off',
};

function configText(config: AggregateConfig): string {
  const { rateBytesPerSec, horizonNs, idleCreditNs, sparseCreditNs, targetNs, intervalNs } = config;
  return [
    `rate ${formatRate(rateBytesPerSec * 8)}`,
    `horizon ${formatDuration(horizonNs)}`,
    `burst ${formatDuration(idleCreditNs)} + ${formatDuration(sparseCreditNs)}`,
    targetNs === 0 ? 'AQM off' : `AQM ${formatDuration(targetNs)} in ${formatDuration(intervalNs)}`,
  ].join(', ');
}

/** An exit that a step puts back, as people are told of it; undefined of another step. */
export function restoredOf(step: Step): string | undefined {
  if (step.kind !== 'restore-root') return undefined;
  return step.isRecordLost
    ? `${step.exit.name} (its record was lost: the default)`
    : step.exit.name;
}

function exemptionRepair(list: number, { aggregates }: Desired): string {
  const [member] = aggregates.get(list)?.members ?? [];
  const ofAggregate = member === undefined ? `aggregate ${list}` : nameOf(member.key);
  const whose = list === NODE_LIST ? 'the node' : ofAggregate;
  return `The exempt addresses of ${whose} in the map exemptions were not its own: wrote them again`;
}

/**
 * The warning that belongs to a step which reconciling found necessary; undefined for steps on
 * anything but maps.
 */
export function repairOf(step: Step, { observed, desired }: Looked): string | undefined {
  const { attachments } = desired;
  if (step.kind === 'make-page')
    return `The state of aggregates ${aggregatesOf(step.page)} was gone: made room for it again`;
  if (step.kind === 'restore-root' && step.isRecordLost) return `restored ${restoredOf(step)}`;
  if (step.kind === 'police-node')
    return 'The program that polices what pods send to the node itself was gone: put it there again';
  if (step.kind === 'write-continuation')
    return 'The program behind ingress caps was gone from the map continuations: put it there again';
  if (step.kind === 'write-overhead')
    return `The overhead of the exit with index ${step.ifindex} was wrong: wrote ${addedBytes(step.overhead)} bytes a packet`;
  if (step.kind === 'write-routing') {
    const record = ownerOf(attachments, step.ifindex);
    return record && `An entry of host routing of ${nameOf(record)} was wrong: wrote it again`;
  }
  if (step.kind === 'write-exemptions') return exemptionRepair(step.list, desired);
  if (step.kind === 'write-config') {
    const [member] = desired.aggregates.get(step.aggregateId)?.members ?? [];
    if (member === undefined) return undefined;
    const found = observed.configs.get(step.aggregateId);
    return (
      `The map entry of the ${member.direction} cap of ${nameOf(member.key)} was wrong: ` +
      `found ${found === undefined ? 'nothing' : configText(found)}; wrote ${configText(step.config)}`
    );
  }
  if (step.kind === 'write-host-interface') {
    const record = ownerOf(attachments, step.ifindex);
    const own =
      record && hostInterfacesOf(record).find((one) => one.hostInterfaceIndex === step.ifindex);
    if (record === undefined || own === undefined) return undefined;
    const found = observed.hostInterfaces.get(step.ifindex);
    const entry =
      found === undefined ? 'nothing' : `aggregates ${found.egressId} and ${found.ingressId}`;
    const { egressId, ingressId } = step.entry;
    return `The map entry of ${own.hostInterface} of ${nameOf(record)} was wrong: found ${entry}; wrote aggregates ${egressId} and ${ingressId}`;
  }
  return undefined;
}
