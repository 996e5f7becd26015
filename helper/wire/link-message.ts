// RTM_NEWLINK and its relatives: struct ifinfomsg and IFLA_* of linux/if_link.h, VETH_INFO_PEER of
// linux/veth.h.

import { Attributes, encodePayload, requireLength } from './attributes.ts';
import type { AttributeWriter } from './attributes.ts';
import { decodeMac, encodeMac } from './ip-address.ts';
import { decodeTunnel, type Tunnel } from './tunnel.ts';

export const RTM_NEWLINK = 16;
export const RTM_DELLINK = 17;
export const RTM_GETLINK = 18;

const IFINFOMSG_BYTES = 16;
export const IFF_UP = 1;
const IFF_LOOPBACK = 8;

const IFLA_ADDRESS = 1;
const IFLA_IFNAME = 3;
const IFLA_MTU = 4;
const IFLA_LINK = 5;
const IFLA_QDISC = 6;
const IFLA_MASTER = 10;
const IFLA_LINKINFO = 18;
/** struct rtnl_link_stats64. */
const IFLA_STATS64 = 23;
const RX_BYTES_OFFSET = 16;
const IFLA_IFALIAS = 20;
const IFLA_NET_NS_FD = 28;
const IFLA_EXT_MASK = 29;
const IFLA_NUM_TX_QUEUES = 31;
const IFLA_NUM_RX_QUEUES = 32;
const IFLA_LINK_NETNSID = 37;
const IFLA_GSO_MAX_SEGS = 40;
const IFLA_GSO_MAX_SIZE = 41;
const IFLA_XDP = 43;
/** Since Linux 4.20. */
const IFLA_TARGET_NETNSID = 46;
const IFLA_PARENT_DEV_NAME = 56;
const IFLA_GSO_IPV4_MAX_SIZE = 63;
/** Since Linux 6.19. */
const IFLA_HEADROOM = 68;
const IFLA_TAILROOM = 69;

/** In IFLA_XDP: the one program, and those of a device that has several. */
const XDP_PROGRAM_IDS = [4, 5, 6, 7] as const;

const IFLA_INFO_KIND = 1;
const IFLA_INFO_DATA = 2;
const VETH_INFO_PEER = 1;
const IFLA_NETKIT_PEER_INFO = 1;

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
  requireLength('link', payload, IFINFOMSG_BYTES);
  const attributes = Attributes.decode(payload.subarray(IFINFOMSG_BYTES));
  const info = attributes.nested(IFLA_LINKINFO);
  const kind = info?.string(IFLA_INFO_KIND);
  const tunnel = decodeTunnel(kind, info?.bytes(IFLA_INFO_DATA));
  const loopback = (payload.readUInt32LE(8) & IFF_LOOPBACK) !== 0;
  const isUnbacked =
    kind === undefined && !loopback && attributes.bytes(IFLA_PARENT_DEV_NAME) === undefined;
  const [headroomBytes, tailroomBytes] = [
    roomOf(attributes, IFLA_HEADROOM),
    roomOf(attributes, IFLA_TAILROOM),
  ];
  const linkIndex = attributes.u32(IFLA_LINK);
  const linkNetnsId = attributes.s32(IFLA_LINK_NETNSID);
  const masterIndex = attributes.u32(IFLA_MASTER);
  const alias = attributes.string(IFLA_IFALIAS);
  const qdisc = attributes.string(IFLA_QDISC);
  const gsoIpv4MaxSizeBytes = attributes.u32(IFLA_GSO_IPV4_MAX_SIZE);
  const xdp = attributes.nested(IFLA_XDP);
  const xdpProgramId = XDP_PROGRAM_IDS.map((type) => xdp?.u32(type) ?? 0).find((id) => id !== 0);
  return {
    index: payload.readInt32LE(4),
    name: attributes.string(IFLA_IFNAME) ?? '',
    mtu: attributes.u32(IFLA_MTU) ?? 0,
    mac: decodeMac(attributes.bytes(IFLA_ADDRESS) ?? Buffer.alloc(0)),
    up: (payload.readUInt32LE(8) & IFF_UP) !== 0,
    loopback,
    numTxQueues: attributes.u32(IFLA_NUM_TX_QUEUES) ?? 1,
    numRxQueues: attributes.u32(IFLA_NUM_RX_QUEUES) ?? 1,
    gsoMaxSizeBytes: attributes.u32(IFLA_GSO_MAX_SIZE) ?? 0,
    gsoMaxSegs: attributes.u32(IFLA_GSO_MAX_SEGS) ?? 0,
    ...(gsoIpv4MaxSizeBytes !== undefined && { gsoIpv4MaxSizeBytes }),
    ...(kind !== undefined && { kind }),
    ...(linkIndex !== undefined && { linkIndex }),
    ...(linkNetnsId !== undefined && { linkNetnsId }),
    ...(masterIndex !== undefined && { masterIndex }),
    ...(alias !== undefined && { alias }),
    ...(qdisc !== undefined && { qdisc }),
    ...(tunnel !== undefined && { tunnel }),
    ...(isUnbacked && { isUnbacked }),
    ...(headroomBytes > 0 && { headroomBytes }),
    ...(tailroomBytes > 0 && { tailroomBytes }),
    ...(xdpProgramId !== undefined && { xdpProgramId }),
  };
}

