// Makes and removes the pair of a pod: veth or netkit.

import { hasErrno } from '../../helper/wire/errors.ts';
import type { Link } from '../../helper/kernel/links.ts';
import type { RtSocket } from '../../helper/kernel/rtnetlink.ts';
import { nameOf, type PodNames } from '../../helper/protocol/pod-names.ts';
import { RT_SCOPE_LINK, RT_TABLE_MAIN, type Route } from '../../helper/wire/route-message.ts';
import { CniError, ErrorCode, type Device } from '../types.ts';
import { aliasPrefix, hostInterfaceAlias, type Attachment } from './alias.ts';
import type { Kernel } from './kernel.ts';
import { hostInterfaceName } from './names.ts';
import type { PlannedRoute, WiringPlan } from './plan.ts';
import type { Session } from './session.ts';

/** MTU where there is no default route to take it from, in bytes. */
const DEFAULT_MTU_BYTES = 1500;

/** Both ends of a pod's pair. */
export interface Pair {
  readonly host: Link;
  readonly pod: Link;
}

function exists(name: string, where: string, remedy: string): CniError {
  return new CniError(
    ErrorCode.interfaceExists,
    `Cannot create interface "${name}": it exists already ${where}`,
    remedy,
  );
}

/** Throws CniError 105 when either name of the pair is taken. */
export async function requireAbsent(
  { kernel, node, pod, netns }: Session,
  call: Attachment & { readonly pod: PodNames },
): Promise<void> {
  const { ifname } = call;
  if ((await kernel.findLink(pod, { name: ifname })) !== undefined) {
    throw exists(
      ifname,
      `in ${netns.path}`,
      'run DEL for this attachment first, or set another CNI_IFNAME',
    );
  }
  const hostName = hostInterfaceName(call);
  if ((await kernel.findLink(node, { name: hostName })) !== undefined) {
    throw exists(
      hostName,
      `on the node, for ${nameOf({ ...call, ...call.pod })}`,
      'run DEL for this attachment first',
    );
  }
}

/** Devices that a route leads to, however it names them. */
async function devicesOf(
  { kernel, node }: Pick<Session, 'kernel' | 'node'>,
  route: Route,
): Promise<number[]> {
  const { ifindex, nextHopIndexes, nexthopId } = route;
  const named = [...(ifindex === undefined ? [] : [ifindex]), ...(nextHopIndexes ?? [])];
  if (named.length > 0 || nexthopId === undefined) return named;
  // With net.ipv4.nexthop_compat_mode=0 it names nothing but an object, or a group of them.
  const nexthops = await kernel.listNexthops(node);
  const members = nexthops.find(({ id }) => id === nexthopId)?.members ?? [];
  return nexthops.flatMap((nexthop) => {
    const isMeant = nexthop.id === nexthopId || members.includes(nexthop.id);
    return isMeant && nexthop.ifindex !== undefined ? [nexthop.ifindex] : [];
  });
}

/**
 * The least MTU of the devices that the default route leads over, in bytes: IPv4's, else IPv6's,
 * else 1500.
 */
export async function defaultRouteMtu(session: Pick<Session, 'kernel' | 'node'>): Promise<number> {
  const { kernel, node } = session;
  for (const family of [4, 6] as const) {
    const routes = await kernel.listRoutes(node, { family, table: RT_TABLE_MAIN, isDefault: true });
    for (const route of routes.sort(
      (left, right) => (left.priority ?? 0) - (right.priority ?? 0),
    )) {
      const mtus: number[] = [];
      for (const index of await devicesOf(session, route)) {
        const device = await kernel.findLink(node, { index });
        if (device !== undefined) mtus.push(device.mtu);
      }
      if (mtus.length > 0) return Math.min(...mtus);
    }
  }
  return DEFAULT_MTU_BYTES;
}

async function requireLink(kernel: Kernel, rt: RtSocket, name: string): Promise<Link> {
  const link = await kernel.findLink(rt, { name });
  if (link !== undefined) return link;
  throw new CniError(
    ErrorCode.kernelRefused,
    `Cannot use interface "${name}": it vanished after it was created`,
    'another program removes or renames interfaces on this node',
  );
}

/** Below it the kernel takes IPv6 off an interface (RFC 8200, section 5). */
const MIN_IPV6_MTU_BYTES = 1280;

/** Throws CniError 7 for an MTU with which the addresses of a plan cannot be used. */
export function requireMtuFor(mtuBytes: number, { hasIpv6 }: WiringPlan): void {
  if (!hasIpv6 || mtuBytes >= MIN_IPV6_MTU_BYTES) return;
  throw new CniError(
    ErrorCode.invalidConfig,
    `Cannot use an MTU of ${mtuBytes} bytes with an IPv6 address`,
    `IPv6 needs ${MIN_IPV6_MTU_BYTES}: set mtu, or have IPAM give IPv4 addresses only`,
  );
}

function noNetkit(): CniError {
  return new CniError(
    ErrorCode.kernelRefused,
    'Cannot use device "netkit": this kernel has none (CONFIG_NETKIT)',
    'set device to "veth", or to "auto" for netkit where the kernel has it',
  );
}

/**
 * Creates the pair, each end in its namespace and both down, and returns which it is. On failure
 * nothing is left. Throws CniError 102 for a netkit that the kernel does not have.
 */
