// A pod behind a netkit pair, wired by hand, on which podpace is called as a chained plugin: no plugin of others makes one.

import { execFileSync } from 'node:child_process';
import path from 'node:path';
import { addAddress } from '../../helper/kernel/addresses.ts';
import { changeLink, createNetkitPair, findLink } from '../../helper/kernel/links.ts';
import { openNetns } from '../../helper/kernel/netns.ts';
import { addRoute, RT_TABLE_MAIN } from '../../helper/kernel/routes.ts';
import { RtSocket } from '../../helper/kernel/rtnetlink.ts';
import { projectRoot } from '../lib/paths.ts';
import { bandwidthArguments } from './systems.ts';
import type { PodCaps } from './systems.ts';
import type { TestBed } from './testbed.ts';

const MTU = 1500;

async function indexOf(rt: RtSocket, name: string): Promise<number> {
  const link = await findLink(rt, { name });
  if (link === undefined) throw new Error(`Cannot wire a pod: there is no device "${name}"`);
  return link.index;
}

/** Joins a pod to the node: `hostInterface` there, eth0 in it. The namespaces take the pair with them. Throws KernelError. */
export async function wireNetkitPod(
  bed: TestBed<string>,
  pod: string,
  hostInterface: string,
  address: string,
): Promise<void> {
  const [node, sandbox] = [openNetns(bed.node), openNetns(pod)];
  const [nodeRt, podRt] = [RtSocket.open(node), RtSocket.open(sandbox)];
  try {
    const peer = { name: 'eth0', netns: sandbox };
    await createNetkitPair(nodeRt, { name: hostInterface, mtu: MTU, peer });
    const [outside, inside] = [await indexOf(nodeRt, hostInterface), await indexOf(podRt, 'eth0')];
    await addAddress(podRt, { ifindex: inside, address, prefixLength: 32 });
    await changeLink(nodeRt, outside, { up: true });
    await changeLink(podRt, inside, { up: true });
    await addRoute(podRt, { destination: '0.0.0.0/0', ifindex: inside, table: RT_TABLE_MAIN });
    await addRoute(nodeRt, { destination: `${address}/32`, ifindex: outside, table: RT_TABLE_MAIN });
  } finally {
    for (const resource of [nodeRt, podRt, node, sandbox]) resource.close();
  }
}

/** Calls podpace on such a pod. Throws Error with its words. */
export function capNetkitPod(bed: TestBed<string>, pod: string, caps: PodCaps): void {
  const config = {
    cniVersion: '1.0.0',
    name: 'netkit-podpace',
    type: 'podpace',
    runtimeConfig: JSON.parse(bandwidthArguments(caps)) as unknown,
    prevResult: { cniVersion: '1.0.0', interfaces: [{ name: 'eth0', sandbox: pod }], ips: [] },
  };
  const env = {
    CNI_COMMAND: 'ADD',
    CNI_CONTAINERID: 'netkit',
    CNI_IFNAME: 'eth0',
    CNI_NETNS: pod,
    CNI_PATH: '/',
  };
  const [command, args] = bed.onNode(path.join(projectRoot, 'dist/podpace'));
  execFileSync(command, args, { env: { ...process.env, ...env }, input: JSON.stringify(config) });
}
