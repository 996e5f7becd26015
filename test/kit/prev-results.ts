// What the plugins that people chain behind list in their results. The shapes are facts of the
// sources named.

import type { JsonObject } from '../../cni/types.ts';

/** What a shape may be built from. */
export interface Names {
  /** Path of the pod's network namespace. */
  readonly sandbox: string;
  /** Hardware address of the pod's interface. */
  readonly mac: string;
}

export interface Shape {
  /** By which other tests name it. */
  readonly id?: string;
  /** The plugin, and where its result comes from: project, version or commit, file. */
  readonly plugin: string;
  readonly source: string;
  readonly host: string;
  readonly ifname?: string;
  /** A second pair of the pod: name of the host's and of the pod's end. */
  readonly beside?: readonly [host: string, pod: string];
  /** That it is of another attachment, of which this one takes nothing. */
  readonly isOfAnother?: true;
  /** Addresses that the result names for it; absent: none. */
  readonly besideAddresses?: readonly string[];
  readonly versions: readonly string[];
  readonly result: (names: Names) => JsonObject;
  /** The pod's addresses; absent: V4 and V6. */
  readonly addresses?: readonly string[];
}

const V4 = '10.91.0.7';
const V6 = 'fd91::7';
export const BOTH = [V4, V6];

/** Versions since which interfaces are listed; those before 1.0.0 have a family in each address. */
const OLD = ['0.3.0', '0.3.1', '0.4.0'];
const ALL = [...OLD, '1.0.0', '1.1.0'];

/** Both addresses, with an index or without. */
export function addresses(
  index?: number,
  lengths: readonly [number, number] = [32, 128],
): JsonObject[] {
  const where = index === undefined ? {} : { interface: index };
  return [
    { ...where, address: `${V4}/${lengths[0]}`, gateway: '169.254.1.1' },
    { ...where, address: `${V6}/${lengths[1]}` },
  ];
}

/** Bridge, host interface, pod's interface; addresses at the third. */
function bridged(bridge: string, host: string): Shape['result'] {
  return ({ sandbox, mac }) => ({
    interfaces: [
      { name: bridge, mac: '02:00:00:00:00:01' },
      { name: host, mac: '02:00:00:00:00:02' },
      { name: 'eth0', mac, sandbox },
    ],
    ips: addresses(2, [24, 64]),
    routes: [{ dst: '0.0.0.0/0' }],
    dns: {},
  });
}

/** Host interface, pod's interface; addresses at the second. */
function pointToPoint(host: string): Shape['result'] {
  return ({ sandbox, mac }) => ({
    interfaces: [
      { name: host, mac: '02:00:00:00:00:02' },
      { name: 'eth0', mac, sandbox },
    ],
    ips: addresses(1),
    dns: {},
  });
}

