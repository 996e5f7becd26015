// Links of programs to the hooks of a device: tcx, and the far end of a netkit pair.
// Descriptors are plain numbers that the caller closes with fs.closeSync.

import type { HookName, Place } from '../wire/hook-place.ts';
import { BpfAttr, COMMAND, LINK_CREATE, LINK_DETACH, LINK_UPDATE, QUERY } from './bpf-attr.ts';
import { objectInfo } from './bpf.ts';
import { KernelError } from '../wire/errors.ts';

/** `enum bpf_attach_type` of linux/bpf.h. */
const BPF_TCX_INGRESS = 46;
const BPF_TCX_EGRESS = 47;
const BPF_NETKIT_PEER = 55;

/** Without a relative: in front of all others, behind all others. */
const BPF_F_BEFORE = 1 << 3;
const BPF_F_AFTER = 1 << 4;

const HOOKS = {
  ingress: { type: BPF_TCX_INGRESS, order: BPF_F_BEFORE },
  egress: { type: BPF_TCX_EGRESS, order: BPF_F_BEFORE },
  ingressLast: { type: BPF_TCX_INGRESS, order: BPF_F_AFTER },
  peer: { type: BPF_NETKIT_PEER, order: BPF_F_BEFORE },
  peerLast: { type: BPF_NETKIT_PEER, order: BPF_F_AFTER },
} as const satisfies Record<HookName, unknown>;

/** What the kernel says of such a link. */
export interface LinkInfo {
  readonly id: number;
  readonly programId: number;
  /** 0 once the device is gone; of a link to `peer` the index of the far end, in its namespace. */
  readonly ifindex: number;
}

/**
 * Attaches a program to a hook of a device of the calling thread's network namespace, and returns
 * the link's descriptor; the link ends with its last reference. The program runs before this
 * returns: its caller waits for a grace period of the kernel.
 */
export function createTcxLink({
  programFd,
  ifindex,
  hook,
}: Place & { readonly programFd: number }): number {
  return new BpfAttr()
    .u32(LINK_CREATE.progFd, programFd)
    .u32(LINK_CREATE.targetIfindex, ifindex)
    .u32(LINK_CREATE.attachType, HOOKS[hook].type)
    .u32(LINK_CREATE.flags, HOOKS[hook].order)
    .call(`attach a program to ${hook} of interface ${ifindex}`, COMMAND.LINK_CREATE);
}

/** Ends a link, whoever still refers to it. Its caller waits for a grace period of the kernel. */
export function detachLink(linkFd: number): void {
  new BpfAttr().u32(LINK_DETACH.linkFd, linkFd).call('end a BPF link', COMMAND.LINK_DETACH);
}

/** Replaces the program of a link without a gap. */
export function updateLink(linkFd: number, programFd: number): void {
  new BpfAttr()
    .u32(LINK_UPDATE.linkFd, linkFd)
    .u32(LINK_UPDATE.newProgFd, programFd)
    .call('replace the program of a BPF link', COMMAND.LINK_UPDATE);
}

/**
 * Members of struct bpf_link_info of linux/bpf.h: of every link, of one to a device (tcx, netkit),
 * and of one to a control group.
 */
export const LINK_INFO = { id: 4, progId: 8, ifindex: 16, cgroupId: 16 } as const;

/** To the end of the last of them, a number of 64 bits. */
const LINK_INFO_BYTES = LINK_INFO.cgroupId + 8;

/** The members of LINK_INFO, as the kernel gives them for any link. */
export function readLinkInfo(fd: number): Buffer {
  return objectInfo(fd, 'link', LINK_INFO_BYTES);
}

/** What the kernel says of a tcx or a netkit link. */
export function linkInfo(fd: number): LinkInfo {
  const info = readLinkInfo(fd);
  return {
    id: info.readUInt32LE(LINK_INFO.id),
    programId: info.readUInt32LE(LINK_INFO.progId),
    ifindex: info.readUInt32LE(LINK_INFO.ifindex),
  };
}

/** The kernel's BPF_MPROG_MAX: no tcx hook holds more. */
const TCX_PROGRAMS_MAX = 64;

/** A program at a hook. */
export interface TcxProgram {
  readonly programId: number;
  /** 0 for one that was attached without a link. */
  readonly linkId: number;
}

/**
 * What the kernel fills in, and what asks for it: thousands of places are asked after, and each
 * answer is read at once.
 */
const PROGRAM_IDS = Buffer.alloc(TCX_PROGRAMS_MAX * 4);
const LINK_IDS = Buffer.alloc(TCX_PROGRAMS_MAX * 4);
let queryAttr: BpfAttr | undefined;

/**
 * The programs at a hook, in the order in which they run. KernelError EINVAL without tcx, ENODEV
 * when the device is gone. Takes the kernel's rtnl lock.
 */
export function queryTcxLinks(ifindex: number, hook: HookName): TcxProgram[] {
  queryAttr ??= new BpfAttr().pointer(QUERY.progIds, PROGRAM_IDS).pointer(QUERY.linkIds, LINK_IDS);
  const attr = queryAttr
    .u32(QUERY.targetIfindex, ifindex)
    .u32(QUERY.attachType, HOOKS[hook].type)
    .u32(QUERY.progCnt, TCX_PROGRAMS_MAX);
  const operation = `list the programs at ${hook} of interface ${ifindex}`;
  // A hook that never had a program.
  if (attr.callUnless('ENOENT', operation, COMMAND.PROG_QUERY) === undefined) return [];
  return Array.from({ length: attr.readU32(QUERY.progCnt) }, (_, index) => {
    return {
      programId: PROGRAM_IDS.readUInt32LE(index * 4),
      linkId: LINK_IDS.readUInt32LE(index * 4),
    };
  });
}

/** Ids of the programs at a hook, like queryTcxLinks. */
export function queryTcx(ifindex: number, hook: HookName): number[] {
  return queryTcxLinks(ifindex, hook).map(({ programId }) => programId);
}

/** The loopback device, which every network namespace has. */
const LOOPBACK_IFINDEX = 1;

/** Whether the kernel has tcx links, found by asking for one hook's programs. */
export function isTcxSupported(): boolean {
  try {
    queryTcx(LOOPBACK_IFINDEX, 'egress');
    return true;
  } catch (error) {
    if (error instanceof KernelError && error.errno === 'EINVAL') return false;
    throw error;
  }
}
