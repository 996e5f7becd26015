// Ways from a capped pod to the wire on which packets might lose their sign or their time, and
// other frames than IP.

import type { ExecutionContext } from 'ava';
import {
  FULL_BYTES,
  GATEWAY,
  inTurn,
  LARGE_BYTES,
  NODE,
  PEER,
  POD,
  type Scene,
} from './crossing-scene.ts';
import type { TestNetns } from './netns.ts';
import { takeBack } from './shared-scene.ts';
import { joinByWireguard } from './wireguard.ts';

export const [FAR, FAR6] = ['203.0.113.2', '2001:db8:9::2'];

export const FRAGMENTS = 'ip frag-off & 0x3fff != 0';
export const ROUTED = `ip saddr ${POD} ip daddr ${PEER}`;
/** What an endpoint of the node gave back has the sender that the pod has behind it. */
const FROM_BEHIND = `ip saddr 192.0.2.1 ip daddr ${FAR}`;

/**
 * A way from the routed pod to the wire: commands of `ip` on the node, and where the pod sends to
 * by it.
 */
export interface Crossing {
  readonly commands?: readonly string[];
  /** The peer when absent. */
  readonly to?: string;
  /** FULL_BYTES when absent. */
  readonly payloadBytes?: number;
  /**
   * How nft tells the frames that come to the peer by this way from those that any other would
   * bring.
   */
  readonly frames: string;
  /** One of each kind is in every run of the tests. */
  readonly isUsual?: true;
  /** Mbit/s on the wire, where other frames are charged than those that come to it. */
  readonly expectedMbit?: number;
  /** What commands do not do. */
  readonly make?: (t: ExecutionContext, scene: Scene) => void | Promise<void>;
  /** Somebody's rules ask for connection tracking, which reassembles datagrams on their way in. */
  readonly isTracked?: true;
  /**
   * Commands of `ip` in the peer that come before all others; {node} is the name of the node's
   * namespace.
   */
  readonly inPeer?: readonly string[];
  /** The peer's, where not by its uplink. */
  readonly device?: string;
  /** Of the node. */
  readonly settings?: Readonly<Record<string, string>>;
  /** Commands of `tc` on the node, and of `ip` in the pod. */
  readonly tc?: readonly string[];
  /** Rules for nft on the node. */
  readonly nft?: string;
  /**
   * A device of the peer that copies come to: as many as the cap lets through, and the pod pays for
   * none.
   */
  readonly copies?: string;
  readonly inPod?: readonly string[];
  /** The peer sends and the pod receives; frames are counted at the pod. */
  readonly isInward?: true;
}

/** Of a neighbour that need not be there: frames are counted at the peer. */
export const FAR_MAC = '02:00:00:00:00:02';

/** What leads to FAR by a device; one of layer 2 does not know who has the address. */
const up = (device: string): string[] => [
  `address add 203.0.113.1/24 dev ${device}`,
  `link set ${device} up`,
];
export const framesUp = (device: string): string[] => [
  ...up(device),
  `neigh add ${FAR} lladdr ${FAR_MAC} dev ${device}`,
];

/** An exit of its own, which the pod's packets are routed to by an address in its network. */
export function exitOf(
  link: string,
  isOfFrames: boolean,
): Required<Pick<Crossing, 'commands' | 'to' | 'isTracked'>> {
  const ready = isOfFrames ? framesUp('exit') : up('exit');
  return { commands: [`link add ${link}`, ...ready], to: FAR, isTracked: true };
}

const IN_VRF = [
  'link add vrf1 type vrf table 11',
  'link set vrf1 up',
  'link add link uplink name exit type vlan id 8',
  'link set exit master vrf1',
  ...framesUp('exit'),
];

const VXLAN = `exit mtu 1450 type vxlan id 7 local ${NODE} remote ${PEER} dstport 4789`;

/**
 * The network behind an endpoint on the node, to which its pod has another: what comes by it is
 * routed on.
 */
const THROUGH_END = [
  'address add 192.0.2.2/24 dev end',
  'link set end up',
  `route add ${FAR} via ${PEER}`,
];
const INTO_END = [
  'address add 192.0.2.1/24 dev end',
  'link set end up',
  `route add ${FAR} via 192.0.2.2`,
];

/** Two ends, as `ip` makes them. */
const betweenEnds = (onNode: string, inPod: string): Crossing => ({
  commands: [`link add end ${onNode}`, ...THROUGH_END],
  inPod: [`link add end ${inPod}`, ...INTO_END],
  to: FAR,
  payloadBytes: 1300,
  frames: FROM_BEHIND,
});

const endpointOf = (kind: string): Crossing =>
  betweenEnds(
    `type ${kind} local ${NODE} remote ${POD}`,
    `type ${kind} local ${POD} remote ${NODE}`,
  );

/**
 * Of a datagram of FULL_BYTES: padded to 16, with WireGuard's header and tag, UDP, IPv4 and
 * Ethernet.
 */
const WIREGUARD_FRAME_BYTES = Math.ceil((FULL_BYTES + 28) / 16) * 16 + 32 + 8 + 20 + 14;

