// Compares the wiring of a pod with its plan, for CHECK.

import type { Link } from '../../helper/kernel/links.ts';
import type { RtSocket } from '../../helper/kernel/rtnetlink.ts';
import { CniError, ErrorCode } from '../types.ts';
import type { Kernel } from './kernel.ts';
import type { Attachment } from './alias.ts';
import { hostInterfaceName } from './names.ts';
import type { PlannedAddress, PlannedRoute, WiringPlan } from './plan.ts';
import type { Pair } from './pair.ts';
import type { Session } from './session.ts';

function missing(what: string, where: string): CniError {
  return new CniError(
    ErrorCode.checkFailed,
    `Cannot find ${what} ${where}`,
    'something removed or changed what ADD made: recreate the pod',
  );
}

async function requireAddresses(
  kernel: Kernel,
  rt: RtSocket,
  link: Link,
  wanted: readonly PlannedAddress[],
  where: string,
): Promise<void> {
  const present = await kernel.listAddresses(rt, link.index);
  for (const { address, prefixLength } of wanted) {
    const isThere = present.some(
      (found) => found.address === address && found.prefixLength === prefixLength,
    );
    if (!isThere)
      throw missing(`address ${address}/${prefixLength} of interface "${link.name}"`, where);
  }
}

/** Any table will do: a later plugin of the chain may have moved the routes (sbr does). */
async function requireRoutes(
  kernel: Kernel,
  rt: RtSocket,
  link: Link,
  wanted: readonly PlannedRoute[],
  where: string,
): Promise<void> {
  const present = (await kernel.listRoutes(rt)).filter(({ ifindex }) => ifindex === link.index);
  for (const { destination, gateway } of wanted) {
    const isThere = present.some(
      (found) => found.destination === destination && found.gateway === gateway,
    );
    if (isThere) continue;
    const via = gateway === undefined ? '' : ` via ${gateway}`;
    throw missing(`route to ${destination}${via} over interface "${link.name}"`, where);
  }
}

function requireUp(link: Link, where: string): void {
  if (!link.up) throw missing(`interface "${link.name}" in the state up`, where);
}

/** The node-side end by its derived name, tied to the pod's end. */
async function requirePair(
  { kernel, node, pod, netns }: Session,
  attachment: Attachment,
): Promise<Pair> {
  const { ifname } = attachment;
  const inside = await kernel.findLink(pod, { name: ifname });
  if (inside === undefined) throw missing(`interface "${ifname}"`, `in ${netns.path}`);
  const hostName = hostInterfaceName(attachment);
  const host = await kernel.findLink(node, { name: hostName });
  if (host === undefined) throw missing(`host interface "${hostName}"`, 'on the node');
  if (host.linkIndex !== inside.index || inside.linkIndex !== host.index) {
    throw missing(`a pair of "${hostName}" and "${ifname}"`, `between the node and ${netns.path}`);
  }
  return { host, pod: inside };
}

/**
 * Throws CniError 103 that names the first thing missing; returns the pair. `mac` is the hardware
 * address that the result gave for the pod's interface.
 */
export async function requireWiring(
  session: Session,
  attachment: Attachment,
  plan: WiringPlan,
  mac: string | undefined,
): Promise<Pair> {
  const { kernel, node, pod, netns } = session;
  const inPod = `in ${netns.path}`;
  const pair = await requirePair(session, attachment);
  const { host, pod: inside } = pair;
  if (mac !== undefined && mac.toLowerCase() !== inside.mac) {
    throw missing(
      `hardware address ${mac} of interface "${inside.name}" (it has ${inside.mac})`,
      inPod,
    );
  }
  requireUp(inside, inPod);
  requireUp(host, 'on the node');
  await requireAddresses(kernel, pod, inside, plan.podAddresses, inPod);
  await requireRoutes(kernel, pod, inside, plan.podRoutes, inPod);
  await requireAddresses(kernel, node, host, plan.hostAddresses, 'on the node');
  await requireRoutes(kernel, node, host, plan.hostRoutes, 'on the node');
  return pair;
}
