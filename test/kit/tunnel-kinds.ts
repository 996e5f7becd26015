// Tunnels of each kind that adds to packets what is not plain to see: how one is made on a node,
// and what it should be charged.

import type { Link } from '../../helper/wire/link-message.ts';
import type { Tunnel } from '../../helper/wire/tunnel.ts';

/**
 * Ends of the uplink between node and peer, an address that packets are sent to through the tunnel,
 * and whose it is.
 */
export const NODE = '198.51.100.1';
export const PEER = '198.51.100.2';
export const PEER6 = '2001:db8:1::2';
const NODE6 = '2001:db8:1::1';
export const FAR = '203.0.113.2';
const FAR_MAC = '02:00:00:00:00:02';

/** What podpaced is told that a process adds: this one sends what it reads by UDP. */
export const TUN_BYTES = 14 + 20 + 8;

/**
 * A tunnel `exit` on the node. Nothing need be at its other end: frames are counted at the peer's
 * uplink.
 */
export interface TunnelKind {
  /** Of `ip` in the node's namespace; {peer} is the name of the peer's. */
  readonly commands: readonly string[];
  /** Headers and trailers, the uplink's Ethernet header among them. */
  readonly bytes: number;
  /**
   * What the kernel says of the exit, as far as the charge goes by it, where the unit tests have no
   * more to say of the kind. The uplink has index 2, the far end is of IPv4.
   */
  readonly link?: Partial<Link>;
  readonly certainty?: 'estimated' | 'unknown';
  /** A module that some kernels do not have. */
  readonly module?: string;
  /** Modules that nothing loads by itself. */
  readonly loads?: readonly string[];
  /**
   * Commands that run as long as the test, with {node} for the namespace and {NAME.c} for a program
   * of this directory.
   */
  readonly processes?: readonly string[];
  /** One of the few that stand for the rest. */
  readonly isUsual?: true;
}

/**
 * What each exit of these takes to be reached; those of layer 2 do not know who has the address.
 */
const UP = ['address add 203.0.113.1/24 dev exit', 'link set exit up'];
const NEIGHBOUR = `neigh add ${FAR} lladdr ${FAR_MAC} dev exit`;

function routed(link: string, bytes: number, more: Partial<TunnelKind> = {}): TunnelKind {
  return { commands: [`link add ${link}`, ...UP], bytes, ...more };
}

function bridged(link: string, bytes: number, more: Partial<TunnelKind> = {}): TunnelKind {
  return { commands: [`link add ${link}`, ...UP, NEIGHBOUR], bytes, ...more };
}

/** Each packet has its outer header from the route. */
function external(type: string, encap: string, bytes: number, isOfFrames: boolean): TunnelKind {
  const route = `route add ${FAR}/32 encap ${encap} dev exit`;
  const neighbour = isOfFrames ? [NEIGHBOUR] : [];
  return { commands: [`link add exit type ${type} external`, ...UP, route, ...neighbour], bytes };
}

/** A tunnel of this kind with a far end. */
export function tunnel(kind: string, more: Tunnel = {}): Partial<Link> {
  return { kind, tunnel: { remote: '192.0.2.9', ...more } };
}

const ENDS = `local ${NODE} remote ${PEER}`;
const ENDS6 = `local ${NODE6} remote ${PEER6}`;
const GCM = `aead rfc4106(gcm(aes)) 0x${'01'.repeat(20)} 128`;
const CBC = `enc cbc(aes) 0x${'01'.repeat(16)} auth-trunc hmac(sha256) 0x${'02'.repeat(32)} 128`;

function inUdp(type: string, encap: string, bytes: number): TunnelKind {
  const link = `exit type ${type} ${ENDS} encap ${encap} encap-sport 7777 encap-dport 5555`;
  return { commands: [`link add ${link}`, ...UP], bytes, loads: ['fou'] };
}

/** States and policies of IPsec in tunnel mode, for what `mark` or `if_id` says. */
function ipsec(algorithms: string, of: string, more = ''): string[] {
  const state = `xfrm state add src ${NODE} dst ${PEER} proto esp spi 0x1000 reqid 1 mode tunnel`;
  const template = `tmpl src ${NODE} dst ${PEER} proto esp reqid 1 mode tunnel`;
  return [
    `${state} ${algorithms}${more} ${of}`,
    of.startsWith('if_id')
      ? `xfrm policy add src 0.0.0.0/0 dst 0.0.0.0/0 dir out ${template} ${of}`
      : `xfrm policy add src 0.0.0.0/0 dst 0.0.0.0/0 dir out ${of} ${template}`,
  ];
}

