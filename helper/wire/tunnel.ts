// How a tunnel says that it wraps packets: IFLA_INFO_DATA of its kind, as linux/if_link.h and
// linux/if_tunnel.h number the attributes. What of it makes packets longer is decoded, and where
// the outer packets go. Pure.

import { Attributes, WireError } from './attributes.ts';
import { decodeAddress } from './ip-address.ts';

/**
 * What is put between a tunnel's header and its IP header: RFC 8086's kind (draft-ietf-intarea-gue
 * for GUE).
 */
export interface UdpEncapsulation {
  readonly type: 'fou' | 'gue';
  /** Remote checksum offload: some packets have 8 bytes more of GUE. */
  readonly hasRemoteChecksum: boolean;
}

/** A tunnel as its kind describes it. What does not apply, or is not said, is absent. */
export interface Tunnel {
  readonly isOuterIpv6?: true;
  /** It has no far end of its own: each packet brings its outer header with it ("external"). */
  readonly isExternal?: true;
  readonly remote?: string;
  readonly local?: string;
  /** Of the outer packets. */
  readonly mark?: number;
  /** Index of the device that outer packets are to leave by. */
  readonly linkIndex?: number;
  /** How many of checksum, key and sequence number GRE's header has (RFC 2890). */
  readonly greFields?: number;
  /** RFC 2473, section 4.1.1: a destination option of IPv6. */
  readonly hasEncapsulationLimit?: true;
  readonly udp?: UdpEncapsulation;
  readonly erspanVersion?: number;
  /**
   * MACsec: bytes of the integrity check value, and whether the SecTAG holds the sender's
   * identifier, if that can be told.
   */
  readonly icvBytes?: number;
  readonly sci?: boolean;
  /** IEC 62439-3: PRP and not HSR. */
  readonly isPrp?: true;
  /** By which xfrm states are found: of an xfrm interface its id, of a VTI its key as a mark. */
  readonly ifId?: number;
  readonly outKey?: number;
}

/** Numbers of the attributes that several kinds have: IFLA_IPTUN_*, IFLA_GRE_*, IFLA_VTI_*. */
interface IpTunnelAttributes {
  readonly link: number;
  readonly local: number;
  readonly remote: number;
  readonly mark: number;
  readonly encapType?: number;
  readonly encapFlags?: number;
  readonly external?: number;
}
const IPTUN: IpTunnelAttributes = {
  ...{ link: 1, local: 2, remote: 3, mark: 20, encapType: 15, encapFlags: 16, external: 19 },
};
const GRE: IpTunnelAttributes = {
  ...{ link: 1, local: 6, remote: 7, mark: 20, encapType: 14, encapFlags: 15, external: 18 },
};
const VTI: IpTunnelAttributes = { link: 1, local: 4, remote: 5, mark: 6 };

const IFLA_IPTUN_FLAGS = 8;
const IFLA_GRE_OFLAGS = 3;
const IFLA_GRE_FLAGS = 13;
const IFLA_GRE_ERSPAN_VER = 22;
const IFLA_VTI_OKEY = 3;
const IFLA_VXLAN_GROUP = 2;
const IFLA_VXLAN_LINK = 3;
const IFLA_VXLAN_GROUP6 = 16;
const IFLA_VXLAN_LOCAL6 = 17;
const IFLA_VXLAN_COLLECT_METADATA = 25;
const IFLA_GENEVE_REMOTE = 2;
const IFLA_GENEVE_COLLECT_METADATA = 6;
const IFLA_GENEVE_REMOTE6 = 7;
const IFLA_MACSEC_ICV_LEN = 3;
const IFLA_MACSEC_INC_SCI = 9;
const IFLA_MACSEC_ES = 10;
const IFLA_MACSEC_SCB = 11;
const IFLA_HSR_SLAVE1 = 1;
const IFLA_HSR_PROTOCOL = 7;
const IFLA_XFRM_IF_ID = 2;
const IFLA_XFRM_COLLECT_METADATA = 3;

