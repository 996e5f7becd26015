import { capture, CommandError } from './process.ts';

/** Packages that emulate a machine, by its architecture. */
export const emulators = { x64: 'qemu-system-x86', arm64: 'qemu-system-arm' } as const;

const cnitool = ['golang-go', 'xz-utils'];

/**
 * Debian packages by what they are needed for; give one set, or several joined, to
 * `ensurePackages`.
 */
export const packageSets = {
  /** Compiling the BPF programs. */
  build: ['clang', 'binutils', 'linux-libc-dev', 'libbpf-dev'],
  /** Putting libraries of this machine into an image. */
  image: ['libc-bin', 'gzip'],
  /** A Kubernetes in namespaces. */
  cluster: ['openssl', 'busybox-static', 'containernetworking-plugins', 'iproute2', 'util-linux'],
  /** Booting a Debian kernel over this machine's files. */
  vm: [
    process.arch === 'arm64' ? emulators.arm64 : emulators.x64,
    'qemu-system-common',
    'busybox-static',
    'kmod',
    'iproute2',
    'util-linux',
  ],
  /** Building cnitool from its source package. */
  cnitool,
  /** Running the CNI plugins of others, making namespaces and measuring between them. */
  lab: [...cnitool, 'containernetworking-plugins', 'iproute2', 'iperf3', 'util-linux'],
  /** What the benches run besides. */
  bench: ['sockperf', 'rt-tests', 'coreutils', 'kmod', 'nftables'],
  /** Making exits of every kind, and others who have something to do with packets. */
  exits: ['wireguard-tools', 'ethtool', 'libteam-utils', 'nftables', 'socat'],
  /** What else may be on the way of a pod's packets. */
  crossings: ['openvswitch-switch', 'ipvsadm'],
  /** Certificates for a stand-in of the API server. */
  standIns: ['openssl'],
  /** Completing command lines in each. */
  shells: ['zsh', 'fish'],
  /** Reading manual pages critically. */
  manuals: ['mandoc'],
} as const satisfies Record<string, readonly string[]>;

/**
 * What each of these packages brings, by which its like is known on another distribution: a
 * command, or a path from the root.
 */
export const packageContents: Readonly<Record<string, string>> = {
  clang: 'clang',
  binutils: 'strip',
  'binutils-aarch64-linux-gnu': 'aarch64-linux-gnu-strip',
  'binutils-x86-64-linux-gnu': 'x86_64-linux-gnu-strip',
  'linux-libc-dev': '/usr/include/linux/bpf.h',
  'libbpf-dev': '/usr/include/bpf/bpf_helpers.h',
  'qemu-system-x86': 'qemu-system-x86_64',
  'qemu-system-arm': 'qemu-system-aarch64',
  'qemu-system-common': '/usr/lib/qemu/virtiofsd',
  'busybox-static': '/bin/busybox',
  kmod: 'depmod',
  iproute2: 'tc',
  'util-linux': 'setpriv',
  'golang-go': 'go',
  'xz-utils': 'xz',
  'containernetworking-plugins': '/usr/lib/cni/host-local',
  iperf3: 'iperf3',
  sockperf: 'sockperf',
  'wireguard-tools': 'wg',
  ethtool: 'ethtool',
  'libteam-utils': 'teamnl',
  nftables: 'nft',
  'openvswitch-switch': 'ovs-vswitchd',
  ipvsadm: 'ipvsadm',
  socat: 'socat',
  'rt-tests': 'cyclictest',
  coreutils: 'stdbuf',
  openssl: 'openssl',
  'libc-bin': 'ldd',
  gzip: 'gzip',
};

/**
 * Whether the running kernel offers the fq qdisc: puts one on the loopback device of a network
 * namespace that is gone when the command ends. Needs root and iproute2; throws CommandError when
 * `tc` cannot be run at all.
 */
export async function hasSchFq(): Promise<boolean> {
  try {
    await capture('unshare', ['--net', 'tc', 'qdisc', 'add', 'dev', 'lo', 'root', 'fq']);
    return true;
  } catch (error) {
    // tc's status 2 is the kernel's refusal; anything else means that the question was not put.
    if (error instanceof CommandError && error.status === 2) return false;
    throw error;
  }
}
