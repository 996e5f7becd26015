// What podpace tells people to do about what is wrong: every command and flag that an error or a problem names stands here,
// and test/vm/remedies.test.ts and its like carry each out. Pure.

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

export const remedies = {
  /** A qdisc on an exit that somebody configured. */
  foreignQdisc,
  /** A qdisc that the kernel does not have. */
  missingQdisc: modprobe,
  /** No way off the node. */
  noUplink: 'add a default route, or name the uplink with --uplink',
  /** A cap that is wrong at the moment. */
  waitForRepair: 'podpaced repairs this at its next reconciliation; see podpaced status',
  /** An attachment that nobody knows. */
  unknownAttachment: 'podpaced list shows the pods that were added with a cap',
  /** A host interface that is not where podpaced is. */
  nodeNamespace: 'podpaced must run in the network namespace of the node',
} as const;
