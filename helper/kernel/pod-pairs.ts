// Where the interfaces of a pod lead to, as the kernel tells: pairs of which one end is on the
// node, and ways on which nothing can be held.

import type { findLink, Link, listLinks } from './links.ts';
import type { netnsIdOf } from './netns-id.ts';
import type { NetNamespace } from './netns.ts';
import type { RtSocket } from './rtnetlink.ts';

/** A pod's namespace beside the node's. */
export interface PodView {
  readonly kernel: {
    readonly findLink: typeof findLink;
    readonly listLinks: typeof listLinks;
    readonly netnsIdOf: typeof netnsIdOf;
  };
  readonly netns: NetNamespace;
  /** Socket in the node's namespace. */
  readonly node: RtSocket;
  /** Socket in the pod's namespace. */
  readonly pod: RtSocket;
}

/** Both ends of a pod's pair. */
export interface PodPair {
  readonly host: Link;
  readonly pod: Link;
}

/** Pairs of which one end stays on the node. */
export const PAIR_KINDS: ReadonlySet<string | undefined> = new Set(['veth', 'netkit']);

/** Where the other end of a pair is on which nothing can be held. */
const ELSEWHERE = "not in the node's network namespace";

/** By which nothing leaves, or by another interface of the sandbox only. */
const NO_WAYS: ReadonlySet<string | undefined> = new Set([
  'dummy',
  'ifb',
  'nlmon',
  'vrf',
  'netdevsim',
]);

/**
 * Made in one namespace and moved to another they go on sending by the first, or to a process, and
 * the kernel tells of neither.
 */
const UNTRACEABLE: ReadonlySet<string | undefined> = new Set(['tun', 'wireguard', 'openvswitch']);

/**
 * The pair of which a pod's interface is one end; a clause that says why there is none; undefined
 * when the pod has no such interface. Each end must name the other.
 */
export async function findPodPair(
  view: PodView,
  ifname: string,
): Promise<PodPair | string | undefined> {
  const { kernel, pod, netns } = view;
  const inside = await kernel.findLink(pod, { name: ifname });
  if (inside === undefined) return undefined;
  const { kind } = inside;
  if (!PAIR_KINDS.has(kind)) return `it is of kind ${kind ?? 'unknown'} and has no host interface`;
  if (inside.linkIndex === undefined || inside.linkNetnsId === undefined)
    return `both ends of its ${kind} pair are in ${netns.path}`;
  const host = await otherEnd(view, inside);
  return host === undefined ? elsewhere(inside) : { host, pod: inside };
}

function elsewhere({ kind }: Link): string {
  return `the other end of its ${kind} pair is ${ELSEWHERE}`;
}

/** The other end of one of the pod's pairs, if it is on the node. */
async function otherEnd(view: PodView, inside: Link): Promise<Link | undefined> {
  const { kernel, node } = view;
  if (inside.linkIndex === undefined) return undefined;
  const outside = await kernel.findLink(node, { index: inside.linkIndex });
  if (outside === undefined || outside.kind !== inside.kind) return undefined;
  return (await leadsTo(view, outside, inside)) ? outside : undefined;
}

/**
 * Indexes are unique within a namespace only: two pairs of three namespaces may well have the same
 * ones.
 */
async function leadsTo(
  { kernel, node, netns }: PodView,
  outside: Link,
  inside: Link,
): Promise<boolean> {
  if (outside.linkIndex !== inside.index || outside.linkNetnsId === undefined) return false;
  return outside.linkNetnsId === (await kernel.netnsIdOf(node, netns));
}

/**
 * Whether what an interface sends leaves the sandbox by itself: a network card's own device (no
 * kind), or one that stands on a device of another namespace (macvlan, ipvlan, a VLAN). Tunnels and
 * the like that were made here leave by others of the sandbox; the kernel puts some of them into
 * each new namespace (net.core.fb_tunnels_only_for_init_net).
 */
function leavesByItself({ kind, linkNetnsId }: Link): boolean {
  return kind === undefined || linkNetnsId !== undefined || UNTRACEABLE.has(kind);
}

function unseen({ kind }: Link): string {
  const what = kind === undefined ? 'it is a device of its own' : `it is of kind ${kind}`;
  return `${what}, whose packets do not pass the node's end of a pair`;
}

/** The host's end of a way out, or why nothing can be held there; undefined for what is none. */
export async function hostEndOf(view: PodView, link: Link): Promise<Link | string | undefined> {
  if (link.loopback || NO_WAYS.has(link.kind)) return undefined;
  if (!PAIR_KINDS.has(link.kind)) return leavesByItself(link) ? unseen(link) : undefined;
  if (link.linkNetnsId === undefined) return undefined;
  return (await otherEnd(view, link)) ?? elsewhere(link);
}
