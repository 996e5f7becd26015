// What a device of each kind does to a packet that is sent on it. Pure.

import type { Link } from '../wire/link-message.ts';
import { TOLD_FAMILY, TOLD_GRE, TOLD_OPTIONS } from '../wire/aggregate.ts';
import type { L2tpSession, L2tpTunnel } from '../wire/l2tp-message.ts';
import { vti, xfrm } from './ipsec-layers.ts';
import {
  belowOf,
  ETHERNET,
  frame,
  hasFrames,
  IPV4,
  IPV6,
  lengthOf,
  packet,
  UDP,
  USUAL_MTU,
  type Layer,
  type Surroundings,
} from './layers.ts';

/**
 * Charged for each packet that is read from a tun or tap where nothing else is configured: what
 * WireGuard in a process adds over IPv4. OpenVPN adds 66 with AES-GCM, a plain tunnel by UDP 42.
 */
export const TUN_OVERHEAD_BYTES = 74;
export const MAX_TUN_OVERHEAD_BYTES = 1000;

/** What is estimated stays within this. */
const MAX_ESTIMATE = 120;
/** IEEE 802.1Q, also 802.1ad. */
const VLAN_TAG = 4;
/** RFC 2784, and each of checksum (with two bytes reserved), key and sequence number: RFC 2890. */
const GRE = 4;
const GRE_FIELD = 4;
/** RFC 7348, section 5; VXLAN-GPE and GBP have the same length. */
const VXLAN = 8;
/** RFC 8926, section 3.4; options are what packets of an external device may have. */
const GENEVE = 8;
/**
 * A destination option of IPv6 with the padding around it: RFC 2473, section 4.1.1; init_tel_txopt
 * of net/ipv6/ip6_tunnel.c.
 */
const ENCAPSULATION_LIMIT = 8;
/**
 * draft-ietf-intarea-gue, section 3.1: flags, protocol, length; the private flag and its field for
 * the remote checksum.
 */
const GUE = 4;
const GUE_REMOTE_CHECKSUM = 8;
/**
 * erspan_hdr_len of net/erspan.h: draft-foschiano-erspan, types I, II and III; version 0 has no
 * sequence number in GRE.
 */
const ERSPAN: Readonly<Record<number, number>> = { 0: 0, 1: 8, 2: 12 };
/** WireGuard's paper, section 5.4.6: 16 bytes of header, 16 of tag, and padding to 16. */
const WIREGUARD = 32;
const WIREGUARD_ALIGN = 16;
/**
 * IEEE 802.1AE, clause 9: SecTAG with its EtherType, the sender's identifier, the usual check
 * value.
 */
const MACSEC_TAG = 8;
const MACSEC_SCI = 8;
const MACSEC_ICV = 16;
/**
 * IEC 62439-3: the tag of HSR (HSR_HLEN of net/hsr/hsr_main.h), and as long the trailer of PRP. The
 * figure is one for each slave.
 */
const HSR_TAG = 6;
/** RFC 2516, section 4, and the protocol field of RFC 1661. */
const PPPOE = 6;
const PPP_PROTOCOL = 2;
/**
 * RFC 3931, sections 4.1.1 and 4.1.2; RFC 2661, section 3.1; l2tp_session_set_header_len of
 * net/l2tp/l2tp_core.c.
 */
const L2TP_SESSION_ID = 4;
const L2TP_IN_UDP = 4;
const L2TP_SUBLAYER = 4;
const L2TP_V2 = 6;
const L2TP_V2_SEQUENCE = 4;
/** Address and control field of PPP in L2TP: pppol2tp_xmit of net/l2tp/l2tp_ppp.c. */
const PPP_ADDRESS = 2;
/** Linux 6.16's ovpn: opcode and peer, packet id, tag (drivers/net/ovpn/proto.h). */
const OPENVPN = 24;

/** Kind of its datapath, and of the devices that stand for its bridges, which are ports of that. */
export const OPEN_VSWITCH = 'openvswitch';

/** What leaves on a device is the same on the one that it leaves the node by. */
export const TRANSPARENT: ReadonlySet<string> = new Set([
  ...[
    'veth',
    'netkit',
    'bond',
    'team',
    'bridge',
    OPEN_VSWITCH,
    'macvlan',
    'macvtap',
    'ipvlan',
    'ipvtap',
  ],
  ...['vrf', 'dummy', 'ifb', 'nlmon', 'netdevsim', 'vcan', 'virt_wifi'],
]);
/**
 * Of these, those that hand on to the device that they are tied to, and those that hand on to their
 * ports.
 */