/**
 * One end of a WireGuard tunnel: its namespace, what is done there with it, and the other's
 * address.
 */
type WireguardEnd = readonly [netns: TestNetns, commands: readonly string[], remote: string];

/** A tunnel between two ends, `end` at both, for as long as the test runs. */
export function makeWireguardEnds(
  t: ExecutionContext,
  ends: readonly [WireguardEnd, WireguardEnd],
): void {
  const link = 'link add end mtu 1440 type wireguard';
  for (const [netns, commands] of ends) {
    inTurn(netns, [link]);
    t.teardown(() => takeBack(netns, [link, ...commands]));
  }
  joinByWireguard(
    t,
    'end',
    ends.map(([{ netns }, , remote]) => ({ netns: netns.path, remote })),
  );
  for (const [netns, commands] of ends) inTurn(netns, commands);
}

/** A device to which somebody has copies sent, and which a route leads to. */
const TO_MONITOR = {
  inPeer: ['link add monitor type veth peer name monitor netns {node}', 'link set monitor up'],
  commands: [
    'address add 192.0.2.1/24 dev monitor',
    'link set monitor up',
    `neigh add 192.0.2.2 lladdr ${FAR_MAC} dev monitor`,
  ],
} as const;

export const chain = (type: string, rule: string): string =>
  `table ip others {\n chain one {\n type ${type};\n ${rule}\n }\n}\n`;
const TEE = chain(
  'filter hook prerouting priority mangle',
  `ip saddr ${POD} dup to 192.0.2.2 device "monitor"`,
);
export const MASQUERADE = chain(
  'nat hook postrouting priority srcnat',
  'oifname "uplink" masquerade',
);
export const DNAT = chain(
  'nat hook prerouting priority dstnat',
  `ip daddr 10.96.0.10 dnat to ${PEER}`,
);
const MARK = chain('filter hook prerouting priority mangle', `ip saddr ${POD} meta mark set 7`);
const PRIORITY = chain('filter hook postrouting priority 0', 'meta priority set "0:7"');

