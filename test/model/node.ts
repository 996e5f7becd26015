// A node in memory: what the steps of a plan do to what is observed. Used to prove properties of
// plans.

import { nameOfPlace } from '../../helper/wire/hook-place.ts';
import { TC_H_ROOT } from '../../helper/wire/tc-message.ts';
import { digestOf } from '../../helper/shaping/exemptions.ts';
import {
  DRAFT_FQ_OPTIONS,
  LEAF_FQ_OPTIONS,
  ROOT_HANDLE,
  type ObservedQdisc,
} from '../../helper/shaping/holder-qdiscs.ts';
import type { ObservedOffload } from '../../helper/shaping/gso.ts';
import { routingKeyOf, type RoutingEntry } from '../../helper/shaping/host-routing.ts';
import type { Observed, Step } from '../../helper/shaping/plan.ts';

type Devices = Observed['devices'];

function withQdiscs(
  devices: Devices,
  ifindex: number,
  change: (qdiscs: readonly ObservedQdisc[]) => ObservedQdisc[],
): Devices {
  const device = devices.get(ifindex);
  if (device === undefined) return devices;
  return new Map([...devices, [ifindex, { ...device, qdiscs: change(device.qdiscs) }]]);
}

function without<K, V>(map: ReadonlyMap<K, V>, key: K): Map<K, V> {
  return new Map([...map].filter(([candidate]) => candidate !== key));
}

function withoutEntry({ routing }: Observed, entry: RoutingEntry): RoutingEntry[] {
  return routing.filter((other) => routingKeyOf(other) !== routingKeyOf(entry));
}

function withOffload(
  node: Observed,
  hostInterfaceIndex: number,
  change: (found: ObservedOffload) => ObservedOffload,
): Observed {
  const found = node.offload?.get(hostInterfaceIndex);
  if (found === undefined || found instanceof Error) return node;
  return {
    ...node,
    offload: new Map([...(node.offload ?? []), [hostInterfaceIndex, change(found)]]),
  };
}

const ourFq = { kind: 'fq', options: '', fq: LEAF_FQ_OPTIONS };
const draftFq = { ...ourFq, fq: DRAFT_FQ_OPTIONS };

/** The node after one step. */
export function applyToModel(node: Observed, step: Step): Observed {
  switch (step.kind) {
    case 'make-page':
      return { ...node, pages: new Set([...node.pages, step.page]) };
    case 'remove-page':
      return { ...node, pages: new Set([...node.pages].filter((page) => page !== step.page)) };
    case 'clear-aggregate':
      return { ...node, configs: without(node.configs, step.aggregateId) };
    case 'police-node':
      return { ...node, policing: 'ours' };
    case 'free-node':
      return { ...node, policing: 'none' };
    case 'write-continuation':
      return { ...node, goesOnInReceive: true };
    case 'write-exemptions': {
      const others = without(node.exemptions, step.list);
      const digest = digestOf(step.texts);
      return { ...node, exemptions: digest === undefined ? others : others.set(step.list, digest) };
    }
    case 'keep-offload':
      return withOffload(node, step.end.hostInterfaceIndex, ({ gso: _former, ...found }) =>
        step.gso === undefined ? found : { ...found, gso: step.gso },
      );
    case 'limit-offload':
      return withOffload(node, step.end.hostInterfaceIndex, (found) => {
        const { gsoIpv4MaxSizeBytes: ipv4, ...limits } = step.limits;
        const former = found.limits.gsoIpv4MaxSizeBytes;
        const own = ipv4 ?? former;
        return {
          ...found,
          limits: own === undefined ? limits : { ...limits, gsoIpv4MaxSizeBytes: own },
        };
      });
    case 'write-config':
      return { ...node, configs: new Map([...node.configs, [step.aggregateId, step.config]]) };
    case 'write-host-interface':
      return {
        ...node,
        hostInterfaces: new Map([...node.hostInterfaces, [step.ifindex, step.entry]]),
      };
    case 'remove-host-interface':
      return { ...node, hostInterfaces: without(node.hostInterfaces, step.ifindex) };
    case 'write-overhead':
      return { ...node, overheads: new Map([...node.overheads, [step.ifindex, step.overhead]]) };
    case 'remove-overhead':
      return { ...node, overheads: without(node.overheads, step.ifindex) };
    case 'write-routing':
      return { ...node, routing: [...withoutEntry(node, step.entry), step.entry] };
    case 'remove-routing':
      return { ...node, routing: withoutEntry(node, step.entry) };
    case 'come-first':
      return {
        ...node,
        programs: new Map([...node.programs, [nameOfPlace(step), step.program]]),
        inFront: without(node.inFront, nameOfPlace(step)),
      };
    case 'attach':
      return { ...node, programs: new Map([...node.programs, [nameOfPlace(step), step.program]]) };
    case 'detach':
      return { ...node, programs: without(node.programs, nameOfPlace(step)) };
    case 'drop-pin':
      return {
        ...node,
        deadPins: new Set([...(node.deadPins ?? [])].filter((pin) => pin !== nameOfPlace(step))),
      };
    case 'record-exit':
      return { ...node, exitRecords: [...node.exitRecords, step.exit] };
    case 'set-root': {
      const root = { handle: ROOT_HANDLE, parent: TC_H_ROOT };
      const qdisc =
        step.qdisc === 'fq' ? { ...root, ...ourFq } : { ...root, kind: 'mq', options: '' };
      return { ...node, devices: withQdiscs(node.devices, step.ifindex, () => [qdisc]) };
    }
    case 'set-leaf': {
      const fq = step.isDraft === true ? draftFq : ourFq;
      const leaf = { ...fq, handle: 0x8001_0000, parent: step.parent };
      const keep = (qdiscs: readonly ObservedQdisc[]) =>
        qdiscs.filter(({ parent }) => parent !== step.parent);
      return {
        ...node,
        devices: withQdiscs(node.devices, step.ifindex, (qdiscs) => [...keep(qdiscs), leaf]),
      };
    }
    case 'restore-root': {
      const exitRecords = node.exitRecords.filter(({ ifindex }) => ifindex !== step.exit.ifindex);
      if (!step.isStillOurs) return { ...node, exitRecords };
      const noqueue = { kind: 'noqueue', handle: 0, parent: TC_H_ROOT, options: '' };
      const former = step.exit.formerQdiscs.length === 0 ? [noqueue] : [...step.exit.formerQdiscs];
      return {
        ...node,
        exitRecords,
        devices: withQdiscs(node.devices, step.exit.ifindex, () => former),
      };
    }
  }
}