const XFRM = ['link add exit type xfrm dev uplink if_id 7', ...UP];

function l2tp(encap: string, bytes: number, more = ''): TunnelKind {
  return {
    commands: [
      `l2tp add tunnel tunnel_id 1 peer_tunnel_id 1 ${encap} ${ENDS}`,
      `l2tp add session name exit tunnel_id 1 session_id 1 peer_session_id 1${more}`,
      ...[...UP, NEIGHBOUR],
    ],
    bytes,
  };
}

function macsec(flags: string, bytes: number): TunnelKind {
  const commands = [
    `link add link uplink exit type macsec encrypt on ${flags}`,
    `macsec add exit tx sa 0 pn 1 on key 01 ${'12'.repeat(16)}`,
  ];
  return { commands: [...commands, ...UP, NEIGHBOUR], bytes };
}

const VLAN_BELOW = [
  'link add link uplink name below type vlan id 5',
  'address add 192.0.2.1/24 dev below',
  'link set below up',
  `neigh add 192.0.2.2 lladdr ${FAR_MAC} dev below`,
];

const REDUNDANT = (protocol: number): TunnelKind => ({
  commands: [
    'link add second type veth peer name second netns {peer}',
    'link set second up',
    `link add exit type hsr slave1 uplink slave2 second${protocol === 1 ? ' proto 1' : ' version 1'}`,
    ...[...UP, NEIGHBOUR],
  ],
  ...{ bytes: 6, module: 'hsr' },
  link: {
    kind: 'hsr',
    mac: FAR_MAC,
    tunnel: { linkIndex: 2, ...(protocol === 1 && { isPrp: true }) },
  },
});

