// What the parts of a cluster are told: files and flags. No I/O.

/** Addresses of the node, the services, and what is off the node. */
export const ADDRESSES = {
  node: '10.9.0.1',
  peer: '10.9.0.2',
  service: '10.96.0.1',
  services: '10.96.0.0/24',
  pods: '10.85.0.0/16',
} as const;
export const NODE_NAME = 'node1';

/** What QEMU's user networking gives a guest; behind the gateway is where QEMU runs. */
export const GUEST_NETWORK = { device: 'eth0', address: '10.0.2.15', gateway: '10.0.2.2' } as const;

/**
 * By which machine a process belongs to a cluster: all of it, or one of the two parts that it is
 * where the node is a VM.
 */
export type Role = 'all' | 'control' | 'node';
export const ROLES: readonly Role[] = ['all', 'control', 'node'];

/** Of the apiserver, for the node and for pods. */
export const API = `https://${ADDRESSES.service}:443`;

/**
 * How long the node may be silent before it is not Ready. In a VM whose clock counts instructions
 * ten seconds may be minutes.
 */
const SILENCE_SEC: Readonly<Record<Role, number>> = { all: 30, control: 3600, node: 3600 };

/** Who may ask the apiserver: name of its kubeconfig, user and groups. */
export const USERS = {
  admin: { user: 'admin', group: 'system:masters' },
  kubelet: { user: `system:node:${NODE_NAME}`, group: 'system:nodes' },
  controllers: { user: 'system:kube-controller-manager', group: 'system:masters' },
  scheduler: { user: 'system:kube-scheduler', group: 'system:masters' },
} as const;
export type User = keyof typeof USERS;

export function tokenOf(user: User): string {
  return `token-of-${user}`;
}

/** The apiserver's table of tokens. */
export function tokenTable(): string {
  return Object.entries(USERS)
    .map(([name, { user, group }]) => `${tokenOf(name as User)},${user},${name},${group}\n`)
    .join('');
}

export function kubeconfig(directory: string, user: User): string {
  return JSON.stringify({
    ...{ apiVersion: 'v1', kind: 'Config', 'current-context': 'it' },
    clusters: [
      { name: 'it', cluster: { server: API, 'certificate-authority': `${directory}/pki/ca.crt` } },
    ],
    users: [{ name: 'it', user: { token: tokenOf(user) } }],
    contexts: [{ name: 'it', context: { cluster: 'it', user: 'it' } }],
  });
}

export function containerdConfig(directory: string, runc: string): string {
  return `
version = 2
root = "${directory}/containerd"
state = "/run/containerd"
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/idle:1"
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/opt/cni/bin"
    conf_dir = "/etc/cni/net.d"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      BinaryName = "${runc}"
`;
}

/** `isUnified`: control groups are of version 2 alone. */
export function kubeletConfig(directory: string, isUnified: boolean): string {
  return JSON.stringify({
    ...{ apiVersion: 'kubelet.config.k8s.io/v1beta1', kind: 'KubeletConfiguration' },
    ...{ cgroupDriver: 'cgroupfs', cgroupsPerQOS: isUnified, enforceNodeAllocatable: [] },
    ...{ failSwapOn: false, makeIPTablesUtilChains: false, oomScoreAdj: 0 },
    authentication: {
      ...{ anonymous: { enabled: false }, webhook: { enabled: true } },
      x509: { clientCAFile: `${directory}/pki/ca.crt` },
    },
    authorization: { mode: 'Webhook' },
    resolvConf: '/etc/resolv.conf',
    nodeStatusUpdateFrequency: '4s',
    // A machine that is full is no reason to refuse pods here.
    evictionHard: {
      'memory.available': '1Mi',
      'nodefs.available': '0%',
      'imagefs.available': '0%',
    },
    ...{ imageGCHighThresholdPercent: 100, imageGCLowThresholdPercent: 99 },
  });
}

const CONTROLLERS = [
  ...['daemonset', 'deployment', 'replicaset', 'job', 'serviceaccount', 'serviceaccount-token'],
  ...['root-ca-cert-publisher', 'nodelifecycle', 'namespace', 'garbagecollector', 'podgc'],
];

/** The processes of the control plane, in the order in which they start. */
export function controlPlane(directory: string, role: Role): readonly (readonly string[])[] {
  const pki = (name: string): string => `${directory}/pki/${name}`;
  return [
    [
      ...['etcd', '--data-dir', `${directory}/etcd`, '--unsafe-no-fsync'],
      ...['--listen-client-urls', 'http://127.0.0.1:2379'],
      ...['--advertise-client-urls', 'http://127.0.0.1:2379'],
      ...['--listen-peer-urls', 'http://127.0.0.1:2380'],
    ],
    [
      ...['kube-apiserver', '--etcd-servers=http://127.0.0.1:2379', '--secure-port=443'],
      ...['--bind-address=0.0.0.0', `--advertise-address=${ADDRESSES.node}`],
      `--service-cluster-ip-range=${ADDRESSES.services}`,
      `--tls-cert-file=${pki('apiserver.crt')}`,
      `--tls-private-key-file=${pki('apiserver.key')}`,
      `--client-ca-file=${pki('ca.crt')}`,
      `--token-auth-file=${directory}/tokens.csv`,
      ...['--authorization-mode=Node,RBAC', '--enable-admission-plugins=NodeRestriction'],
      '--service-account-issuer=https://kubernetes.default.svc',
      `--service-account-key-file=${pki('accounts.key')}`,
      `--service-account-signing-key-file=${pki('accounts.key')}`,
      `--kubelet-client-certificate=${pki('client.crt')}`,
      `--kubelet-client-key=${pki('client.key')}`,
      ...['--kubelet-preferred-address-types=InternalIP', '--enable-priority-and-fairness=false'],
    ],
    [
      ...['kube-controller-manager', `--kubeconfig=${directory}/controllers.kubeconfig`],
      `--service-account-private-key-file=${pki('accounts.key')}`,
      `--root-ca-file=${pki('ca.crt')}`,
      ...['--leader-elect=false', '--port=0', '--secure-port=0'],
      `--controllers=${CONTROLLERS.join(',')}`,
      ...['--node-monitor-period=2s', `--node-monitor-grace-period=${SILENCE_SEC[role]}s`],
    ],
    [
      ...['kube-scheduler', `--kubeconfig=${directory}/scheduler.kubeconfig`],
      ...['--leader-elect=false', '--port=0', '--secure-port=0'],
    ],
  ];
}

export function kubelet(directory: string): readonly string[] {
  const runtime = 'unix:///run/containerd/containerd.sock';
  return [
    ...['kubelet', `--config=${directory}/kubelet.json`],
    ...[`--kubeconfig=${directory}/kubelet.kubeconfig`, `--root-dir=/var/lib/kubelet`],
    `--cert-dir=${directory}/pki/kubelet`,
    ...['--container-runtime=remote', `--container-runtime-endpoint=${runtime}`],
    ...[`--image-service-endpoint=${runtime}`, `--hostname-override=${NODE_NAME}`],
    ...[`--node-ip=${ADDRESSES.node}`, '--v=2'],
  ];
}

/** A certificate with its key: name, subject and what it is for. */
export const CERTIFICATES = [
  {
    name: 'apiserver',
    subject: '/CN=kube-apiserver',
    extension: `subjectAltName=IP:127.0.0.1,IP:${ADDRESSES.service},IP:${ADDRESSES.node}`,
  },
  {
    name: 'client',
    subject: '/O=system:masters/CN=apiserver-kubelet-client',
    extension: 'extendedKeyUsage=clientAuth',
  },
] as const;