/**
 * 16 bits, as struct net_device has it. Of another width it is not taken for what it was, and no
 * reason to end a list.
 */
function roomOf(attributes: Attributes, type: number): number {
  const value = attributes.bytes(type);
  return value?.length === 2 ? value.readUInt16LE() : 0;
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
  requireLength('link', payload, IFINFOMSG_BYTES);
  const attributes = Attributes.decode(payload.subarray(IFINFOMSG_BYTES));
  const counters = attributes.bytes(IFLA_STATS64) ?? Buffer.alloc(0);
  requireLength('counters of a link', counters, RX_BYTES_OFFSET + 8);
  const linkIndex = attributes.u32(IFLA_LINK);
  const receivedBytes = Number(counters.readBigUInt64LE(RX_BYTES_OFFSET));
  return { ...(linkIndex !== undefined && { linkIndex }), receivedBytes };
}

/** Asks for one link by index or name, or for all. */
export function encodeLinkQuery(by: { readonly name?: string; readonly index?: number }): Buffer {
  return encodePayload(linkHeader({ index: by.index ?? 0 }), (attributes) => {
    attributes.string(IFLA_IFNAME, by.name);
    attributes.u32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
  });
}

/**
 * Asks for one link with its counters, of the namespace that the socket's knows by an id. Nothing of
 * it is skipped: with RTEXT_FILTER_SKIP_STATS Linux 7.3 leaves the counters out, where 6.18 does not.
 */
export function encodeFarQuery(by: { readonly netnsId: number; readonly index: number }): Buffer {
  return encodePayload(linkHeader({ index: by.index }), (attributes) => {
    attributes.u32(IFLA_TARGET_NETNSID, by.netnsId);
  });
}

/** Changes or deletes the link with this index, or when that is zero the one that `link` names. */
export function encodeLinkChange(
  index: number,
  link: LinkAttributes & { readonly up?: boolean | undefined },
): Buffer {
  return encodePayload(linkHeader({ index, up: link.up }), (attributes) =>
    writeLinkAttributes(attributes, link),
  );
}

/**
 * Devices that come in pairs, and the attribute of IFLA_INFO_DATA that holds the other end:
 * linux/veth.h, if_link.h.
 */
const PEER_ATTRIBUTE = { veth: VETH_INFO_PEER, netkit: IFLA_NETKIT_PEER_INFO } as const;
export type PairKind = keyof typeof PEER_ATTRIBUTE;

/**
 * Creates a pair: the attributes of the one end, and nested in them the other end's. A netkit is
 * one of layer 3.
 */
export function encodePair(kind: PairKind, link: LinkAttributes, peer: LinkAttributes): Buffer {
  return encodePayload(linkHeader({ index: 0 }), (attributes) => {
    writeLinkAttributes(attributes, link);
    attributes.nested(IFLA_LINKINFO, (info) => {
      info.string(IFLA_INFO_KIND, kind);
      info.nested(IFLA_INFO_DATA, (data) =>
        data.bytes(
          PEER_ATTRIBUTE[kind],
          encodePayload(linkHeader({ index: 0 }), (inner) => writeLinkAttributes(inner, peer)),
        ),
      );
    });
  });
}

function linkHeader({
  index,
  up,
}: {
  readonly index: number;
  readonly up?: boolean | undefined;
}): Buffer {
  const header = Buffer.alloc(IFINFOMSG_BYTES);
  header.writeInt32LE(index, 4);
  header.writeUInt32LE(up === true ? IFF_UP : 0, 8);
  header.writeUInt32LE(up === undefined ? 0 : IFF_UP, 12);
  return header;
}

function writeLinkAttributes(attributes: AttributeWriter, link: LinkAttributes): void {
  attributes.string(IFLA_IFNAME, link.name);
  attributes.u32(IFLA_MTU, link.mtu);
  attributes.bytes(IFLA_ADDRESS, link.mac === undefined ? undefined : encodeMac(link.mac));
  attributes.string(IFLA_IFALIAS, link.alias);
  attributes.u32(IFLA_GSO_MAX_SIZE, link.gsoMaxSizeBytes);
  attributes.u32(IFLA_GSO_MAX_SEGS, link.gsoMaxSegs);
  // Behind IFLA_GSO_MAX_SIZE, which sets it too where that is at most 64 KB.
  attributes.u32(IFLA_GSO_IPV4_MAX_SIZE, link.gsoIpv4MaxSizeBytes);
  attributes.u32(IFLA_NUM_TX_QUEUES, link.numTxQueues);
  attributes.u32(IFLA_NUM_RX_QUEUES, link.numRxQueues);
  attributes.u32(IFLA_NET_NS_FD, link.netnsFd);
}