export const SHAPES: readonly Shape[] = [
  {
    plugin: 'ptp',
    source: 'containernetworking/plugins 1516334, plugins/main/ptp/ptp.go',
    host: 'vethb1c2',
    versions: ALL,
    result: pointToPoint('vethb1c2'),
  },
  {
    plugin: 'bridge',
    source: 'containernetworking/plugins 00406f9, plugins/main/bridge/bridge.go',
    host: 'vethb1c2',
    versions: ALL,
    result: bridged('cni0', 'vethb1c2'),
  },
  {
    id: 'flannel',
    plugin: 'flannel, which delegates to bridge',
    source: 'flannel-io/cni-plugin 6f13a99, flannel_linux.go',
    host: 'vethb1c2',
    versions: ALL,
    result: bridged('cbr0', 'vethb1c2'),
  },
  {
    plugin: 'kube-router, which configures bridge',
    source: 'cloudnativelabs/kube-router 9982ba3, daemonset/generic-kuberouter-all-features.yaml',
    host: 'vethb1c2',
    versions: ALL,
    result: bridged('kube-bridge', 'vethb1c2'),
  },
  {
    id: 'calico',
    plugin: 'Calico: only the host interface, addresses without an index',
    source: 'projectcalico/calico e45a64e, cni-plugin/pkg/k8s/k8s.go',
    host: 'cali7f3a',
    versions: [...OLD, '1.0.0'],
    result: () => ({ interfaces: [{ name: 'cali7f3a' }], ips: addresses(), dns: {} }),
  },
  {
    plugin:
      "Calico, newest releases: the host interface's name with the pod's hardware address and the sandbox",
    source:
      'projectcalico/calico 00b9aad, cni-plugin/pkg/k8s/k8s.go and cni-plugin/pkg/plugin/plugin.go',
    host: 'cali7f3a',
    versions: [...OLD, '1.0.0'],
    result: ({ sandbox, mac }) => ({
      interfaces: [{ name: 'cali7f3a', mac, mtu: 1450, sandbox }],
      ips: addresses(),
      dns: {},
    }),
  },
  {
    plugin: 'Calico as another plugin of the chain may leave it: an index to that entry',
    source:
      'projectcalico/calico 00b9aad, cni-plugin/pkg/k8s/k8s.go; the index as CNI 1.1.0 wants it, SPEC.md',
    host: 'cali7f3a',
    versions: [...OLD, '1.0.0'],
    result: ({ sandbox, mac }) => ({
      interfaces: [{ name: 'cali7f3a', mac, mtu: 1450, sandbox }],
      ips: addresses(0),
      dns: {},
    }),
  },
  {
    id: 'canal',
    plugin: 'Canal: Calico with host-local, one family',
    source: 'projectcalico/calico e45a64e, cni-plugin/pkg/k8s/k8s.go',
    host: 'cali7f3a',
    versions: ['0.3.0', '0.3.1'],
    result: () => ({
      interfaces: [{ name: 'cali7f3a' }],
      ips: [{ address: `${V4}/32` }],
      routes: [{ dst: '0.0.0.0/0' }],
      dns: {},
    }),
    addresses: [V4],
  },
  {
    id: 'azure',
    plugin: 'Azure CNI: the name alone',
    source: 'Azure/azure-container-networking 00eb3d5, cni/network/network.go',
    host: 'azv4c1d',
    versions: ['0.3.0', '0.3.1', '0.4.0', '1.0.0'],
    result: () => ({
      interfaces: [{ name: 'eth0' }],
      ips: addresses(undefined, [16, 112]),
      dns: {},
    }),
  },
  {
    plugin: 'Azure CNI with tenants: a second name without a sandbox',
    source:
      'Azure/azure-container-networking 065edcf, cni/network/network_linux.go (addSnatInterface)',
    host: 'azv4c1d',
    versions: ['0.3.0'],
    result: () => ({
      interfaces: [{ name: 'eth0' }, { name: 'eth1' }],
      ips: addresses(undefined, [16, 112]),
      dns: {},
    }),
  },
  {
    plugin: 'Azure CNI, newest releases: the name with its hardware address',
    source:
      'Azure/azure-container-networking after 00eb3d5, cni/network/network.go (convertInterfaceInfoToCniResult)',
    host: 'azv4c1d',
    versions: ['0.3.0', '1.0.0'],
    result: ({ mac }) => ({ interfaces: [{ name: 'eth0', mac }], ips: addresses(), dns: {} }),
  },
  {
    id: 'weave',
    plugin: 'Weave Net: no interfaces',
    source: 'weaveworks/weave f7273bb and its successor rajch/weave, plugin/net/cni.go',
    host: 'vethwepl7',
    versions: ALL,
    result: () => ({ ips: [{ address: `${V4}/12`, gateway: '10.80.0.0' }], dns: {} }),
    addresses: [V4],
  },
  {
    plugin: 'Weave Net: an empty list of interfaces',
    source:
      'weaveworks/weave f7273bb, plugin/net/cni.go; the list as encoders without omitempty print it',
    host: 'vethwepl7',
    versions: ['0.3.0', '1.0.0'],
    result: () => ({ interfaces: [], ips: [{ address: `${V4}/12` }] }),
    addresses: [V4],
  },
  {
    plugin: 'kindnet of kind, which configures ptp',
    source: 'aojea/kindnet ea6b05b, cmd/kindnetd/cni.go (cniConfigTemplate)',
    host: 'veth7a0b',
    versions: ['0.3.1', '0.4.0', '1.0.0'],
    result: pointToPoint('veth7a0b'),
  },
  {
    plugin: 'cni-kindnet: the name without a sandbox, with an index',
    source: 'aojea/kindnet 3fdd5c5, cmd/cni-kindnet/main.go (ToCNIResult)',
    host: 'knet7a0b',
    versions: ['0.3.1', '0.4.0'],
    result: () => ({ interfaces: [{ name: 'eth0' }], ips: addresses(0), dns: {} }),
  },
  {
    id: 'aws',
    plugin: 'AWS VPC CNI: a dummy interface with a device number for a sandbox',
    source: 'aws/amazon-vpc-cni-k8s 0089259, cmd/routed-eni-cni-plugin/cni.go',
    host: 'eni5c2',
    versions: ['0.4.0', '1.0.0', '1.1.0'],
    result: ({ sandbox }) => ({
      interfaces: [
        { name: 'eni5c2' },
        { name: 'eth0', sandbox, pciID: '254' },
        { name: 'dummy5c2', mac: '0', sandbox: '0', socketPath: '1' },
      ],
      ips: [{ interface: 1, address: `${V4}/32` }],
      dns: {},
    }),
    addresses: [V4],
  },
  {
    plugin: 'AWS VPC CNI with several network cards: a second interface of the pod in one result',
    source:
      'aws/amazon-vpc-cni-k8s 0089259, cmd/routed-eni-cni-plugin/cni.go (multi-nic-attachment)',
    host: 'eni5c2',
    beside: ['eni9f1', 'mNicIf1'],
    besideAddresses: ['10.92.0.7'],
    versions: ['1.0.0', '1.1.0'],
    result: ({ sandbox }) => ({
      interfaces: [
        { name: 'eni5c2' },
        { name: 'eth0', sandbox, pciID: '254' },
        { name: 'eni9f1' },
        { name: 'mNicIf1', sandbox, pciID: '3' },
        { name: 'dummy5c2', mac: '0', sandbox: '0', socketPath: '2' },
      ],
      ips: [
        { interface: 1, address: `${V4}/32` },
        { interface: 3, address: '10.92.0.7/32' },
        { interface: 4, address: '10.93.0.7/32' },
      ],
      dns: {},
    }),
    addresses: [V4],
  },
  {
    plugin:
      'AWS VPC CNI and its egress plugin: a second pair for the family that the cluster has not',
    source:
      'aws/amazon-vpc-cni-k8s 0e5d92c, cmd/egress-cni-plugin/egressContext.go (cmdAddEgressV4)',
    host: 'eni5c2',
    beside: ['veth4a7e', 'v4if0'],
    versions: ['0.4.0', '1.0.0', '1.1.0'],
    result: ({ sandbox }) => ({
      interfaces: [
        { name: 'eni5c2' },
        { name: 'eth0', sandbox },
        { name: 'dummy5c2', mac: '0', sandbox: '0' },
        { name: 'veth4a7e', mac: '02:00:00:00:00:02' },
        { name: 'v4if0', mac: '02:00:00:00:00:03', sandbox },
      ],
      ips: [{ interface: 1, address: `${V6}/128` }],
      dns: {},
    }),
    addresses: [V6],
  },
  {
    plugin: 'a plugin that makes a second pair and lists nothing',
    source: 'CNI 1.1.0, SPEC.md, "ADD Success": interfaces may be absent; weaveworks/weave f7273bb',
    host: 'vethwepl7',
    beside: ['vethwepl8', 'eth1'],
    versions: ['0.4.0', '1.0.0'],
    result: () => ({ ips: [{ address: `${V4}/12` }] }),
    addresses: [V4],
  },
  {
    id: 'ovn',
    plugin: 'OVN-Kubernetes',
    source: 'ovn-kubernetes/ovn-kubernetes 284febb, go-controller/pkg/cni/cni.go (getCNIResult)',
    host: '3f0a7c2d1e4b5a6',
    versions: ['0.4.0', '1.0.0', '1.1.0'],
    result: pointToPoint('3f0a7c2d1e4b5a6'),
  },
  {
    plugin:
      "OVN-Kubernetes with a user's primary network: a second interface of the pod in one result",
    source:
      'ovn-kubernetes/ovn-kubernetes 284febb, go-controller/pkg/cni/cni.go (primaryUDNCmdAddGetCNIResultFunc)',
    host: '3f0a7c2d1e4b5a6',
    beside: ['3f0a7c2d1e4_3', 'ovn-udn1'],
    besideAddresses: ['10.94.0.7'],
    versions: ['1.1.0'],
    result: (names) => ({
      interfaces: [
        { name: '3f0a7c2d1e4b5a6' },
        { name: 'eth0', mac: names.mac, sandbox: names.sandbox },
        { name: '3f0a7c2d1e4_3' },
        { name: 'ovn-udn1', sandbox: names.sandbox },
      ],
      ips: [...addresses(1), { interface: 3, address: '10.94.0.7/24' }],
      dns: {},
    }),
  },
  {
    plugin: "Cilium's generic-veth, which passes the result on with another hardware address",
    source: 'cilium/cilium 09494e2, plugins/cilium-cni/chaining/generic-veth/generic-veth.go',
    host: 'eni5c2',
    versions: ['0.3.1', '0.4.0', '1.0.0'],
    result: ({ sandbox }) => ({
      interfaces: [{ name: 'eni5c2' }, { name: 'eth0', mac: '0a:00:00:00:00:07', sandbox }],
      ips: [{ interface: 1, address: `${V4}/32` }],
      dns: {},
    }),
    addresses: [V4],
  },
  {
    plugin: 'Antrea',
    source: 'antrea-io/antrea 008f343, pkg/agent/cniserver/server.go (updateResultIfaceConfig)',
    host: 'web-1-3f0a7c',
    versions: ALL,
    result: pointToPoint('web-1-3f0a7c'),
  },
  {
    plugin: 'Multus: bridge as second attachment of a pod',
    source:
      'containernetworking/plugins 00406f9, plugins/main/bridge/bridge.go; CNI_IFNAME as Multus gives it',
    host: 'vethd3e4',
    ifname: 'net1',
    beside: ['vethb1c2', 'eth0'],
    isOfAnother: true,
    versions: ['0.3.1', '1.0.0'],
    result: ({ sandbox, mac }) => ({
      interfaces: [{ name: 'br1' }, { name: 'vethd3e4' }, { name: 'net1', mac, sandbox }],
      ips: addresses(2, [24, 64]),
      dns: {},
    }),
  },
  {
    plugin: 'macvlan beside: its addresses and those of the node are left out',
    source: 'CNI 1.1.0, SPEC.md, "ADD Success": interfaces, ips',
    host: 'vethb1c2',
    versions: ALL,
    result: ({ sandbox, mac }) => ({
      interfaces: [
        { name: 'eth0' },
        { name: 'vethb1c2' },
        { name: 'net1', sandbox },
        { name: 'eth0', mac, sandbox },
        { name: 'eth0', sandbox: '/run/netns/pp-another' },
      ],
      ips: [
        { interface: 0, address: '192.0.2.1/24' },
        { interface: 1, address: '192.0.2.2/24' },
        { interface: 2, address: '192.0.2.3/24' },
        ...addresses(3),
        { interface: 4, address: '192.0.2.5/24' },
        { interface: 5, address: '192.0.2.6/24' },
      ],
    }),
  },
];

/** The result as a plugin prints it in a version: families of addresses before 1.0.0. */
export function inVersion(result: JsonObject, cniVersion: string): JsonObject {
  if (!OLD.includes(cniVersion)) return { cniVersion, ...result };
  const ips = (result['ips'] as readonly { address: string }[]).map((entry) => ({
    version: entry.address.includes(':') ? '6' : '4',
    ...entry,
  }));
  return { cniVersion, ...result, ips };
}
