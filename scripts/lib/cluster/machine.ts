// Mounts and network of the machines that a cluster consists of.

import fs from 'node:fs';
import path from 'node:path';
import { capture } from '../process.ts';
import { ADDRESSES, GUEST_NETWORK, type Role } from './settings.ts';

/** Where Debian has plugins of others. */
const PLUGINS = '/usr/lib/cni';

/** Runs a script; throws CommandError with what it says. */
export function sh(script: string): Promise<string> {
  return capture('sh', ['-ec', script]);
}

/** A file system for keys, logs and what containerd keeps, gone with the machine. */
async function makeStore(directory: string): Promise<void> {
  await sh(`mount --make-rprivate /
mount -t tmpfs -o mode=755 cluster '${directory}'
mkdir '${directory}/log' '${directory}/pki'`);
}

/** Mounts of the node: only control groups and what is not written to are the machine's. */
async function makeNodeMounts(directory: string): Promise<void> {
  const groups = path.join(directory, 'cgroup');
  const etc = path.join(directory, 'etc');
  await sh(`mkdir '${groups}'
mount --rbind /sys/fs/cgroup '${groups}'
umount -R -l /sys
mount -t sysfs sysfs /sys
mount --rbind '${groups}' /sys/fs/cgroup
mount -t bpf bpf /sys/fs/bpf
for each in /run /var/lib /var/log /opt; do mount -t tmpfs -o mode=755 cluster "$each"; done
cp -a /etc '${etc}'
mount --bind '${etc}' /etc
mount --make-rshared /
mkdir -p /run/netns /opt/cni/bin /etc/cni/net.d /var/lib/cni`);
  for (const name of fs.existsSync(PLUGINS) ? fs.readdirSync(PLUGINS) : [])
    fs.copyFileSync(path.join(PLUGINS, name), path.join('/opt/cni/bin', name));
}

/** The node's uplink leads to a peer, in a network namespace of that name. */
async function makeUplink(): Promise<void> {
  const { node, peer, pods } = ADDRESSES;
  await sh(`ip netns add peer
ip link add uplink numtxqueues 2 numrxqueues 2 type veth peer name eth0 netns peer
ip addr add ${node}/24 dev uplink
ip link set uplink up
ip -n peer addr add ${peer}/24 dev eth0
ip -n peer link set eth0 up
ip -n peer link set lo up
ip -n peer route add ${pods} via ${node}
ip route add default via ${peer}
echo 1 >/proc/sys/net/ipv4/ip_forward`);
}

/** The apiserver is here, by the address of its service. */
async function haveService(): Promise<void> {
  await sh(`ip link set lo up
ip addr add ${ADDRESSES.service}/32 dev lo`);
}

/** A VM reaches the control plane by a device beside the uplink, and has all control groups. */
async function joinControlPlane(): Promise<void> {
  const { device, address, gateway } = GUEST_NETWORK;
  await sh(`modprobe virtio_net
ip link set lo up
ip link set ${device} up
ip addr add ${address}/24 dev ${device}
ip route add ${ADDRESSES.service} via ${gateway}
for each in $(cat /sys/fs/cgroup/cgroup.controllers); do
  echo "+$each" >/sys/fs/cgroup/cgroup.subtree_control
done`);
}

/**
 * Makes this machine, or these namespaces, what the role needs. Of a VM `directory` has what the
 * control plane has made: keys, and containerd's images.
 */
export async function makeMachine(role: Role, directory: string): Promise<void> {
  const control = '/tmp/control-plane';
  if (role === 'node') await sh(`mkdir ${control}; mount --bind '${directory}' ${control}`);
  await makeStore(directory);
  if (role === 'node')
    await sh(`cp -r ${control}/pki '${directory}'
cp -a ${control}/containerd '${directory}'
umount ${control}; rmdir ${control}`);
  await (role === 'node' ? joinControlPlane() : haveService());
  // For containerd's socket.
  if (role === 'control') await sh('mount -t tmpfs -o mode=755 cluster /run');
  else {
    await makeNodeMounts(directory);
    await makeUplink();
  }
}
