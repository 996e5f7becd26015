// What each feature of a kernel is to podpace: what for, what its lack costs, what to do. And by
// them alone whether caps can be held: 5.14 of one vendor has everything, 6.12 of another no fq.
// Pure.

import type { Attempt, Feature, KernelFeatures } from '../wire/kernel-features.ts';
import type { ProbeItem } from '../protocol/messages.ts';
import { remedies } from '../protocol/remedies.ts';
import type { Exit } from './exits.ts';

/** What is to be said of a feature besides whether it is there. */
interface Meaning {
  readonly name: string;
  readonly neededFor: string;
  readonly withoutIt: string;
  readonly remedy: string;
  /** Caps hold without it. */
  readonly isOptional?: true;
  /** Is not needed where this one is there. */
  readonly secondTo?: Feature;
}

const NO_START = 'podpaced does not start';

/** In the order in which they are told. */
const MEANINGS: Readonly<Record<Feature, Meaning>> = {
  bpf: {
    name: 'BPF',
    neededFor: 'to give packets their departure times',
    withoutIt: NO_START,
    remedy: remedies.kernelWith('CONFIG_BPF_SYSCALL'),
  },
  btf: {
    name: 'BTF',
    neededFor: "to tell the kernel where a map's values have their lock",
    withoutIt: NO_START,
    remedy: remedies.kernelWith('CONFIG_BPF_SYSCALL'),
  },
  spinLock: {
    name: 'BPF spin lock',
    neededFor: 'to keep one clock for a pod that sends on several processors',
    withoutIt: NO_START,
    remedy: remedies.newerKernel('6.1'),
  },
  mapInMap: {
    name: 'BPF map of maps',
    neededFor: 'to have state for as many pods as there are',
    withoutIt: NO_START,
    remedy: remedies.newerKernel('6.1'),
  },
  tailCall: {
    name: 'BPF tail calls',
    neededFor: 'to hold the caps of both ends of a packet between two pods',
    withoutIt: NO_START,
    remedy: remedies.newerKernel('6.1'),
  },
  stamp: {
    name: 'bpf_skb_set_tstamp',
    neededFor: 'to set departure times that last as far as fq',
    withoutIt: `${NO_START}, and congestionControl is refused`,
    remedy: remedies.newerKernel('6.1'),
  },
  redirect: {
    name: 'BPF redirects',
    neededFor:
      'to send packets past the IP stack with hostRouting (bpf_fib_lookup, bpf_redirect_neigh, bpf_redirect_peer)',
    withoutIt: `${NO_START}: its programs are loaded all or none`,
    remedy: remedies.newerKernel('6.1'),
  },
  batch: {
    name: 'BPF batch lookup',
    neededFor: 'to compare thousands of map entries with what they should be',
    withoutIt: NO_START,
    remedy: remedies.newerKernel('6.1'),
  },
  cgroupSkb: {
    name: 'BPF at cgroups',
    neededFor: 'to police what pods send to the node itself',
    withoutIt: 'what pods send to the node itself is not capped',
    remedy: remedies.kernelWith('CONFIG_CGROUP_BPF', 'CONFIG_DEBUG_INFO_BTF'),
    isOptional: true,
  },
  programs: {
    name: 'BPF programs',
    neededFor: 'to classify, delay and route packets',
    withoutIt: NO_START,
    remedy: remedies.newerKernel('6.1'),
  },
  tcx: {
    name: 'tcx',
    neededFor: 'to put programs at devices by links, which nobody takes away by removing a qdisc',
    withoutIt: 'programs are filters under clsact instead',
    remedy: remedies.newerKernel('6.6'),
    isOptional: true,
  },
  clsact: {
    name: 'clsact',
    neededFor: 'to put programs at devices where there is no tcx',
    withoutIt: NO_START,
    remedy: remedies.kernelWith('CONFIG_NET_SCH_INGRESS', 'CONFIG_NET_CLS_BPF'),
    secondTo: 'tcx',
  },
  fq: {
    name: 'sch_fq',
    neededFor: 'to hold packets until their departure',
    withoutIt: 'every cap is refused',
    remedy: remedies.missingQdisc('fq'),
  },
  mq: {
    name: 'sch_mq',
    neededFor: 'to have an fq for each queue of a device',
    withoutIt: 'caps are refused where a device has several queues',
    remedy: remedies.kernelWith('CONFIG_NET_SCHED'),
    isOptional: true,
  },
  netkit: {
    name: 'netkit',
    neededFor: 'to join pods with "device": "netkit"',
    withoutIt: 'pods are joined by veth: "auto" takes that, "netkit" is refused',
    remedy: remedies.kernelWith('CONFIG_NETKIT'),
    isOptional: true,
  },
  netnsCookie: {
    name: 'netns cookie',
    neededFor: "to know records of another network namespace's devices",
    withoutIt: 'they are known by index, name and kind of the device alone',
    remedy: remedies.newerKernel('6.1'),
    isOptional: true,
  },
};

function isNeeded({ isOptional, secondTo }: Meaning, found: KernelFeatures): boolean {
  return isOptional !== true && (secondTo === undefined || found[secondTo].there !== true);
}

function itemOf(meaning: Meaning, { there, why }: Attempt, needed: boolean): ProbeItem {
  const { name, neededFor, withoutIt, remedy } = meaning;
  const ok = there === true || !needed;
  return {
    ...{ name, ok },
    ...(there !== undefined && { there }),
    found: there === true ? 'works' : why,
    ...{ neededFor, withoutIt },
    ...(there === false && { remedy }),
  };
}

/** The items of `probe` and `status` that are of the kernel. */
export function judgeFeatures(found: KernelFeatures): ProbeItem[] {
  return Object.entries(MEANINGS).map(([feature, meaning]) =>
    itemOf(meaning, found[feature as Feature], isNeeded(meaning, found)),
  );
}

/**
 * Why podpaced cannot start on a kernel; undefined when it can. A module of fq may be loaded while
 * it runs: until then `status` says that caps are refused. What could not be tried is no reason.
 */
export function startRefusal(found: KernelFeatures): string | undefined {
  const { fq: _fq, ...rest } = MEANINGS;
  const lacking = Object.entries(rest).flatMap(([feature, meaning]) => {
    const { there, why } = found[feature as Feature];
    return there === false && isNeeded(meaning, found) ? [{ ...meaning, why }] : [];
  });
  if (lacking.length === 0) return undefined;
  const each = lacking.map(({ name, neededFor, why }) => `${name}, needed ${neededFor} (${why})`);
  const advice = [...new Set(lacking.map(({ remedy }) => remedy))];
  return `this kernel lacks ${each.join('; ')}: ${advice.join('; ')}`;
}

/**
 * The item of `probe` and `status` that is of the ways off the node. `unusable`: what is wrong with
 * those that were named.
 */
export function judgeUplinks(
  exits: readonly Pick<Exit, 'name' | 'kind' | 'role'>[],
  unusable: readonly string[],
): ProbeItem {
  const names = exits
    .filter(({ role }) => role === 'uplink')
    .map(({ name, kind }) => `${name} (${kind})`);
  const there = unusable.length === 0 && names.length > 0;
  const lacking = unusable.length > 0 ? unusable.join('; ') : 'no default route';
  return {
    ...{ name: 'uplink', ok: there, there },
    found: there ? names.join(', ') : lacking,
    neededFor: 'to hold what pods send off the node',
    withoutIt: 'egress caps are refused',
    ...(!there && { remedy: remedies.noUplink }),
  };
}