const STACKED: ReadonlySet<string> = new Set([
  'macvlan',
  'macvtap',
  'ipvlan',
  'ipvtap',
  'virt_wifi',
]);
export const MASTERS: ReadonlySet<string> = new Set(['bond', 'team', 'bridge', OPEN_VSWITCH]);

function outerIp({ tunnel }: Link): number {
  return tunnel?.isOuterIpv6 ? IPV6 : IPV4;
}

/** Each of its packets brings its outer header: what may differ is read from there. */
function toldBy({ tunnel }: Link, told: number): Pick<Layer, 'told'> {
  return tunnel?.isExternal ? { told } : {};
}

/** A tunnel in IP, perhaps with UDP in between (RFC 8086's kind). */
function inIp(link: Link, bytes: number, told = 0): Layer {
  const { udp, hasEncapsulationLimit, isExternal } = link.tunnel ?? {};
  const limit = hasEncapsulationLimit && !isExternal ? ENCAPSULATION_LIMIT : 0;
  const between = udp === undefined ? 0 : UDP + (udp.type === 'gue' ? GUE : 0);
  // Of the packets some have that field: those whose checksum was left to be computed.
  const [rest, certainty] = udp?.hasRemoteChecksum
    ? ([GUE_REMOTE_CHECKSUM, 'estimated'] as const)
    : ([0, undefined] as const);
  const total = outerIp(link) + limit + between + rest + bytes;
  return packet(total, { ...(told > 0 && toldBy(link, told)), certainty });
}

function greOf(link: Link): Layer {
  return inIp(link, GRE + (link.tunnel?.greFields ?? 0) * GRE_FIELD, TOLD_GRE);
}

/**
 * Without a far end it has outer headers for a link header, which are on the packet by then
 * (ipgre_header of net/ipv4/ip_gre.c).
 */
function greOfPackets(link: Link): Layer {
  const { remote, isExternal } = link.tunnel ?? {};
  if (remote !== undefined || isExternal === true || link.tunnel === undefined) return greOf(link);
  return packet(0, link.tunnel.hasEncapsulationLimit ? { certainty: 'estimated' } : {});
}

function erspan(link: Link): Layer {
  const { erspanVersion, isExternal, greFields } = link.tunnel ?? {};
  if (isExternal || erspanVersion === undefined)
    return { ...inIp(link, GRE + GRE_FIELD + (ERSPAN[2] ?? 0)), certainty: 'estimated' };
  // The index of the session is not GRE's key, and of the fields only the sequence number is sent.
  const sequence = erspanVersion === 0 || greFields === 0 ? 0 : GRE_FIELD;
  return inIp(link, GRE + sequence + (ERSPAN[erspanVersion] ?? 0));
}

function wireguard(link: Link): Layer {
  const steps = [{ padTo: WIREGUARD_ALIGN, mtu: link.mtu }, { add: WIREGUARD + UDP + IPV4 }];
  return { steps, goesOnAs: 'packet' };
}

function macsec({ tunnel }: Link): Layer {
  const { icvBytes = MACSEC_ICV, sci } = tunnel ?? {};
  const bytes = MACSEC_TAG + (sci === false ? 0 : MACSEC_SCI) + icvBytes;
  return frame(bytes, sci === undefined ? { certainty: 'estimated' } : {});
}

/**
 * RFC 2516, or where there is no such session PPP in L2TP. A device of PPP does not say what its
 * sessions are.
 */
function ppp(_link: Link, around: Surroundings): Layer {
  const { pppoeDevices, l2tpSessions, l2tpTunnels, byIndex } = around;
  const inL2tp = l2tpSessions.filter(({ isPpp }) => isPpp);
  if (inL2tp.length > 0 && pppoeDevices.length === 0) {
    const layers = inL2tp.map((session) => l2tp(session, l2tpTunnels, PPP_PROTOCOL + PPP_ADDRESS));
    return alikeOrLongest(layers);
  }
  const names = new Set(pppoeDevices);
  const below = [...byIndex.values()].find(({ name }) => names.has(name));
  const isKnown = names.size === 1 && inL2tp.length === 0;
  const certainty = isKnown ? undefined : ('estimated' as const);
  return frame(ETHERNET + PPPOE + PPP_PROTOCOL, { below, certainty });
}

function alikeOrLongest(layers: readonly Layer[]): Layer {
  const [longest, ...others] = layers.toSorted((a, b) => lengthOf(b.steps) - lengthOf(a.steps));
  if (longest === undefined) return packet(0, { certainty: 'estimated' });
  const isKnown = others.every(({ steps }) => lengthOf(steps) === lengthOf(longest.steps));
  return isKnown ? longest : { ...longest, certainty: 'estimated' };
}

