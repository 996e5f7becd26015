// RTM_NEWLINK and its relatives: struct ifinfomsg and IFLA_* of linux/if_link.h, VETH_INFO_PEER of
// linux/veth.h.

import { AttributeTable, MessageFormat, decodeStart } from './attributes.ts';
import { MAC } from './ip-address.ts';
import { Struct, type Decoder } from './struct.ts';
import { decodeTunnel, type Tunnel } from './tunnel.ts';

export const RTM_NEWLINK = 16;
export const RTM_DELLINK = 17;
export const RTM_GETLINK = 18;

export const IFF_UP = 1;
const IFF_LOOPBACK = 8;

export const IFINFOMSG = new Struct('link', {
  family: 'u8',
  type: 'u16',
  index: 's32',
  flags: 'u32',
  change: 'u32',
});

/** IFLA_* that are told and can be set. */
const SETTABLE = {
  name: [3, 'string'],
  mtu: [4, 'u32'],
  mac: [1, MAC],
  alias: [20, 'string'],
  gsoMaxSizeBytes: [41, 'u32'],
  gsoMaxSegs: [40, 'u32'],
  // Behind IFLA_GSO_MAX_SIZE, which sets it too where that is at most 64 KB.
  gsoIpv4MaxSizeBytes: [63, 'u32'],
  numTxQueues: [31, 'u32'],
  numRxQueues: [32, 'u32'],
} as const;

/** IFLA_INFO_*; what the data are hangs on the kind. */
const LINK_INFO = new AttributeTable({ kind: [1, 'string'], data: [2, 'bytes'] });

/** IFLA_XDP_*: the one program, and those of a device that has several. */
const XDP = new AttributeTable({
  ...{ only: [4, 'u32'], driver: [5, 'u32'], generic: [6, 'u32'], hardware: [7, 'u32'] },
});

/**
 * 16 bits, as struct net_device has it. Of another width it is not taken for what it was, and no
 * reason to end a list.
 */
const ROOM: Decoder<number | undefined> = {
  decode: (value) => (value.length === 2 ? value.readUInt16LE() : 0) || undefined,
};

const LINK = new MessageFormat(IFINFOMSG, {
  ...SETTABLE,
  linkIndex: [5, 'u32'],
  linkNetnsId: [37, 's32'],
  masterIndex: [10, 'u32'],
  qdisc: [6, 'string'],
  info: [18, LINK_INFO],
  xdpProgramId: [43, { decode: (xdp) => Object.values(XDP.decode(xdp)).find((id) => id !== 0) }],
  parentName: [56, 'string'],
  // Since Linux 6.19.
  headroomBytes: [68, ROOM],
  tailroomBytes: [69, ROOM],
});
const CHANGE = new MessageFormat(IFINFOMSG, {
  ...SETTABLE,
  netnsFd: [28, 'u32'],
  info: [18, LINK_INFO],
});
const QUERY = new MessageFormat(IFINFOMSG, { name: [3, 'string'], extensions: [29, 'u32'] });
/** struct rtnl_link_stats64 begins with packets of both ways, then bytes. */
const COUNTERS = new Struct('counters of a link', {
  ...{ rxPackets: 'u64', txPackets: 'u64', rxBytes: 'u64' },
});
/** Of another namespace; IFLA_TARGET_NETNSID is there since Linux 4.20. */
const FAR = new MessageFormat(IFINFOMSG, {
  linkIndex: [5, 'u32'],
  counters: [23, 'bytes'],
  netnsId: [46, 'u32'],
});

/**
 * RTEXT_FILTER_SKIP_STATS of linux/rtnetlink.h: half of a link's description is counters that
 * nobody here reads.
 */
const RTEXT_FILTER_SKIP_STATS = 8;

/** A network device as the kernel describes it. */
export interface Link {
  readonly index: number;
  readonly name: string;
  /** Driver family: `veth`, `netkit`, `bond`, …; absent for hardware and loopback. */
  readonly kind?: string;
  readonly mtu: number;
  /** Hardware address in lower case, empty for a device that has none. */
  readonly mac: string;
  /** True when the administrator switched it on (IFF_UP); says nothing of a carrier. */
  readonly up: boolean;
  readonly loopback: boolean;
  /**
   * Index of the device it is tied to (IFLA_LINK): for a veth its peer, in the namespace that
   * linkNetnsId names.
   */
  readonly linkIndex?: number;
  /** Kernel's id of the namespace of `linkIndex`, absent when it is the same one. */
  readonly linkNetnsId?: number;
  /** Index of the bridge or bond it is part of. */
  readonly masterIndex?: number;
  readonly alias?: string;
  /** Kind of its root qdisc. */
  readonly qdisc?: string;
  /** How it wraps packets, of kinds that are known. */
  readonly tunnel?: Tunnel;
  /**
   * Nothing stands behind it that the kernel names: neither a driver family nor a device of a bus.
   */
  readonly isUnbacked?: true;
  /**
   * Bytes that it asks for in front of a packet and behind it: absent before Linux 6.19, and of
   * devices that ask for none.
   */
  readonly headroomBytes?: number;
  readonly tailroomBytes?: number;
  readonly numTxQueues: number;
  readonly numRxQueues: number;
  /** Largest GSO packet in bytes. */
  readonly gsoMaxSizeBytes: number;
  readonly gsoMaxSegs: number;
  /** The same of IPv4 packets: absent before Linux 6.3. */
  readonly gsoIpv4MaxSizeBytes?: number;
  /**
   * Kernel's id of the XDP program that sees what it receives; of one of them where there are
   * several.
   */
  readonly xdpProgramId?: number;
}

