// Where runtimes look for network configurations and plugins: what their own configuration says,
// and where distributions have them. Pure.

import { isJsonObject, type JsonObject } from '../protocol/shape.ts';

export interface Places {
  readonly confDir?: string;
  readonly binDirs?: readonly string[];
  /** Name of the network that pods get (CRI-O). */
  readonly defaultNetwork?: string;
}

type RuntimeKind = 'containerd' | 'CRI-O';

export interface Runtime {
  readonly name: string;
  readonly kind: RuntimeKind;
  /** It is there where one of these is. */
  readonly signs: readonly string[];
  readonly config: string;
  /** It runs where this is. */
  readonly socket: string;
  /** Where its configuration says nothing. */
  readonly confDir: string;
  readonly binDirs: readonly string[];
}

const CONTAINERD = {
  kind: 'containerd',
  config: '/etc/containerd/config.toml',
  socket: '/run/containerd/containerd.sock',
  confDir: '/etc/cni/net.d',
  binDirs: ['/opt/cni/bin'],
} as const;

const CRIO = {
  kind: 'CRI-O',
  config: '/etc/crio/crio.conf',
  socket: '/run/crio/crio.sock',
  confDir: '/etc/cni/net.d',
  binDirs: ['/opt/cni/bin'],
} as const;

const RKE2 = '/var/lib/rancher/rke2/agent/etc/containerd/config.toml';
const K3S = '/var/lib/rancher/k3s/agent/etc/containerd/config.toml';
const MICROK8S = '/var/snap/microk8s/current';

/**
 * Those that have places of their own come before those that do as upstream. minikube and kind do:
 * /etc/containerd/config.toml or /etc/crio, /etc/cni/net.d, /opt/cni/bin (their node images).
 */
export const RUNTIMES: readonly Runtime[] = [
  // k3s: pkg/agent/config writes both directories into this file; docs.k3s.io, "Networking". The
  // plugins moved from data/current/bin to data/cni in 1.30.
  {
    ...{ ...CONTAINERD, name: 'k3s', signs: [K3S], config: K3S },
    socket: '/run/k3s/containerd/containerd.sock',
    confDir: '/var/lib/rancher/k3s/agent/etc/cni/net.d',
    binDirs: ['/var/lib/rancher/k3s/data/cni', '/var/lib/rancher/k3s/data/current/bin'],
  },
  // RKE2: docs.rke2.io, "Containerd"; upstream's directories.
  {
    ...{ ...CONTAINERD, name: 'RKE2', signs: [RKE2], config: RKE2 },
    socket: '/run/k3s/containerd/containerd.sock',
  },
  // MicroK8s: microk8s-resources/default-args/containerd-template.toml, SNAP_DATA filled in.
  {
    ...{ ...CONTAINERD, name: 'MicroK8s', signs: [`${MICROK8S}/args/containerd.toml`] },
    config: `${MICROK8S}/args/containerd.toml`,
    socket: '/var/snap/microk8s/common/run/containerd.sock',
    confDir: `${MICROK8S}/args/cni-network`,
    binDirs: [`${MICROK8S}/opt/cni/bin`],
  },
  // Talos: internal/pkg/containers/cri and its "CNI" guide; one containerd for pods, another for
  // the system.
  {
    ...{ ...CONTAINERD, name: 'Talos', signs: ['/etc/cri/containerd.toml'] },
    config: '/etc/cri/containerd.toml',
  },
  // GKE: cluster/gce/gci/configure-helper.sh of Kubernetes; /opt is read-only on its image.
  {
    ...{ ...CONTAINERD, name: 'GKE', signs: ['/home/kubernetes/bin'] },
    binDirs: ['/home/kubernetes/bin'],
  },
  // OpenShift: machine-config-operator, templates/common/_base/files/crio.yaml. CRI-O takes
  // 00-multus.conf there.
  {
    ...{ ...CRIO, name: 'OpenShift', signs: ['/etc/kubernetes/cni/net.d'] },
    confDir: '/etc/kubernetes/cni/net.d',
    binDirs: ['/var/lib/cni/bin'],
  },
  // CRI-O: docs/crio.conf.5.md.
  { ...CRIO, name: 'CRI-O', signs: [CRIO.config, `${CRIO.config}.d`, CRIO.socket] },
  // containerd: docs/cri/config.md; Debian's own build looks in /usr/lib/cni first.
  {
    ...{ ...CONTAINERD, name: 'containerd', signs: [CONTAINERD.config, CONTAINERD.socket] },
    binDirs: ['/opt/cni/bin', '/usr/lib/cni'],
  },
];

/** Names of the plugin that has the section: configuration version 3, 2, and 1. */
const CRI_PLUGINS = ['io.containerd.cri.v1.runtime', 'io.containerd.grpc.v1.cri', 'cri'];

function table(value: unknown, ...keys: readonly string[]): JsonObject | undefined {
  let found = value;
  for (const key of keys) found = asObject(found)?.[key];
  return asObject(found);
}

/** TOML's tables may have no prototype. */
function asObject(value: unknown): JsonObject | undefined {
  const isTable = typeof value === 'object' && value !== null && !Array.isArray(value);
  return isTable || isJsonObject(value) ? (value as JsonObject) : undefined;
}

function texts(value: unknown): readonly string[] | undefined {
  const list = (Array.isArray(value) ? value : [value]).filter(
    (entry): entry is string => typeof entry === 'string' && entry !== '',
  );
  return list.length === 0 ? undefined : list;
}

function placesIn(confDir: unknown, binDirs: unknown, defaultNetwork?: unknown): Places {
  const [conf, bins, network] = [texts(confDir)?.[0], texts(binDirs), texts(defaultNetwork)?.[0]];
  return {
    ...(conf !== undefined && { confDir: conf }),
    ...(bins !== undefined && { binDirs: bins }),
    ...(network !== undefined && { defaultNetwork: network }),
  };
}

/**
 * What containerd's files say, in the order in which it reads them. The section of a plugin in a
 * later file stands for the whole one of an earlier (mergeConfig of cmd/containerd/server/config).
 */
export function containerdPlaces(files: readonly unknown[]): Places {
  const found = CRI_PLUGINS.map((plugin) =>
    files.map((file) => table(file, 'plugins', plugin)).findLast((one) => one !== undefined),
  );
  const cni = found.map((plugin) => table(plugin, 'cni')).find((one) => one !== undefined);
  return placesIn(cni?.['conf_dir'], texts(cni?.['bin_dirs']) ?? cni?.['bin_dir']);
}

/** What CRI-O's files say; each key of a later one stands for that of an earlier. */
export function crioPlaces(files: readonly unknown[]): Places {
  const network = Object.assign(
    {},
    ...files.map((file) => table(file, 'crio', 'network') ?? {}),
  ) as JsonObject;
  return placesIn(
    network['network_dir'],
    texts(network['plugin_dirs']) ?? network['plugin_dir'],
    network['cni_default_network'],
  );
}

/**
 * Files that one of containerd's imports, as they are written there: patterns, perhaps relative.
 */
export function importsOf(file: unknown): readonly string[] {
  return texts(asObject(file)?.['imports']) ?? [];
}