/** GRE_CSUM, GRE_KEY, GRE_SEQ of linux/if_tunnel.h, in network byte order there. */
const GRE_FIELD_FLAGS = [0x8000, 0x2000, 0x1000] as const;
/** IP6_TNL_F_IGN_ENCAP_LIMIT of linux/ip6_tunnel.h. */
const IGNORES_ENCAPSULATION_LIMIT = 1;
/** TUNNEL_ENCAP_FOU, TUNNEL_ENCAP_GUE, TUNNEL_ENCAP_FLAG_REMCSUM of linux/if_tunnel.h. */
const UDP_TYPES: Readonly<Record<number, UdpEncapsulation['type']>> = { 1: 'fou', 2: 'gue' };
const REMOTE_CHECKSUM = 4;
const PRP = 1;

type Decoder = (data: Attributes) => Tunnel;

/** An address that is not all zeros, which stands for none. */
function addressOf(bytes: Buffer | undefined): string | undefined {
  return bytes === undefined || bytes.every((byte) => byte === 0)
    ? undefined
    : decodeAddress(bytes);
}

function nonZero(number: number | undefined): number | undefined {
  return number === 0 ? undefined : number;
}

/** Without what is undefined. */
function present(tunnel: { readonly [K in keyof Tunnel]: Tunnel[K] | undefined }): Tunnel {
  return Object.fromEntries(Object.entries(tunnel).filter(([, value]) => value !== undefined));
}

function flag(isSet: boolean): true | undefined {
  return isSet || undefined;
}

function udpOf(
  data: Attributes,
  { encapType, encapFlags }: IpTunnelAttributes,
): UdpEncapsulation | undefined {
  if (encapType === undefined || encapFlags === undefined) return undefined;
  const type = UDP_TYPES[data.u16(encapType) ?? 0];
  const hasRemoteChecksum = ((data.u16(encapFlags) ?? 0) & REMOTE_CHECKSUM) !== 0;
  return type && { type, hasRemoteChecksum };
}

function ipTunnel(data: Attributes, numbers: IpTunnelAttributes, isOuterIpv6 = false): Tunnel {
  const { link, local, remote, mark, external } = numbers;
  return present({
    isOuterIpv6: flag(isOuterIpv6),
    isExternal: flag(external !== undefined && data.bytes(external) !== undefined),
    remote: addressOf(data.bytes(remote)),
    local: addressOf(data.bytes(local)),
    mark: nonZero(data.u32(mark)),
    linkIndex: nonZero(data.u32(link)),
    udp: udpOf(data, numbers),
  });
}

/** The attribute's flags tell that there is none. */
function encapsulationLimit(
  data: Attributes,
  flags: number,
): Pick<Tunnel, 'hasEncapsulationLimit'> {
  const isIgnored =
    ((data.u32(flags) ?? IGNORES_ENCAPSULATION_LIMIT) & IGNORES_ENCAPSULATION_LIMIT) !== 0;
  return isIgnored ? {} : { hasEncapsulationLimit: true };
}

function greFields(data: Attributes): Pick<Tunnel, 'greFields'> {
  const flags = data.bytes(IFLA_GRE_OFLAGS);
  const set = flags?.length === 2 ? flags.readUInt16BE() : 0;
  const count = GRE_FIELD_FLAGS.filter((field) => (set & field) !== 0).length;
  return count === 0 ? {} : { greFields: count };
}

function gre(data: Attributes): Tunnel {
  return { ...ipTunnel(data, GRE), ...greFields(data) };
}

function gre6(data: Attributes): Tunnel {
  return {
    ...ipTunnel(data, GRE, true),
    ...greFields(data),
    ...encapsulationLimit(data, IFLA_GRE_FLAGS),
  };
}

