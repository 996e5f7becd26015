// BPF programs as direct-action filters under a clsact qdisc: how kernels that have no tcx run
// them.

import { FlagsNew } from 'netlink/dist/constants.js';
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
import { KernelError, hasErrno, unlessRefused } from '../wire/errors.ts';
import { remedies } from '../protocol/remedies.ts';
import { findLink } from './links.ts';
import { deleteQdisc, listQdiscs } from './qdiscs.ts';
import type { RtSocket } from './rtnetlink.ts';

export type { TcHook } from '../wire/tc-message.ts';

/** ETH_P_ALL of linux/if_ether.h: packets of every protocol. */
export const ETH_P_ALL = 3;

/** A filter of any kind that stands at a hook. */
export interface TcFilter {
  readonly kind: string;
  /**
   * The hook's filters run from the lowest number up; all of one number have one kind and one
   * protocol.
   */
  readonly priority: number;
  /** EtherType; 3 is all of them. */
  readonly protocol: number;
  /** 0 of what is no filter but the head of a priority's list. */
  readonly handle: number;
  /** 0 is the one that packets enter. */
  readonly chain: number;
  readonly options: Buffer;
}

/** A BPF filter that stands at a hook. */
export interface BpfFilter
  extends BpfFilterOptions, Pick<TcFilter, 'priority' | 'protocol' | 'handle'> {}

/** All filters at hooks of devices, by `nameOfPlace`. */
export type FilterLists = ReadonlyMap<string, readonly TcFilter[]>;

/** Where a filter stands. */
export interface FilterPlace {
  readonly ifindex: number;
  readonly hook: TcHook;
  readonly priority: number;
  readonly handle: number;
}

/**
 * Makes sure that a device has a hook; true when a clsact qdisc was made for it now. The older
 * `ingress` qdisc has one of the two hooks, for which it will do. Rejects with KernelError EEXIST
 * where it stands in clsact's place and the hook is egress.
 */
export async function ensureHook(rt: RtSocket, ifindex: number, hook: TcHook): Promise<boolean> {
  try {
    return await ensureClsact(rt, ifindex);
  } catch (error) {
    if (!hasErrno(error, 'EEXIST')) throw error;
    if (hook === 'ingress') return false;
    const { name = String(ifindex) } = (await findLink(rt, { index: ifindex })) ?? {};
    throw new KernelError(
      `come to ${hook} of ${name}`,
      'EEXIST',
      `qdisc "ingress" stands in the place of clsact: ${remedies.ingressQdisc(name)}`,
    );
  }
}

/**
 * Makes sure that a device has a clsact qdisc; true when it was made now. Rejects with KernelError
 * EEXIST when the older `ingress` qdisc stands in its place, which has no egress hook.
 */
export async function ensureClsact(rt: RtSocket, ifindex: number): Promise<boolean> {
  const operation = `create qdisc "clsact" on interface ${ifindex}`;
  const payload = encodeTcRequest({
    ifindex,
    parent: TC_H_CLSACT,
    handle: CLSACT_HANDLE,
    kind: 'clsact',
  });
  try {
    const flags = FlagsNew.CREATE | FlagsNew.EXCL;
    await rt.execute({ operation, type: RTM_NEWQDISC, flags, payload });
    return true;
  } catch (error) {
    if (!hasErrno(error, 'EEXIST')) throw error;
  }
  if (await isClsact(rt, { ifindex, payload })) return false;
  const standing = (await listQdiscs(rt, ifindex)).find(({ parent }) => parent === TC_H_CLSACT);
  throw new KernelError(
    operation,
    'EEXIST',
    `qdisc "${standing?.kind ?? 'unknown'}" stands in its place`,
  );
}

/**
 * Whether what stands there is clsact: only that takes a change, of nothing, as clsact. To ask for
 * it would take a list of the qdiscs of all devices.
 */