export async function createPair(
  { kernel, node, netns }: Session,
  attachment: Attachment,
  { mtu, device }: { readonly mtu: number; readonly device: Device },
): Promise<Exclude<Device, 'auto'>> {
  const pair = {
    name: hostInterfaceName(attachment),
    alias: hostInterfaceAlias(attachment),
    mtu,
    peer: { name: attachment.ifname, netns },
  };
  if (device !== 'veth') {
    try {
      await kernel.createNetkitPair(node, pair);
      return 'netkit';
    } catch (error) {
      if (!hasErrno(error, 'ENOTSUP')) throw error;
      if (device === 'netkit') throw noNetkit();
    }
  }
  await kernel.createVethPair(node, pair);
  return 'veth';
}

async function addRoutes(
  kernel: Kernel,
  rt: RtSocket,
  ifindex: number,
  routes: readonly PlannedRoute[],
): Promise<void> {
  for (const route of routes) await kernel.addRoute(rt, { ...route, ifindex });
}

async function configureHost(
  { kernel, node }: Session,
  link: Link,
  plan: WiringPlan,
): Promise<void> {
  if (plan.hasIpv6) kernel.writeSysctl(`net/ipv6/conf/${link.name}/disable_ipv6`, '0');
  await kernel.changeLink(node, link.index, { up: true });
  for (const { address, prefixLength } of plan.hostAddresses) {
    // A link-local IPv4 gateway must not become the source of packets that leave the node.
    const scope = address.startsWith('169.254.') ? { scope: RT_SCOPE_LINK } : {};
    await kernel.addAddress(node, {
      ifindex: link.index,
      address,
      prefixLength,
      noDad: true,
      ...scope,
    });
  }
  await addRoutes(kernel, node, link.index, plan.hostRoutes);
}

async function configurePod(
  { kernel, pod, netns }: Session,
  link: Link,
  plan: WiringPlan,
): Promise<void> {
  if (plan.hasIpv6) {
    // Some runtimes switch IPv6 off in new namespaces; an address that IPAM gave says that it is
    // wanted.
    kernel.writeSysctl(`net/ipv6/conf/${link.name}/disable_ipv6`, '0', netns);
  }
  await kernel.changeLink(pod, link.index, { up: true });
  for (const { address, prefixLength } of plan.podAddresses) {
    await kernel.addAddress(pod, {
      ifindex: link.index,
      address,
      prefixLength,
      noPrefixRoute: true,
      noDad: true,
    });
  }
  await addRoutes(kernel, pod, link.index, plan.podRoutes);
}

/** Lets the node forward for the pod; parameters that are right already are not written. */
function enableForwarding(kernel: Kernel, plan: WiringPlan): void {
  if (plan.hasIpv4) kernel.writeSysctl('net/ipv4/ip_forward', '1');
  if (plan.hasIpv6) kernel.writeSysctl('net/ipv6/conf/all/forwarding', '1');
}

/** Switches both ends on and gives them what the plan says. */
export async function configurePair(
  session: Session,
  attachment: Attachment,
  plan: WiringPlan,
): Promise<Pair> {
  const { kernel, node, pod } = session;
  const pair = {
    host: await requireLink(kernel, node, hostInterfaceName(attachment)),
    pod: await requireLink(kernel, pod, attachment.ifname),
  };
  await configureHost(session, pair.host, plan);
  await configurePod(session, pair.pod, plan);
  enableForwarding(kernel, plan);
  return pair;
}

/**
 * Deletes an interface; true when there was one. One that vanishes meanwhile is as good as deleted.
 */
export async function deleteIfThere(
  kernel: Kernel,
  rt: RtSocket,
  link: Link | undefined,
): Promise<boolean> {
  if (link === undefined) return false;
  try {
    await kernel.deleteLink(rt, link.index);
  } catch (error) {
    if (!hasErrno(error, 'ENODEV')) throw error;
  }
  return true;
}

/**
 * Removes the pair by its host interface, with which the pod's end goes; the pod's namespace need
 * not exist. A host interface that was renamed is found by its alias. Not there is as good as
 * removed.
 */
export async function deletePair(
  kernel: Kernel,
  node: RtSocket,
  attachment: Attachment,
): Promise<void> {
  const named = await kernel.findLink(node, { name: hostInterfaceName(attachment) });
  if (await deleteIfThere(kernel, node, named)) return;
  const alias = hostInterfaceAlias(attachment);
  const renamed = (await kernel.listLinks(node)).find((link) => link.alias === alias);
  await deleteIfThere(kernel, node, renamed);
}

/**
 * Removes the pairs of a network whose attachment is not among `valid`. Returns the host interfaces
 * removed.
 */
export async function deleteStrayPairs(
  kernel: Kernel,
  node: RtSocket,
  network: string,
  valid: readonly Omit<Attachment, 'network'>[],
): Promise<string[]> {
  const prefix = aliasPrefix(network);
  const wanted = new Set(valid.map((attachment) => hostInterfaceAlias({ network, ...attachment })));
  const links = await kernel.listLinks(node);
  const strays = links.filter(
    ({ alias }) => alias?.startsWith(prefix) === true && !wanted.has(alias),
  );
  for (const link of strays) await deleteIfThere(kernel, node, link);
  return strays.map(({ name }) => name);
}
