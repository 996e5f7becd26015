// Pods that the CNI bandwidth plugin has shaped and that run on after podpace took its place: what
// it left at their host interfaces, what is done about that, and what is told of it. Pure.

import type { Direction } from '../protocol/messages.ts';
import { FORMER_TBF_HANDLE, isFormerIfbName } from '../wire/bandwidth-plugin.ts';
import { TC_H_ROOT } from '../wire/tc-message.ts';
import type { Exit } from './exits.ts';
import type { ForeignQdisc, ObservedExit, QdiscPolicy } from './holder-qdiscs.ts';
import { hostInterfaceIndexesOf, type AttachmentRecord } from './records.ts';

/** Whether the root qdisc of a pod's host interface is the one by which the plugin shapes it. */
function hasFormerTbf({ qdiscs }: Pick<ObservedExit, 'qdiscs'>): boolean {
  return qdiscs.some(
    ({ parent, kind, handle }) =>
      parent === TC_H_ROOT && kind === 'tbf' && handle === FORMER_TBF_HANDLE,
  );
}

/** Directions in which the plugin shapes the pod of a host interface. */
function formerDirections(device: ObservedExit): Direction[] {
  const { redirects = [] } = device;
  const hasIfb = redirects.some(({ name, comesBack }) => comesBack && isFormerIfbName(name));
  return [
    ...(hasIfb ? (['egress'] as const) : []),
    ...(hasFormerTbf(device) ? (['ingress'] as const) : []),
  ];
}

/** Who is on a node. */
interface Parties {
  readonly attachments: readonly AttachmentRecord[];
  readonly exits: readonly Exit[];
}

function isOwn({ attachments }: Pick<Parties, 'attachments'>, ifindex: number): boolean {
  return attachments.some((record) => hostInterfaceIndexesOf(record).includes(ifindex));
}

/**
 * Whether a device is the host interface of a pod that has the plugin's TBF and no cap of podpace:
 * that is the pod's only cap, so it stays, even where shapers are to be replaced. Nothing holds
 * there what other pods send to this one.
 */
export function isLeftToFormer({ attachments, exits }: Parties, device: ObservedExit): boolean {
  const { ifindex } = device;
  return (
    hasFormerTbf(device) &&
    exits.some((exit) => exit.ifindex === ifindex && exit.role === 'pod') &&
    !isOwn({ attachments }, ifindex)
  );
}

/** What to do at a device with the qdisc that somebody configured. */
export function policyAt(
  { foreignQdisc, ...parties }: Parties & { readonly foreignQdisc: ForeignQdisc },
  device: ObservedExit,
): QdiscPolicy {
  if (isLeftToFormer(parties, device)) return 'former';
  const isShapedTwice = hasFormerTbf(device) && isOwn(parties, device.ifindex);
  return isShapedTwice && foreignQdisc === 'respect' ? 'former' : foreignQdisc;
}

/** So many pods are named; the rest is counted. */
const MAX_NAMED = 8;

/** What to know of pods that have the plugin's shaping and no cap of podpace. */
export function formerNotices({
  nodeExits,
  desired,
  observed,
}: {
  readonly nodeExits: readonly Exit[];
  readonly desired: Pick<Parties, 'attachments'>;
  readonly observed: { readonly devices: ReadonlyMap<number, ObservedExit> };
}): string[] {
  const own = new Set(desired.attachments.flatMap(hostInterfaceIndexesOf));
  const pods = nodeExits
    .filter(({ role, ifindex }) => role === 'pod' && !own.has(ifindex))
    .flatMap(({ ifindex, name }) => {
      const device = observed.devices.get(ifindex);
      const directions = device === undefined ? [] : formerDirections(device);
      return directions.length === 0 ? [] : [`${name} (${directions.join(', ')})`];
    });
  if (pods.length === 0) return [];
  const named = pods.slice(0, MAX_NAMED).join(', ');
  const rest = pods.length > MAX_NAMED ? ` and ${pods.length - MAX_NAMED} more` : '';
  return [
    `The CNI bandwidth plugin shapes pods that it has added: ${named}${rest}; they keep that until they are recreated`,
  ];
}