/** Attributes of a link that a request sets; what is absent stays as it is. */
export interface LinkAttributes {
  readonly name?: string | undefined;
  readonly mtu?: number | undefined;
  readonly mac?: string | undefined;
  /** Empty text removes the alias. */
  readonly alias?: string | undefined;
  readonly gsoMaxSizeBytes?: number | undefined;
  readonly gsoMaxSegs?: number | undefined;
  readonly gsoIpv4MaxSizeBytes?: number | undefined;
  readonly numTxQueues?: number | undefined;
  readonly numRxQueues?: number | undefined;
  /** Descriptor of the namespace it shall live in. */
  readonly netnsFd?: number | undefined;
}

/** Decodes the payload of RTM_NEWLINK. Throws WireError. */
export function decodeLink(payload: Buffer): Link {
  const { index, flags } = LINK.decodeHeader(payload);
  const { info, parentName, ...own } = LINK.decodeAttributes(payload);
  const kind = info?.kind;
  const tunnel = decodeTunnel(kind, info?.data);
  const loopback = (flags & IFF_LOOPBACK) !== 0;
  const isUnbacked = kind === undefined && !loopback && parentName === undefined;
  return {
    ...{ name: '', mtu: 0, mac: '', numTxQueues: 1, numRxQueues: 1 },
    ...{ gsoMaxSizeBytes: 0, gsoMaxSegs: 0, ...own },
    ...{ index, up: (flags & IFF_UP) !== 0, loopback },
    ...(kind !== undefined && { kind }),
    ...(tunnel !== undefined && { tunnel }),
    ...(isUnbacked && { isUnbacked }),
  };
}

/** What another network namespace has counted for one of its devices. */
export interface FarCounter {
  /** The device that it is tied to, in the namespace of that. */
  readonly linkIndex?: number;
  readonly receivedBytes: number;
}

/**
 * Decodes of RTM_NEWLINK what a device has received: exact below 2^53. Throws WireError, also where
 * the kernel tells of no counters.
 */
export function decodeFarCounter(payload: Buffer): FarCounter {
  const { linkIndex, counters = Buffer.alloc(0) } = FAR.decode(payload);
  const receivedBytes = Number(decodeStart(COUNTERS, counters).rxBytes);
  return { ...(linkIndex !== undefined && { linkIndex }), receivedBytes };
}

/** Asks for one link by index or name, or for all. */
export function encodeLinkQuery(by: { readonly name?: string; readonly index?: number }): Buffer {
  return QUERY.encode({ ...by, extensions: RTEXT_FILTER_SKIP_STATS });
}

/**
 * Asks for one link with its counters, of the namespace that the socket's knows by an id. Nothing
 * of it is skipped: with RTEXT_FILTER_SKIP_STATS Linux 7.3 leaves the counters out, where 6.18 does
 * not.
 */
export function encodeFarQuery(by: { readonly netnsId: number; readonly index: number }): Buffer {
  return FAR.encode(by);
}

/** Changes or deletes the link with this index, or when that is zero the one that `link` names. */
export function encodeLinkChange(
  index: number,
  { up, ...link }: LinkAttributes & { readonly up?: boolean | undefined },
): Buffer {
  const [flags, change] = [up === true ? IFF_UP : 0, up === undefined ? 0 : IFF_UP];
  return CHANGE.encode({ index, flags, change, ...link });
}

/** Devices that come in pairs. */
export type PairKind = 'veth' | 'netkit';
/** In IFLA_INFO_DATA: VETH_INFO_PEER, IFLA_NETKIT_PEER_INFO of linux/veth.h and if_link.h. */
const PAIR_DATA = new AttributeTable({ peer: [1, 'bytes'] });

/**
 * Creates a pair: the attributes of the one end, and nested in them the other end's. A netkit is
 * one of layer 3.
 */
export function encodePair(kind: PairKind, link: LinkAttributes, peer: LinkAttributes): Buffer {
  const data = PAIR_DATA.encode({ peer: CHANGE.encode(peer) });
  return CHANGE.encode({ ...link, info: { kind, data } });
}