function isClsact(
  rt: RtSocket,
  { ifindex, payload }: { readonly ifindex: number; readonly payload: Buffer },
): Promise<boolean> {
  const operation = `find qdisc "clsact" on interface ${ifindex}`;
  const change = rt.execute({ operation, type: RTM_NEWQDISC, payload });
  return unlessRefused(
    ['EINVAL', 'ENOENT'],
    change.then(() => true),
    false,
  );
}

/**
 * Removes a device's clsact qdisc with every filter on it. Rejects with KernelError ENOENT or
 * EINVAL for none.
 */
export function removeClsact(rt: RtSocket, ifindex: number): Promise<void> {
  return deleteQdisc(rt, { ifindex, parent: TC_H_CLSACT, handle: CLSACT_HANDLE });
}

/**
 * All filters at a hook with the heads of their lists, in the order they run. Rejects with
 * KernelError EINVAL or ENOENT when there is no clsact qdisc.
 */
export function listFilters(rt: RtSocket, ifindex: number, hook: TcHook): Promise<TcFilter[]> {
  const operation = `list ${hook} filters of interface ${ifindex}`;
  const payload = encodeTcRequest({ ifindex, parent: hookParent(hook) });
  return rt.dump({ operation, type: RTM_GETTFILTER, payload }, decodeFilter);
}

/** The same where there may be no clsact qdisc, or no device any more: none then. */
export function filtersAt(rt: RtSocket, ifindex: number, hook: TcHook): Promise<TcFilter[]> {
  return unlessRefused(['ENODEV', 'ENOENT', 'EINVAL'], listFilters(rt, ifindex, hook), []);
}

/**
 * The BPF filters of the chain that packets enter, in the order they run; filters of other kinds
 * are left out.
 */
export async function listBpfFilters(
  rt: RtSocket,
  ifindex: number,
  hook: TcHook,
): Promise<BpfFilter[]> {
  return (await listFilters(rt, ifindex, hook)).flatMap((filter) => bpfFilterOf(filter) ?? []);
}

/**
 * Runs the program behind `programFd` at a hook, in place of the one that had the same priority and
 * handle: no packet goes without either. `former` is deleted right before, so that the new one
 * comes first of its priority. Rejects with KernelError EINVAL when there is no clsact qdisc.
 */
export function replaceBpfFilter(
  rt: RtSocket,
  filter: FilterPlace & { readonly programFd: number; readonly name: string },
  former?: FilterPlace,
): Promise<void> {
  return rt.execute({
    operation: `put filter "${filter.name}" ${describe(filter)}`,
    type: RTM_NEWTFILTER,
    flags: FlagsNew.CREATE,
    payload: encodeTcRequest({
      ...{ ...place(filter), kind: 'bpf' },
      options: writeBpfFilterOptions(filter),
    }),
    ...(former !== undefined && { prelude: deletion(former) }),
  });
}

function deletion(filter: FilterPlace): { type: number; payload: Buffer } {
  return { type: RTM_DELTFILTER, payload: encodeTcRequest({ ...place(filter), kind: 'bpf' }) };
}

/**
 * Removes one filter. Rejects with KernelError ENOENT when it is gone, EINVAL when the clsact qdisc
 * is.
 */
export function deleteFilter(rt: RtSocket, filter: FilterPlace): Promise<void> {
  return rt.execute({
    operation: `delete the filter ${describe(filter)}`,
    ...deletion(filter),
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

function decodeFilter(payload: Buffer): TcFilter {
  const { kind, handle, info, options, chain } = decodeTcObject(payload);
  return { ...{ kind, handle, options, chain }, ...decodeFilterInfo(info) };
}

/**
 * A filter as one of the kind `bpf`; undefined for another, and for one of a chain that packets do
 * not enter.
 */
export function bpfFilterOf({ kind, options, chain, ...place }: TcFilter): BpfFilter | undefined {
  if (kind !== 'bpf' || place.handle === 0 || chain !== 0) return undefined;
  return { ...place, ...decodeBpfFilterOptions(options) };
}