export const TUNNEL_KINDS: Readonly<Record<string, TunnelKind>> = {
  'GRE with key, checksum and sequence': routed(
    `exit type gre ${ENDS} key 5 csum seq`,
    14 + 20 + 16,
    {
      isUsual: true,
    },
  ),
  'GRE without a far end of its own': {
    commands: [
      `link add exit type gre local ${NODE} key 5`,
      ...UP,
      `neigh add ${FAR} lladdr ${PEER} dev exit`,
    ],
    ...{ bytes: 14, link: { kind: 'gre', tunnel: {} } },
  },
  'gretap with key': bridged(`exit type gretap ${ENDS} key 5`, 14 + 20 + 8, {
    link: tunnel('gretap', { greFields: 1 }),
  }),
  'GRE in IPv6 with an encapsulation limit': routed(`exit type ip6gre ${ENDS6}`, 14 + 40 + 8 + 4),
  'IPv6 tunnel with an encapsulation limit': routed(
    `exit type ip6tnl mode any ${ENDS6}`,
    14 + 40 + 8,
    {
      isUsual: true,
    },
  ),
  'IPv6 tunnel without one': routed(`exit type ip6tnl mode any ${ENDS6} encaplimit none`, 14 + 40),
  SIT: routed(`exit type sit mode any ${ENDS}`, 14 + 20, { link: tunnel('sit') }),
  'IPIP in GUE': inUdp('ipip', 'gue', 14 + 20 + 8 + 4),
  'IPIP in FOU': inUdp('ipip', 'fou', 14 + 20 + 8),
  'GRE in FOU': inUdp('gre', 'fou', 14 + 20 + 8 + 4),
  'ERSPAN type I': bridged(`exit type erspan ${ENDS} erspan_ver 0`, 14 + 20 + 4),
  'ERSPAN type II': bridged(
    `exit type erspan seq key 10 ${ENDS} erspan_ver 1 erspan 123`,
    14 + 20 + 8 + 8,
  ),
  'ERSPAN type III': bridged(
    `exit type erspan seq key 10 ${ENDS} erspan_ver 2 erspan_dir egress erspan_hwid 4`,
    14 + 20 + 8 + 12,
  ),
  'ERSPAN type II in IPv6': bridged(
    `exit type ip6erspan seq key 10 ${ENDS6} erspan_ver 1 erspan 123`,
    14 + 40 + 8 + 8 + 8,
  ),
  MACsec: { ...macsec('send_sci on', 8 + 8 + 16), isUsual: true },
  'MACsec without the sender’s identifier': macsec('send_sci off end_station on', 8 + 16),
  'xfrm interface, AES-GCM': {
    commands: [...ipsec(GCM, 'if_id 7'), ...XFRM],
    ...{ bytes: 2 + 8 + 8 + 16 + 20 + 14, isUsual: true },
  },
  'xfrm interface, AES-CBC and SHA-256 in UDP': {
    commands: [...ipsec(CBC, 'if_id 7', ' encap espinudp 4500 4500 0.0.0.0'), ...XFRM],
    bytes: 2 + 8 + 16 + 16 + 8 + 20 + 14,
  },
  VTI: {
    commands: [
      ...ipsec(GCM, 'mark 9 mask 0xffffffff'),
      `link add exit type vti ${ENDS} key 9`,
      ...[...UP, 'link set exit mtu 1400'],
    ],
    bytes: 2 + 8 + 8 + 16 + 20 + 14,
  },
  'L2TP in UDP with a cookie': {
    ...l2tp(
      'encap udp udp_sport 1701 udp_dport 1701',
      14 + 20 + 8 + 4 + 4 + 8 + 4,
      ' cookie 0123456789abcdef',
    ),
    isUsual: true,
  },
  'L2TP in IP without its sublayer': l2tp('encap ip', 14 + 20 + 4, ' l2spec_type none'),
  'Geneve with options': {
    ...external(
      'geneve',
      `ip id 7 dst ${PEER} geneve_opts 0102:80:0011223344556677`,
      14 + 20 + 8 + 8,
      true,
    ),
    isUsual: true,
  },
  'VXLAN in IPv6 by its routes': external(
    'vxlan dstport 4789',
    `ip6 id 7 dst ${PEER6}`,
    14 + 20 + 8 + 8,
    true,
  ),
  'gretap with key and checksum by its routes': external(
    'gretap',
    `ip id 7 dst ${PEER} key csum`,
    14 + 20 + 4,
    true,
  ),
  'VXLAN on a VLAN': {
    commands: [
      ...VLAN_BELOW,
      'link add exit mtu 1446 type vxlan id 7 local 192.0.2.1 remote 192.0.2.2 dstport 4789',
      ...[...UP, NEIGHBOUR],
    ],
    ...{ bytes: 4 + 50, isUsual: true },
  },
  'IPIP in a GRE tunnel': {
    commands: [
      `link add below type gre ${ENDS} key 5`,
      ...['address add 192.0.2.1/24 dev below', 'link set below up'],
      'link add exit type ipip local 192.0.2.1 remote 192.0.2.2',
      ...UP,
    ],
    bytes: 14 + 20 + 8 + 20,
  },
  'IPIP in an xfrm interface': {
    commands: [
      ...ipsec(GCM, 'if_id 7'),
      'link add below type xfrm dev uplink if_id 7',
      ...['address add 192.0.2.1/24 dev below', 'link set below up'],
      'link add exit type ipip local 192.0.2.1 remote 192.0.2.2',
      ...UP,
    ],
    bytes: 20 + 2 + 8 + 8 + 16 + 20 + 14,
  },
  'VLAN on MACsec': {
    commands: [
      'link add link uplink below type macsec encrypt on',
      `macsec add below tx sa 0 pn 1 on key 01 ${'12'.repeat(16)}`,
      'link set below up',
      'link add link below name exit type vlan id 7',
      ...[...UP, NEIGHBOUR],
    ],
    bytes: 4 + 32,
  },
  'a tun that a process reads': {
    commands: [],
    processes: [
      `ip netns exec {node} socat TUN:203.0.113.1/24,tun-name=exit,iff-no-pi,iff-up UDP-DATAGRAM:${PEER}:5000`,
    ],
    ...{ bytes: TUN_BYTES, certainty: 'unknown', isUsual: true, loads: ['tun'] },
  },
  HSR: REDUNDANT(0),
  PRP: REDUNDANT(1),
  PPPoE: {
    commands: [],
    processes: [`ip netns exec {node} {pppoe-session.c} uplink ${FAR_MAC} exit 203.0.113.1/24`],
    ...{ bytes: 14 + 6 + 2, module: 'pppoe', loads: ['ppp_generic', 'pppoe'] },
  },
};