export const CROSSINGS: Readonly<Record<string, Crossing>> = {
  'the exit’s MTU below the pod’s, datagrams of 1400 bytes': {
    isUsual: true,
    commands: ['link set uplink mtu 1300'],
    frames: FRAGMENTS,
  },
  'the exit’s MTU below the pod’s, datagrams of 8000 bytes': {
    commands: ['link set uplink mtu 1300'],
    payloadBytes: LARGE_BYTES,
    frames: FRAGMENTS,
  },
  'VXLAN and connection tracking': {
    ...exitOf(VXLAN, true),
    payloadBytes: LARGE_BYTES,
    frames: 'udp dport 4789',
  },
  'VXLAN and connection tracking, IPv6': {
    commands: [
      `link add ${VXLAN}`,
      '-6 address add 2001:db8:9::1/64 dev exit nodad',
      'link set exit up',
      `-6 neigh add ${FAR6} lladdr ${FAR_MAC} dev exit`,
    ],
    ...{ to: FAR6, payloadBytes: LARGE_BYTES, isTracked: true, frames: 'udp dport 4789' },
  },
  'VLAN and connection tracking': {
    isUsual: true,
    ...exitOf('link uplink name exit type vlan id 7', true),
    ...{ payloadBytes: LARGE_BYTES, frames: `vlan id 7 ${FRAGMENTS}` },
  },
  'IPIP and connection tracking': {
    ...exitOf(`exit type ipip local ${NODE} remote ${PEER}`, false),
    ...{ payloadBytes: LARGE_BYTES, frames: 'ip protocol 4' },
  },
  'a route leaked into a VRF by device': {
    isUsual: true,
    commands: [...IN_VRF, 'route add 203.0.113.0/24 dev vrf1'],
    ...{ to: FAR, frames: 'vlan id 8' },
  },
  'MPLS that the node puts on': {
    isUsual: true,
    commands: [`route add ${FAR}/32 encap mpls 100 via ${PEER} dev uplink`],
    ...{ to: FAR, frames: 'ether type 0x8847' },
  },
  'nexthop objects that routes name without a device': {
    isUsual: true,
    inPeer: ['link add exit type veth peer name exit netns {node}', 'link set exit up'],
    device: 'exit',
    commands: [
      'address add 203.0.113.1/32 dev exit',
      'link set exit up',
      `nexthop add id 7 via ${FAR} dev exit onlink`,
      'nexthop add id 8 group 7',
      `neigh add ${FAR} lladdr ${FAR_MAC} dev exit`,
      'route add 203.0.113.0/24 nhid 8',
    ],
    ...{ to: FAR, frames: `ip saddr ${POD} ip daddr ${FAR}` },
    settings: { 'net/ipv4/nexthop_compat_mode': '0' },
  },
  'an ifb and back': {
    isUsual: true,
    commands: ['link add ifb1 type ifb', 'link set ifb1 up'],
    tc: [
      'filter add dev pod0 ingress pref 10 protocol all matchall action mirred egress redirect dev ifb1',
    ],
    frames: ROUTED,
  },
  'a VXLAN endpoint of the node, which forwards what comes by it': {
    isUsual: true,
    ...betweenEnds(
      `type vxlan id 9 local ${NODE} remote ${POD} dstport 4789`,
      `mtu 1450 type vxlan id 9 local ${POD} remote ${NODE} dstport 4789`,
    ),
  },
  'an IPIP endpoint of the node': endpointOf('ipip'),
  'a GRE endpoint of the node': endpointOf('gre'),
  // It has no `local`: the node answers from the address that it has on the host interface, and
  // only that is taken.
  'a Geneve endpoint of the node': betweenEnds(
    `type geneve id 9 remote ${POD}`,
    `type geneve id 9 remote ${GATEWAY}`,
  ),
  // What is charged is what the pod sends: 42 bytes less a frame, and padding, come out of it.
  'a WireGuard endpoint of the node': {
    isUsual: true,
    make: (t, { node, pod }) => {
      makeWireguardEnds(t, [
        [node, THROUGH_END, POD],
        [pod, INTO_END, NODE],
      ]);
    },
    frames: FROM_BEHIND,
    to: FAR,
    expectedMbit: (10 * (FULL_BYTES + 42)) / WIREGUARD_FRAME_BYTES,
  },
  'a plain route': { frames: ROUTED },
  'datagrams of 8000 bytes': { payloadBytes: LARGE_BYTES, frames: FRAGMENTS },
  'datagrams of 8000 bytes and connection tracking': {
    payloadBytes: LARGE_BYTES,
    isTracked: true,
    frames: FRAGMENTS,
  },
  'QinQ and connection tracking': {
    ...exitOf('link uplink name exit type vlan id 7 protocol 802.1ad', true),
    ...{ payloadBytes: LARGE_BYTES, frames: 'ether type 8021ad vlan id 7' },
  },
  GRE: {
    ...exitOf(`exit type gre local ${NODE} remote ${PEER}`, false),
    ...{ payloadBytes: 1300, frames: 'ip protocol gre' },
  },
  'SIT, IPv6 in IPv4': {
    commands: [
      `link add exit type sit local ${NODE} remote ${PEER}`,
      '-6 address add 2001:db8:9::1/64 dev exit nodad',
      'link set exit up',
    ],
    ...{ to: FAR6, payloadBytes: 1300, frames: 'ip protocol 41' },
  },
  'a VRF by next hop': {
    commands: [...IN_VRF, `route add ${FAR}/32 via ${FAR} dev exit onlink`],
    ...{ to: FAR, frames: 'vlan id 8' },
  },
  'segment routing over IPv6 that the node puts on': {
    commands: [
      '-6 neigh add 2001:db8:1::2 lladdr 02:00:00:00:00:03 dev uplink',
      `-6 route add ${FAR6}/128 encap seg6 mode encap segs 2001:db8:1::2 dev uplink`,
    ],
    ...{ to: FAR6, payloadBytes: 1300, frames: 'ip6 nexthdr 43' },
  },
  masquerade: { nft: MASQUERADE, frames: `ip saddr ${NODE} ip daddr ${PEER}` },
  DNAT: { to: '10.96.0.10', nft: DNAT, frames: ROUTED },
  'an ip rule by mark': {
    // By another router than the main table has.
    commands: [
      `neigh add 198.51.100.3 lladdr ${FAR_MAC} dev uplink`,
      'rule add fwmark 7 lookup 77',
      'route add default via 198.51.100.3 table 77',
    ],
    ...{ to: FAR, nft: MARK, frames: `ether daddr ${FAR_MAC}` },
  },
  'a copy of each packet to another device (TEE)': {
    isUsual: true,
    ...{ ...TO_MONITOR, nft: TEE, frames: ROUTED },
    copies: 'monitor',
  },
  'a copy of each packet to another device (mirred)': {
    ...{ ...TO_MONITOR, frames: ROUTED },
    tc: [
      'filter add dev pod0 ingress pref 10 protocol all matchall action mirred egress mirror dev monitor',
    ],
    copies: 'monitor',
  },
  'macvlan on the pod’s own interface': {
    commands: ['address add 192.0.2.2/24 dev pod0'],
    inPod: [
      'link add own link eth0 type macvlan mode bridge',
      'address add 192.0.2.1/24 dev own',
      'link set own up',
      `route add ${FAR} via 192.0.2.2`,
    ],
    ...{ to: FAR, frames: FROM_BEHIND },
  },
  'another priority (nft meta priority 0:7)': { nft: PRIORITY, frames: ROUTED },
};

/**
 * How one end sends other frames to the other: {device} and {via} are its own device and the
 * other's address on the bridge.
 */
export const FRAMES: Readonly<Record<string, readonly string[]>> = {
  'IP under two VLAN tags': [
    'link add link {device} name outer type vlan proto 802.1ad id 5',
    'link set outer up',
    'link add link outer name inner type vlan id 7',
    'address add {own}/24 dev inner',
    'link set inner up',
    'neigh add {other} lladdr {mac} dev inner',
  ],
  'frames that are no IP (MPLS)': ['route add {other}/32 encap mpls 100 via {via} dev {device}'],
};
