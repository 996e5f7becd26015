// How a tunnel says that it wraps packets: IFLA_INFO_DATA of its kind, as linux/if_link.h and
// linux/if_tunnel.h number the attributes. What of it makes packets longer is decoded, and where
// the outer packets go. Pure.

import { AttributeTable, FLAG, WireError } from './attributes.ts';
import { decodeAddress } from './ip-address.ts';
import type { Decoder } from './struct.ts';

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

/** An address that is not all zeros, which stands for none. */
function endOf(bytes: Buffer): string | undefined {
  return bytes.every((byte) => byte === 0) ? undefined : decodeAddress(bytes);
}

const END: Decoder<string | undefined> = { decode: endOf };
const NON_ZERO: Decoder<number | undefined> = {
  decode: (bytes) => bytes.readUInt32LE() || undefined,
};
const ONE: Decoder<true | undefined> = { decode: (bytes) => bytes[0] === 1 || undefined };

/** GRE_CSUM, GRE_KEY, GRE_SEQ of linux/if_tunnel.h, in network byte order there. */
const GRE_FIELD_FLAGS = [0x8000, 0x2000, 0x1000] as const;
const GRE_FIELDS: Decoder<number | undefined> = {
  decode(flags) {
    const set = flags.length === 2 ? flags.readUInt16BE() : 0;
    return GRE_FIELD_FLAGS.filter((field) => (set & field) !== 0).length || undefined;
  },
};

/**
 * IP6_TNL_F_IGN_ENCAP_LIMIT of linux/ip6_tunnel.h: the attribute's flags tell that there is none.
 */
const IGNORES_ENCAPSULATION_LIMIT = 1;
const ENCAPSULATION_LIMIT: Decoder<true | undefined> = {
  decode: (flags) => (flags.readUInt32LE() & IGNORES_ENCAPSULATION_LIMIT) === 0 || undefined,
};

/** The far end, or the near one, of IPv6: also what says so by being there. */
const REMOTE6: Decoder<Tunnel> = {
  decode(bytes) {
    const remote = endOf(bytes);
    return { isOuterIpv6: true, ...(remote !== undefined && { remote }) };
  },
};
const LOCAL6: Decoder<Tunnel> = { decode: () => ({ isOuterIpv6: true }) };

/** IFLA_IPTUN_*. */
const IPTUN = {
  linkIndex: [1, NON_ZERO],
  local: [2, END],
  remote: [3, END],
  encapType: [15, 'u16'],
  encapFlags: [16, 'u16'],
  isExternal: [19, FLAG],
  mark: [20, NON_ZERO],
} as const;
/** IFLA_GRE_*. */
const GRE = {
  linkIndex: [1, NON_ZERO],
  greFields: [3, GRE_FIELDS],
  local: [6, END],
  remote: [7, END],
  encapType: [14, 'u16'],
  encapFlags: [15, 'u16'],
  isExternal: [18, FLAG],
  mark: [20, NON_ZERO],
} as const;
const GRE6 = { ...GRE, hasEncapsulationLimit: [13, ENCAPSULATION_LIMIT] } as const;
const ERSPAN_VERSION = { erspanVersion: [22, 'u8'] } as const;
/** IFLA_VTI_*. */
const VTI = new AttributeTable({
  ...{ linkIndex: [1, NON_ZERO], local: [4, END], remote: [5, END], mark: [6, NON_ZERO] },
  outKey: [3, 'be32'],
});
/** IFLA_VXLAN_*. */
const VXLAN = new AttributeTable({
  ...{ remote: [2, END], linkIndex: [3, NON_ZERO], isExternal: [25, ONE] },
  ...{ group6: [16, REMOTE6], local6: [17, LOCAL6] },
});
/** IFLA_GENEVE_*. */
const GENEVE = new AttributeTable({
  ...{ remote: [2, END], isExternal: [6, FLAG], remote6: [7, REMOTE6] },
});
/** IFLA_MACSEC_*. */
const MACSEC = new AttributeTable({
  ...{ icvBytes: [3, 'u8'], isSciSent: [9, ONE], isEndStation: [10, ONE], isSingleCopy: [11, ONE] },
});
/** IFLA_HSR_*; the protocol 1 is PRP. */
const HSR = new AttributeTable({ linkIndex: [1, NON_ZERO], isPrp: [7, ONE] });
/** IFLA_XFRM_*. */
const XFRM = new AttributeTable({ ifId: [2, 'u32'], isExternal: [3, FLAG] });

