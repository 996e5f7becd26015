// What podpace tells people to do about what is wrong: commands and flags that an error or a
// problem names stand here, and test/netns/scale/remedies.test.ts and
// test/vm/helper/remedies.test.ts carry each out. Pure.

/** A kernel module that podpace needs, and how the kernel's configuration calls it. */
function modprobe(qdisc: string): string {
  return `load it with "modprobe sch_${qdisc}" or use a kernel with CONFIG_NET_SCH_${qdisc.toUpperCase()}`;
}

function foreignQdisc(device: string): string {
  return (
    `remove it (tc qdisc del dev ${device} root), let podpace replace it (--foreign-qdisc replace), ` +
    'or name other uplinks (--uplink)'
  );
}

/** Somebody's program or filter before podpace's, of a priority in the case of filters. */
function inFront(device: string, hook: string, priority?: number): string {
  return priority === undefined
    ? 'have its owner attach it behind others (BPF_F_AFTER), or detach it'
    : `remove it (tc filter del dev ${device} ${hook} pref ${priority}), or give it a larger priority number`;
}

/** The older of the two qdiscs that hold filters, where podpace needs the newer. */
function ingressQdisc(device: string): string {
  return `have its owner use clsact, or remove it (tc qdisc del dev ${device} ingress)`;
}

/** How the node's bpffs gets to where podpaced looks for it. */
function nodeBpffs(place: string): string {
  return (
    `mount it on the node (mount -t bpf bpf ${place}), and into podpaced's container as hostPath ${place} ` +
    'with mountPropagation HostToContainer'
  );
}

export const remedies = {
  /** A place for pins that is none, or not the node's. */
  nodeBpffs,
  /** The same, where podpaced has the rights and the namespace to mount it. */
  mountBpffs: 'where podpaced itself may mount it, start it with --mount-bpffs',
  /** Pins that end with podpaced's mount namespace. */
  privateBpffs: 'or accept it with --private-bpffs',
  /** Another user than root. */
  root: 'run it as root',
  /** A capability that the kernel asks for. */
  capabilities: 'add it to the capabilities of its container or unit',
  /** No place for the native addons. */
  addonPlaces: (places: readonly string[]): string =>
    `one of ${places.join(' and ')} must have room for 2 MB, be writable, and not be mounted noexec`,
  /** A state directory that is full. */
  room: (directory: string): string => `make room on the file system of ${directory}`,
  /** No helper at the socket. */
  startHelper:
    'start podpaced on this node (podpaced run), or correct "socket" in the network configuration',
  /** What the kernel holds for an attachment whose record is gone. */
  lostRecord: 'delete the pod and add it again, or run podpaced uninstall',
  /** Something at the socket that is no helper of this or a former release. */
  sameRelease: 'install podpace and podpaced of the same release',
  /** A helper that is older than whoever asks it. */
  newerHelper: (caller: string): string =>
    `upgrade podpaced to the release of ${caller}, and restart it`,
  /** An executable that is older than the helper. */
  newerCaller: (caller: string): string =>
    `upgrade ${caller} to the release of the podpaced that runs`,
  /** A qdisc on an exit that somebody configured. */
  foreignQdisc,
  /** Shaping of a pod that was added by the CNI bandwidth plugin. */
  formerPlugin: 'recreate the pod, by a network list that has podpace instead of "bandwidth"',
  /** Who comes before podpace at a hook, and cannot be passed. */
  inFront,
  /** An `ingress` qdisc where a program has to come to egress, on kernels without tcx. */
  ingressQdisc,
  /** A qdisc that the kernel does not have. */
  missingQdisc: modprobe,
  /** Something that is switched on when a kernel is built. */
  kernelWith: (...options: readonly string[]): string =>
    `use a kernel with ${options.join(' and ')}`,
  /** Something that came with a release of Linux; vendors have it in older ones too. */
  newerKernel: (release: string): string => `use a newer kernel: Linux ${release} has it`,
  /** No way off the node. */
  noUplink: 'add a default route, or name the uplink with --uplink',
  /** A cap that is wrong at the moment. */
  waitForRepair: 'podpaced repairs this at its next reconciliation; see podpaced status',
  /** An attachment that nobody knows. */
  unknownAttachment: 'podpaced list shows the pods that were added with a cap',
  /** Interfaces of a pod that came after its cap. */
  lastInList:
    'put podpace behind all plugins of the list that make interfaces, and add the pod again',
  /** A host interface that is not where podpaced is. */
  nodeNamespace: 'podpaced must run in the network namespace of the node',
} as const;
