// The kernel operations that wiring uses, in one object: a test can fail the n-th of them.

import { addAddress, listAddresses } from '../../helper/kernel/addresses.ts';
import { openBlockingRt } from '../../helper/kernel/blocking-rt.ts';
import { hurryingUntil } from '../../helper/kernel/grace-periods.ts';
import {
  changeLink,
  createNetkitPair,
  createVethPair,
  deleteLink,
  findLink,
  listLinks,
} from '../../helper/kernel/links.ts';
import { inNetns, openNetns, type NetNamespace } from '../../helper/kernel/netns.ts';
import { netnsIdOf } from '../../helper/kernel/netns-id.ts';
import { listNexthops } from '../../helper/kernel/nexthops.ts';
import { addRoute, listRoutes } from '../../helper/kernel/routes.ts';
import type { RtSocket } from '../../helper/kernel/rtnetlink.ts';
import type { Attempt } from '../../helper/wire/kernel-features.ts';
import { readSysctl, writeSysctl } from '../../helper/kernel/sysctl.ts';

/** The kernel of this node. */
export const nodeKernel = {
  openNetns,
  netnsIdOf,
  openSocket: openBlockingRt,
  findLink,
  listLinks,
  createVethPair,
  createNetkitPair,
  changeLink,
  /** With it go the programs at its hooks. */
  deleteLink: (rt: RtSocket, index: number): Promise<void> =>
    hurryingUntil(() => deleteLink(rt, index)),
  addAddress,
  listAddresses,
  addRoute,
  listRoutes,
  listNexthops,
  /**
   * Whether a departure time can be set with its clock; loaded when it is asked for, which is
   * seldom.
   */
  tryStamp: async (): Promise<Attempt> =>
    (await import('../../helper/kernel/bpf-trials.ts')).tryStamp(),
  /** A parameter of `netns`, or of the plugin's own namespace. */
  readSysctl: (name: string, netns?: NetNamespace): string =>
    netns === undefined ? readSysctl(name) : inNetns(netns, () => readSysctl(name)),
  /** Sets a parameter in `netns`, or in the plugin's own namespace. */
  writeSysctl: (name: string, value: string, netns?: NetNamespace): void => {
    if (netns === undefined) writeSysctl(name, value);
    else inNetns(netns, () => writeSysctl(name, value));
  },
};

export type Kernel = typeof nodeKernel;