/** TUNNEL_ENCAP_FOU, TUNNEL_ENCAP_GUE, TUNNEL_ENCAP_FLAG_REMCSUM of linux/if_tunnel.h. */
const UDP_TYPES: Readonly<Record<number, UdpEncapsulation['type']>> = { 1: 'fou', 2: 'gue' };
const REMOTE_CHECKSUM = 4;

type EncapsulatedTunnel = Tunnel & { readonly encapType?: number; readonly encapFlags?: number };

function ipTunnel(table: Decoder<EncapsulatedTunnel>): Decoder<Tunnel> {
  return {
    decode(data) {
      const { encapType = 0, encapFlags = 0, ...tunnel } = table.decode(data);
      const type = UDP_TYPES[encapType];
      if (type === undefined) return tunnel;
      return { ...tunnel, udp: { type, hasRemoteChecksum: (encapFlags & REMOTE_CHECKSUM) !== 0 } };
    },
  };
}

function overIpv6(tunnel: Decoder<Tunnel>): Decoder<Tunnel> {
  return { decode: (data) => ({ isOuterIpv6: true, ...tunnel.decode(data) }) };
}

/**
 * It sends its identifier too where it hears several others (macsec_send_sci), of which nothing is
 * told here.
 */
function macsec(data: Buffer): Tunnel {
  const { isSciSent: sci = false, isEndStation, isSingleCopy, ...tunnel } = MACSEC.decode(data);
  return sci || isEndStation || isSingleCopy ? { ...tunnel, sci } : tunnel;
}

function vxlan(data: Buffer): Tunnel {
  const { group6, local6, ...tunnel } = VXLAN.decode(data);
  return { ...group6, ...local6, ...tunnel };
}

function geneve(data: Buffer): Tunnel {
  const { remote6, ...tunnel } = GENEVE.decode(data);
  return { ...remote6, ...tunnel };
}

const ipip = ipTunnel(new AttributeTable(IPTUN));
const gre = ipTunnel(new AttributeTable(GRE));
const gre6 = overIpv6(ipTunnel(new AttributeTable(GRE6)));

const TUNNELS: Readonly<Record<string, Decoder<Tunnel>>> = {
  ipip,
  sit: ipip,
  ip6tnl: overIpv6(
    ipTunnel(new AttributeTable({ ...IPTUN, hasEncapsulationLimit: [8, ENCAPSULATION_LIMIT] })),
  ),
  gre,
  gretap: gre,
  ip6gre: gre6,
  ip6gretap: gre6,
  erspan: ipTunnel(new AttributeTable({ ...GRE, ...ERSPAN_VERSION })),
  ip6erspan: overIpv6(ipTunnel(new AttributeTable({ ...GRE6, ...ERSPAN_VERSION }))),
  vti: VTI,
  vti6: overIpv6(VTI),
  vxlan: { decode: vxlan },
  geneve: { decode: geneve },
  macsec: { decode: macsec },
  hsr: HSR,
  xfrm: XFRM,
};

/**
 * What a device of some kind says of itself; undefined for other kinds, and where it cannot be
 * read.
 */
export function decodeTunnel(
  kind: string | undefined,
  data: Buffer | undefined,
): Tunnel | undefined {
  const tunnel = kind !== undefined && Object.hasOwn(TUNNELS, kind) ? TUNNELS[kind] : undefined;
  if (tunnel === undefined || data === undefined) return undefined;
  try {
    return tunnel.decode(data);
  } catch (error) {
    // A list of all devices must not end because one of a kind by this name says something else.
    if (error instanceof WireError || error instanceof RangeError) return undefined;
    throw error;
  }
}