function erspan(data: Attributes): Pick<Tunnel, 'erspanVersion'> {
  const erspanVersion = data.u8(IFLA_GRE_ERSPAN_VER);
  return erspanVersion === undefined ? {} : { erspanVersion };
}

function vti(data: Attributes, isOuterIpv6: boolean): Tunnel {
  const outKey = data.bytes(IFLA_VTI_OKEY)?.readUInt32BE();
  return { ...ipTunnel(data, VTI, isOuterIpv6), ...(outKey !== undefined && { outKey }) };
}

function vxlan(data: Attributes): Tunnel {
  const group6 = data.bytes(IFLA_VXLAN_GROUP6);
  return present({
    isOuterIpv6: flag(group6 !== undefined || data.bytes(IFLA_VXLAN_LOCAL6) !== undefined),
    isExternal: flag(data.u8(IFLA_VXLAN_COLLECT_METADATA) === 1),
    remote: addressOf(data.bytes(IFLA_VXLAN_GROUP) ?? group6),
    linkIndex: nonZero(data.u32(IFLA_VXLAN_LINK)),
  });
}

function geneve(data: Attributes): Tunnel {
  const remote6 = data.bytes(IFLA_GENEVE_REMOTE6);
  return present({
    isOuterIpv6: flag(remote6 !== undefined),
    isExternal: flag(data.bytes(IFLA_GENEVE_COLLECT_METADATA) !== undefined),
    remote: addressOf(data.bytes(IFLA_GENEVE_REMOTE) ?? remote6),
  });
}

/**
 * It sends its identifier too where it hears several others (macsec_send_sci), of which nothing is
 * told here.
 */
function macsec(data: Attributes): Tunnel {
  const isSent = data.u8(IFLA_MACSEC_INC_SCI) === 1;
  const isLeftOut = data.u8(IFLA_MACSEC_ES) === 1 || data.u8(IFLA_MACSEC_SCB) === 1;
  return present({
    icvBytes: data.u8(IFLA_MACSEC_ICV_LEN),
    sci: isSent || isLeftOut ? isSent : undefined,
  });
}

const DECODERS: Readonly<Record<string, Decoder>> = {
  ipip: (data) => ipTunnel(data, IPTUN),
  sit: (data) => ipTunnel(data, IPTUN),
  ip6tnl: (data) => ({
    ...ipTunnel(data, IPTUN, true),
    ...encapsulationLimit(data, IFLA_IPTUN_FLAGS),
  }),
  gre,
  gretap: gre,
  ip6gre: gre6,
  ip6gretap: gre6,
  erspan: (data) => ({ ...gre(data), ...erspan(data) }),
  ip6erspan: (data) => ({ ...gre6(data), ...erspan(data) }),
  vti: (data) => vti(data, false),
  vti6: (data) => vti(data, true),
  vxlan,
  geneve,
  macsec,
  hsr: (data) =>
    present({
      isPrp: flag(data.u8(IFLA_HSR_PROTOCOL) === PRP),
      linkIndex: nonZero(data.u32(IFLA_HSR_SLAVE1)),
    }),
  xfrm: (data) =>
    present({
      ifId: data.u32(IFLA_XFRM_IF_ID),
      isExternal: flag(data.bytes(IFLA_XFRM_COLLECT_METADATA) !== undefined),
    }),
};

/**
 * What a device of some kind says of itself; undefined for other kinds, and where it cannot be
 * read.
 */
export function decodeTunnel(
  kind: string | undefined,
  data: Buffer | undefined,
): Tunnel | undefined {
  const decode = kind !== undefined && Object.hasOwn(DECODERS, kind) ? DECODERS[kind] : undefined;
  if (decode === undefined || data === undefined) return undefined;
  try {
    return decode(Attributes.decode(data));
  } catch (error) {
    // A list of all devices must not end because one of a kind by this name says something else.
    if (error instanceof WireError || error instanceof RangeError) return undefined;
    throw error;
  }
}
