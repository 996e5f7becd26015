// BPF programs as direct-action filters under a clsact qdisc: how kernels that have no tcx run them.

import { FlagsNew } from 'netlink/dist/constants.js';
import { encodeAttributes } from '../wire/attributes.ts';
import {
  CLSACT_HANDLE,
  RTM_DELTFILTER,
  RTM_GETTFILTER,
  RTM_NEWQDISC,
  RTM_NEWTFILTER,
  TC_H_CLSACT,
  decodeBpfFilterOptions,
  decodeFilterInfo,
  decodeTcObject,
  encodeFilterInfo,
  encodeTcRequest,
  hookParent,
  writeBpfFilterOptions,
} from '../wire/tc-message.ts';
import type { BpfFilterOptions, TcHook } from '../wire/tc-message.ts';
import { KernelError, hasErrno } from './errors.ts';
import { deleteQdisc, listQdiscs } from './qdiscs.ts';
import type { RtSocket } from './rtnetlink.ts';

export type { TcHook } from '../wire/tc-message.ts';

/** ETH_P_ALL of linux/if_ether.h: packets of every protocol. */
const ETH_P_ALL = 3;

/** A BPF filter that stands at a hook. */
export interface BpfFilter extends BpfFilterOptions {
  /** The hook's filters run from the lowest number up. */
  readonly priority: number;
  /** EtherType; 3 is all of them. */
  readonly protocol: number;
  readonly handle: number;
}

/** Where a filter stands. */
export interface FilterPlace {
  readonly ifindex: number;
  readonly hook: TcHook;
  readonly priority: number;
  readonly handle: number;
}

/**
 * Makes sure that a device has a clsact qdisc; true when it was made now. Rejects with KernelError EEXIST when the
 * older `ingress` qdisc stands in its place, which has no egress hook.
 */
export async function ensureClsact(rt: RtSocket, ifindex: number): Promise<boolean> {
  const operation = `create qdisc "clsact" on interface ${ifindex}`;
  const payload = encodeTcRequest({ ifindex, parent: TC_H_CLSACT, handle: CLSACT_HANDLE, kind: 'clsact' });
  try {
    const flags = FlagsNew.CREATE | FlagsNew.EXCL;
    await rt.execute({ operation, type: RTM_NEWQDISC, flags, payload });
    return true;
  } catch (error) {
    if (!hasErrno(error, 'EEXIST')) throw error;
  }
  const standing = (await listQdiscs(rt, ifindex)).find(({ parent }) => parent === TC_H_CLSACT);
  if (standing?.kind === 'clsact') return false;
  throw new KernelError(operation, 'EEXIST', `qdisc "${standing?.kind ?? 'unknown'}" stands in its place`);
}

/** Removes a device's clsact qdisc with every filter on it. Rejects with KernelError ENOENT or EINVAL for none. */
export function removeClsact(rt: RtSocket, ifindex: number): Promise<void> {
  return deleteQdisc(rt, { ifindex, parent: TC_H_CLSACT, handle: CLSACT_HANDLE });
}

/** The BPF filters of the chain that packets enter, in the order they run; filters of other kinds are left out. */
export function listBpfFilters(rt: RtSocket, ifindex: number, hook: TcHook): Promise<BpfFilter[]> {
  const operation = `list ${hook} filters of interface ${ifindex}`;
  const payload = encodeTcRequest({ ifindex, parent: hookParent(hook) });
  return rt.dump({ operation, type: RTM_GETTFILTER, payload }, decodeBpfFilter);
}

/** Whether anybody has a filter of any kind at a hook. Rejects with KernelError EINVAL when there is no clsact qdisc. */
export async function hasFilters(rt: RtSocket, ifindex: number, hook: TcHook): Promise<boolean> {
  const operation = `list ${hook} filters of interface ${ifindex}`;
  const payload = encodeTcRequest({ ifindex, parent: hookParent(hook) });
  const filters = await rt.dump({ operation, type: RTM_GETTFILTER, payload }, (message) => message);
  return filters.length > 0;
}

/**
 * Runs the program behind `programFd` at a hook, in place of the one that had the same priority and handle: no
 * packet goes without either. Rejects with KernelError EINVAL when there is no clsact qdisc.
 */
export function replaceBpfFilter(
  rt: RtSocket,
  filter: FilterPlace & { readonly programFd: number; readonly name: string },
): Promise<void> {
  const options = encodeAttributes((attributes) => writeBpfFilterOptions(attributes, filter));
  return rt.execute({
    operation: `put filter "${filter.name}" ${describe(filter)}`,
    type: RTM_NEWTFILTER,
    flags: FlagsNew.CREATE,
    payload: encodeTcRequest({ ...place(filter), kind: 'bpf', options }),
  });
}

/** Removes one filter. Rejects with KernelError ENOENT when it is gone, EINVAL when the clsact qdisc is. */
export function deleteFilter(rt: RtSocket, filter: FilterPlace): Promise<void> {
  return rt.execute({
    operation: `delete the filter ${describe(filter)}`,
    type: RTM_DELTFILTER,
    payload: encodeTcRequest({ ...place(filter), kind: 'bpf' }),
  });
}

function place({ ifindex, hook, priority, handle }: FilterPlace): {
  ifindex: number;
  parent: number;
  info: number;
  handle: number;
} {
  return { ifindex, parent: hookParent(hook), info: encodeFilterInfo(priority, ETH_P_ALL), handle };
}

function describe({ ifindex, hook, priority, handle }: FilterPlace): string {
  return `at ${hook} of interface ${ifindex} with priority ${priority} and handle ${handle}`;
}

/** Without a handle it is no filter but the head of a priority's list. */
function decodeBpfFilter(payload: Buffer): BpfFilter | undefined {
  const { kind, handle, info, options, chain } = decodeTcObject(payload);
  if (kind !== 'bpf' || handle === 0 || chain !== 0) return undefined;
  return { ...decodeFilterInfo(info), handle, ...decodeBpfFilterOptions(options) };
}
