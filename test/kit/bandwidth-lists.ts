// Network lists as projects publish them, with the bandwidth plugin: theirs, or added as its own
// documentation says. What each has of a template is filled in as its installer does.

import fs from 'node:fs';
import path from 'node:path';
import type { NetworkList } from './chain.ts';

/**
 * A plugin that Debian has not: the id of the result that a stand-in prints, in prev-results.ts.
 */
export type StandIns = Readonly<Record<string, string>>;

export interface PublishedList {
  /** Name of the file in test/netns/cni/conflists. */
  readonly file: string;
  /** Project, version or commit, and file. */
  readonly source: string;
  /** Whether the bandwidth plugin is in it; else it was added, as the last. */
  readonly hasBandwidth: boolean;
  /** The first makes the pair, the others hand the result on. */
  readonly standIns: StandIns;
  /** Its pod, when that is another list's as well; absent: one of its own. */
  readonly pod?: string;
  readonly ifname?: string;
}

const NONE: StandIns = {};

export const PUBLISHED: readonly PublishedList[] = [
  {
    file: 'calico',
    source: 'projectcalico/calico 8b08738, manifests/calico.yaml',
    hasBandwidth: true,
    standIns: { calico: 'calico' },
  },
  {
    file: 'canal',
    source: 'projectcalico/calico 48be29f, manifests/canal.yaml',
    hasBandwidth: true,
    standIns: { calico: 'canal' },
  },
  {
    file: 'flannel',
    source: 'flannel-io/flannel 3b242e9 (0.20.2), Documentation/kustomization/kube-flannel',
    hasBandwidth: false,
    standIns: { flannel: 'flannel' },
  },
  {
    file: 'kindnet',
    source: 'kubernetes-sigs/kind eab6fdb, images/kindnetd/cmd/kindnetd/cni.go',
    hasBandwidth: false,
    standIns: NONE,
  },
  {
    file: 'kube-router',
    source:
      'cloudnativelabs/kube-router 310c137, daemonset/kubeadm-kuberouter-all-features-hostport.yaml',
    hasBandwidth: false,
    standIns: NONE,
  },
  {
    file: 'cilium-generic-veth',
    source: 'cilium/cilium 21d690e, Documentation/installation/cni-chaining-calico.rst',
    hasBandwidth: false,
    standIns: { calico: 'calico', 'cilium-cni': 'calico' },
  },
  {
    file: 'aws',
    source:
      'aws/amazon-vpc-cni-k8s 7f137be, misc/10-aws.conflist; the bandwidth plugin as ENABLE_BANDWIDTH_PLUGIN adds it, cmd/aws-vpc-cni/main.go',
    hasBandwidth: true,
    standIns: { 'aws-cni': 'aws', 'egress-cni': 'aws' },
  },
  {
    file: 'azure',
    source: 'Azure/azure-container-networking 4e42959, cni/azure-linux.conflist',
    hasBandwidth: false,
    standIns: { 'azure-vnet': 'azure' },
  },
  {
    file: 'ovn-kubernetes',
    source:
      'ovn-kubernetes/ovn-kubernetes 73cbacb, go-controller/pkg/config/cni.go: a single configuration, made a list',
    hasBandwidth: false,
    standIns: { 'ovn-k8s-cni-overlay': 'ovn' },
  },
  {
    file: 'weave',
    source: 'weaveworks/weave fb9b4dd, weave setup-cni: /etc/cni/net.d/10-weave.conflist',
    hasBandwidth: false,
    standIns: { 'weave-net': 'weave' },
  },
  {
    file: 'multus-eth0',
    source:
      'k8snetworkplumbingwg/multus-cni a4f5fd4, examples/multus-ptp-portmap.conf: what it delegates to',
    hasBandwidth: false,
    standIns: NONE,
    pod: 'multus',
  },
  {
    file: 'multus-net1',
    source:
      'k8snetworkplumbingwg/multus-cni 7372922, examples/npwg-demo-1/07_ptp_tuning_conflist.yml: a second attachment; its name and subnet there are those of the other',
    hasBandwidth: false,
    standIns: NONE,
    pod: 'multus',
    ifname: 'net1',
  },
  {
    file: 'nomad',
    source: 'hashicorp/nomad 00e8d72, client/allocrunner/networking_bridge_linux.go',
    hasBandwidth: false,
    standIns: NONE,
  },
  {
    file: 'podman',
    source: 'containers/podman e379f7e, cni/87-podman-bridge.conflist',
    hasBandwidth: false,
    standIns: NONE,
  },
];

const DIRECTORY = path.join(import.meta.dirname, '../netns/cni/conflists');

/** Files of lists that are there. */
export function publishedFiles(): string[] {
  return fs.readdirSync(DIRECTORY).map((file) => file.replace(/\.conflist$/, ''));
}

/** The list, with the bandwidth plugin. */
export function readPublished(file: string): NetworkList {
  const text = fs.readFileSync(path.join(DIRECTORY, `${file}.conflist`), 'utf8');
  return JSON.parse(text) as NetworkList;
}
