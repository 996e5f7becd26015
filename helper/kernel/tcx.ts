// tcx links: programs at the hooks of a device, since Linux 6.6. Descriptors are plain numbers that the caller closes
// with fs.closeSync.

import { BpfAttr, COMMAND } from './bpf-attr.ts';
import { objectInfo } from './bpf.ts';
import { hasErrno, KernelError } from './errors.ts';

/** `enum bpf_attach_type` of linux/bpf.h. */
const ATTACH_TYPE = { ingress: 46, egress: 47 } as const;

/** BPF_F_BEFORE without a relative: in front of all others. */
const BPF_F_BEFORE = 1 << 3;

/** A tcx hook of a device of the calling thread's network namespace. */
export interface TcxPlace {
  readonly ifindex: number;
  readonly hook: keyof typeof ATTACH_TYPE;
}

/** What the kernel says of a tcx link. */
export interface LinkInfo {
  readonly id: number;
  readonly programId: number;
  /** 0 once the device is gone. */
  readonly ifindex: number;
}

/** Attaches a program in front of all others and returns the link's descriptor; the link ends with its last reference. */
export function createTcxLink({
  programFd,
  ifindex,
  hook,
}: TcxPlace & { readonly programFd: number }): number {
  return new BpfAttr()
    .u32(0, programFd)
    .u32(4, ifindex)
    .u32(8, ATTACH_TYPE[hook])
    .u32(12, BPF_F_BEFORE)
    .call(`attach a program to tcx ${hook} of interface ${ifindex}`, COMMAND.LINK_CREATE);
}

/** Replaces the program of a link without a gap. */
export function updateLink(linkFd: number, programFd: number): void {
  new BpfAttr()
    .u32(0, linkFd)
    .u32(4, programFd)
    .call('replace the program of a BPF link', COMMAND.LINK_UPDATE);
}

/** struct bpf_link_info of linux/bpf.h, for a tcx link. */
export function linkInfo(fd: number): LinkInfo {
  const info = objectInfo(fd, 'link', 24);
  return { id: info.readUInt32LE(4), programId: info.readUInt32LE(8), ifindex: info.readUInt32LE(16) };
}

/** The kernel's BPF_MPROG_MAX: no tcx hook holds more. */
const TCX_PROGRAMS_MAX = 64;

/** Ids of the programs at a tcx hook, in the order in which they run. KernelError EINVAL before Linux 6.6. */
export function queryTcx(ifindex: number, hook: TcxPlace['hook']): number[] {
  const ids = Buffer.alloc(TCX_PROGRAMS_MAX * 4);
  const attr = new BpfAttr()
    .u32(0, ifindex)
    .u32(4, ATTACH_TYPE[hook])
    .pointer(16, ids)
    .u32(24, TCX_PROGRAMS_MAX);
  try {
    attr.call(`list the programs at tcx ${hook} of interface ${ifindex}`, COMMAND.PROG_QUERY);
  } catch (error) {
    // A hook that never had a program.
    if (hasErrno(error, 'ENOENT')) return [];
    throw error;
  }
  return Array.from({ length: attr.readU32(24) }, (_, index) => ids.readUInt32LE(index * 4));
}

/** The loopback device, which every network namespace has. */
const LOOPBACK_IFINDEX = 1;

/** Whether the kernel has tcx links (Linux 6.6), found by asking for one hook's programs. */
export function isTcxSupported(): boolean {
  try {
    queryTcx(LOOPBACK_IFINDEX, 'egress');
    return true;
  } catch (error) {
    if (error instanceof KernelError && error.errno === 'EINVAL') return false;
    throw error;
  }
}