function l2tp(session: L2tpSession, tunnels: readonly L2tpTunnel[], innerBytes = 0): Layer {
  const tunnel = tunnels.find(({ id }) => id === session.tunnelId);
  const { version = 3, isInUdp = true, isOuterIpv6 = false } = tunnel ?? {};
  const header =
    version === 2
      ? L2TP_V2 + (session.hasSequence ? L2TP_V2_SEQUENCE : 0)
      : L2TP_SESSION_ID + session.cookieBytes + L2TP_SUBLAYER + (isInUdp ? L2TP_IN_UDP : 0);
  const bytes = header + (isInUdp ? UDP : 0) + (isOuterIpv6 ? IPV6 : IPV4) + innerBytes;
  return packet(bytes, { certainty: tunnel === undefined ? 'estimated' : undefined });
}

/** A device of L2TP has no kind, and no device of a bus. */
function unbacked(link: Link, around: Surroundings): Layer {
  const session = around.l2tpSessions.find(({ ifname }) => ifname === link.name);
  if (session === undefined) return estimate(link, around);
  const layer = l2tp(session, around.l2tpTunnels);
  // That a session does without its sublayer the kernel says by the MTU that it gave the device,
  // and by nothing else.
  const { mtu = USUAL_MTU } = belowOf(link, layer, around) ?? {};
  const without = lengthOf(layer.steps) + ETHERNET - L2TP_SUBLAYER;
  return mtu - link.mtu === without
    ? { ...layer, steps: [...layer.steps, { add: -L2TP_SUBLAYER }] }
    : layer;
}

/**
 * Of a kind that is not known: what it asks for in front of packets and behind them, or what its
 * MTU leaves below.
 */
function estimate(link: Link, around: Surroundings): Layer {
  const room = (link.headroomBytes ?? 0) + (link.tailroomBytes ?? 0);
  const held = (bytes: number): number => Math.min(Math.max(bytes, 0), MAX_ESTIMATE);
  // The room is for all that is below it.
  if (room > 0) return { steps: [{ add: held(room) }], goesOnAs: 'done', certainty: 'estimated' };
  const below = belowOf(link, frame(0), around);
  const header = hasFrames(link) || (below !== undefined && !hasFrames(below)) ? 0 : ETHERNET;
  return frame(held((below?.mtu ?? USUAL_MTU) - link.mtu + header), { certainty: 'estimated' });
}

function unknown(_link: Link, { tunOverheadBytes }: Surroundings): Layer {
  return { steps: [{ add: tunOverheadBytes }], goesOnAs: 'done', certainty: 'unknown' };
}

/**
 * By the kind of the device. The inner Ethernet header that some carry is part of the packet's
 * length already.
 */
const LAYERS: Readonly<Record<string, (link: Link, around: Surroundings) => Layer>> = {
  vlan: () => frame(VLAN_TAG),
  macsec,
  hsr: () => frame(HSR_TAG),
  vxlan: (link) => packet(outerIp(link) + UDP + VXLAN, toldBy(link, TOLD_FAMILY)),
  geneve: (link) => packet(outerIp(link) + UDP + GENEVE, toldBy(link, TOLD_FAMILY | TOLD_OPTIONS)),
  bareudp: () => packet(IPV4 + UDP, { told: TOLD_FAMILY }),
  gre: greOfPackets,
  ip6gre: greOfPackets,
  gretap: greOf,
  ip6gretap: greOf,
  erspan,
  ip6erspan: erspan,
  ipip: (link) => inIp(link, 0),
  sit: (link) => inIp(link, 0),
  ip6tnl: (link) => inIp(link, 0),
  wireguard,
  xfrm,
  vti,
  vti6: vti,
  ppp,
  ovpn: () => packet(OPENVPN + UDP + IPV4, { certainty: 'estimated' }),
  tun: unknown,
};

/** What a device does to a packet that is sent on it. */
export function layerOf(link: Link, around: Surroundings): Layer {
  const { kind } = link;
  if (kind === undefined)
    return link.isUnbacked ? unbacked(link, around) : { steps: [], goesOnAs: 'done' };
  if (TRANSPARENT.has(kind)) return { steps: [], goesOnAs: STACKED.has(kind) ? 'frame' : 'done' };
  return (
    (Object.hasOwn(LAYERS, kind) ? LAYERS[kind] : undefined)?.(link, around) ??
    estimate(link, around)
  );
}
