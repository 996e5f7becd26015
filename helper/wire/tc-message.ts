// Traffic control: struct tcmsg and TCA_* of linux/rtnetlink.h, the handles of linux/pkt_sched.h,
// and the options of a BPF filter, TCA_BPF_* of linux/pkt_cls.h.

import { AttributeTable, MessageFormat } from './attributes.ts';
import { Struct } from './struct.ts';

export const RTM_NEWQDISC = 36;
export const RTM_DELQDISC = 37;
export const RTM_GETQDISC = 38;
export const RTM_GETTCLASS = 42;
export const RTM_NEWTFILTER = 44;
export const RTM_DELTFILTER = 45;
export const RTM_GETTFILTER = 46;

/** Parent of a device's root qdisc. */
export const TC_H_ROOT = 0xffffffff;
/** Parent of the clsact qdisc; the kernel gives it the handle ffff:0. */
export const TC_H_CLSACT = 0xfffffff1;
/** Handle of a clsact qdisc. */
export const CLSACT_HANDLE = 0xffff0000;

const TC_H_MIN_INGRESS = 0xfff2;
const TC_H_MIN_EGRESS = 0xfff3;

export const TCMSG = new Struct('traffic control object', {
  ...{ family: 'u8', ifindex: 's32', handle: 'u32', parent: 'u32', info: 'u32' },
});
const MESSAGE = new MessageFormat(TCMSG, {
  ...{ kind: [1, 'string'], options: [2, 'bytes'], chain: [11, 'u32'] },
});

/** TCA_BPF_*. */
const BPF_OPTIONS = new AttributeTable({
  fd: [6, 'u32'],
  name: [7, 'string'],
  flags: [8, 'u32'],
  programTag: [10, { decode: (tag) => tag.toString('hex') }],
  programId: [11, 'u32'],
});
const TCA_BPF_FLAG_ACT_DIRECT = 1;

/** Where a filter under clsact sees packets: coming in from the link, or going out to it. */
export type TcHook = 'ingress' | 'egress';

/** The fields of struct tcmsg; what `info` means depends on the message. */
export interface TcObject {
  readonly ifindex: number;
  readonly handle: number;
  readonly parent: number;
  readonly info: number;
  readonly kind: string;
  /** Content of TCA_OPTIONS, empty when there is none. */
  readonly options: Buffer;
  /** Chain of a filter; 0 is the one that packets enter. */
  readonly chain: number;
}

/** A qdisc, class or filter to ask for, set or delete. */
export interface TcRequest {
  readonly ifindex: number;
  readonly handle?: number | undefined;
  readonly parent?: number | undefined;
  readonly info?: number | undefined;
  readonly kind?: string | undefined;
  readonly options?: Buffer | undefined;
}

/** Decodes the payload of RTM_NEWQDISC, RTM_NEWTCLASS or RTM_NEWTFILTER. Throws WireError. */
export function decodeTcObject(payload: Buffer): TcObject {
  const { ifindex, handle, parent, info, ...said } = MESSAGE.decode(payload);
  const { kind = '', options = Buffer.alloc(0), chain = 0 } = said;
  return { ifindex, handle, parent, info, kind, options, chain };
}

/** Encodes a request about a qdisc, class or filter. */
export function encodeTcRequest(request: TcRequest): Buffer {
  return MESSAGE.encode(request);
}

/** Parent of the filters at one of clsact's hooks. */
export function hookParent(hook: TcHook): number {
  return (CLSACT_HANDLE | (hook === 'ingress' ? TC_H_MIN_INGRESS : TC_H_MIN_EGRESS)) >>> 0;
}

/** `tcm_info` of a filter: its priority, and the EtherType it looks at in network order. */
export function encodeFilterInfo(priority: number, protocol: number): number {
  const swapped = ((protocol & 0xff) << 8) | (protocol >>> 8);
  return ((priority << 16) | swapped) >>> 0;
}

/** The reverse of encodeFilterInfo. */
export function decodeFilterInfo(info: number): { priority: number; protocol: number } {
  const swapped = info & 0xffff;
  return { priority: info >>> 16, protocol: ((swapped & 0xff) << 8) | (swapped >>> 8) };
}

/** What a BPF filter's TCA_OPTIONS say. */
export interface BpfFilterOptions {
  readonly name: string;
  /** Kernel's id of the program; 0 for a classic BPF filter, which has none. */
  readonly programId: number;
  /** First eight bytes of the program's digest, in hex. */
  readonly programTag?: string;
  /** True when the program's return value is the verdict itself. */
  readonly directAction: boolean;
}

/** Options of a filter that runs the program behind `programFd` in direct-action mode. */
export function writeBpfFilterOptions(program: {
  readonly programFd: number;
  readonly name: string;
}): Buffer {
  const { programFd: fd, name } = program;
  return BPF_OPTIONS.encode({ fd, name, flags: TCA_BPF_FLAG_ACT_DIRECT });
}

/** Decodes TCA_OPTIONS of a filter of the kind `bpf`. Throws WireError. */
export function decodeBpfFilterOptions(options: Buffer): BpfFilterOptions {
  const { fd: _fd, flags = 0, ...told } = BPF_OPTIONS.decode(options);
  const directAction = (flags & TCA_BPF_FLAG_ACT_DIRECT) !== 0;
  return { name: '', programId: 0, ...told, directAction };
}
