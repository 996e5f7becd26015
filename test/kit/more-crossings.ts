// More ways between a capped pod and the wire: services, IPsec, queues, filters and programs of
// others, exits of more kinds, and ways into the pod. Kinds that test/kit/crossings.ts has one of
// already, and ways that have always held: with all crossings only.
//
// Not here: Jool, whose module Debian has as a source only, to be compiled for each kernel; HSR,
// which kernels for clouds lack (with --kernel 6.12-full it is in test/kit/tunnel-kinds.ts).

import { execFileSync, spawn } from 'node:child_process';
import type { ExecutionContext } from 'ava';
import { inNamespace } from '../bed/testbed.ts';
import {
  chain,
  DNAT,
  exitOf,
  framesUp,
  FAR,
  FAR6,
  FAR_MAC,
  FRAGMENTS,
  makeWireguardEnds,
  MASQUERADE,
  ROUTED,
  type Crossing,
} from './crossings.ts';
import {
  inTurn,
  knowsGateway,
  knowsNode,
  LARGE_BYTES,
  NODE,
  PEER,
  POD,
  type Scene,
} from './crossing-scene.ts';
import {
  indexOf,
  ipWithBpffs,
  load,
  pin,
  putProgram,
  redirectCode,
  redirectNeighCode,
  verdictCode,
} from './foreign-programs.ts';
import type { TestNetns } from './netns.ts';
import { startOpenVswitch } from './open-vswitch.ts';
import { listenToQueue } from './queue-listener.ts';
import { setMeanwhile } from './shared-scene.ts';
import { TUNNEL_KINDS } from './tunnel-kinds.ts';

/** Of a service: nothing but rules leads to it. */
const SERVICE = '10.96.0.10';
const PEER6 = '2001:db8:1::2';
/** What others take to the wire is as old as the pod made it; the node's routing ages it. */
const NOT_ROUTED = 'ip ttl 64';
/** Class selectors, which rules of these tests write into packets that they see. */
const [SEEN, SEEN_TOS] = ['ip dscp cs2', 0x40];

/** Runs commands that undo takes back after the test, one that fails being no error then. */
function meanwhile(
  t: ExecutionContext,
  { netns }: TestNetns,
  commands: readonly string[],
  undo: readonly string[],
): void {
  const run = (command: string): void => {
    execFileSync(...inNamespace(netns.path, ...(command.split(' ') as [string, ...string[]])), {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
  };
  t.teardown(() => {
    for (const command of undo) {
      try {
        run(command);
      } catch {
        // What it takes away was not made, or is gone.
      }
    }
  });
  for (const command of commands) run(command);
}

/** A service whose one server is the peer, forwarded to as a flag of ipvsadm says. */
function ipvs(flag: string, frames: string, more: Partial<Crossing> = {}): Crossing {
  return {
    ...{ to: SERVICE, frames, ...more },
    commands: ['link set lo up', `address add ${SERVICE}/32 dev lo`],
    make: (t, { node }) => {
      execFileSync('modprobe', ['ip_vs']);
      const service = `-u ${SERVICE}:9`;
      const commands = [
        `ipvsadm -A ${service} -s rr`,
        `ipvsadm -a ${service} -r ${PEER}:9 ${flag}`,
      ];
      meanwhile(t, node, commands, ['ipvsadm -C']);
      setMeanwhile(t, node, { 'net/ipv4/vs/conntrack': '1' });
    },
  };
}

const GCM = `aead rfc4106(gcm(aes)) 0x${'01'.repeat(20)} 128`;

/** ESP by policy, without a device, between two addresses. */
function ipsec(mode: 'tunnel' | 'transport', from: string): Crossing {
  return {
    frames: `ip saddr ${from} ip protocol esp`,
    make: (t, { node }) => {
      const of = `proto esp reqid 1 mode ${mode}`;
      const ends = `src ${from} dst ${PEER}`;
      const commands = [
        `ip xfrm state add ${ends} spi 0x1000 ${of} ${GCM}`,
        `ip xfrm policy add src ${POD}/32 dst ${PEER}/32 dir out tmpl ${ends} ${of}`,
      ];
      meanwhile(t, node, commands, ['ip xfrm policy flush', 'ip xfrm state flush']);
    },
  };
}

/** A tunnel of test/kit/tunnel-kinds.ts, which has no other place for packets to go. */
function tunnel(kind: string, frames: string): Crossing {
  const { commands, loads = [] } = TUNNEL_KINDS[kind] ?? { commands: [] };
  return {
    ...{ to: FAR, payloadBytes: 1300, frames },
    make: (t, { node }) => {
      for (const module of loads) execFileSync('modprobe', [module]);
      const made = commands.map((command) => `ip ${command}`);
      const sessions = [
        'ip l2tp del session tunnel_id 1 session_id 1',
        'ip l2tp del tunnel tunnel_id 1',
      ];
      meanwhile(
        t,
        node,
        made,
        commands[0]?.startsWith('l2tp') === true ? sessions : ['ip link del exit'],
      );
    },
  };
}

/** A program of somebody's at a hook of the node. */
function program(
  device: 'pod0' | 'uplink',
  hook: 'ingress' | 'egress',
  isFirst: boolean,
  code: (scene: Scene) => Buffer,
): NonNullable<Crossing['make']> {
  return async (t, scene) => {
    // One that redirects takes all frames away.
    knowsGateway(scene);
    knowsNode(scene);
    await putProgram(t, scene.node, { device, hook, isFirst }, code(scene));
  };
}

const toUplink = ({ node }: Scene): Buffer => redirectCode(indexOf(node, 'uplink'));
const OK = 0;

/** A route whose packets a program sees (BPF_PROG_TYPE_LWT_XMIT), by a router of its own. */
const LWT_XMIT = 12;
const OTHER_ROUTER = '198.51.100.3';

/** A bridge of Open vSwitch with a tunnel as its port, which packets are routed to. */
function switched(type: string, frames: string): Crossing {
  return {
    ...{ to: FAR, payloadBytes: 1300, frames },
    make: (t, { node }) => {
      const vsctl = startOpenVswitch(t, node);
      vsctl('add-br', 'br0');
      const port = ['add-port', 'br0', 'port0', '--', 'set', 'interface', 'port0', `type=${type}`];
      vsctl(...port, `options:remote_ip=${PEER}`, 'options:key=7');
      inTurn(node, [...framesUp('br0')]);
    },
  };
}

const PORTS = ['port1', 'port2'];

/** Two devices that lead to the peer, under one on the node. */
function over(kind: string, more: readonly string[] = []): Pick<Crossing, 'inPeer' | 'commands'> {
  return {
    inPeer: PORTS.flatMap((port) => [
      `link add ${port} type veth peer name ${port} netns {node}`,
      `link set ${port} up`,
    ]),
    commands: [
      `link add above type ${kind}`,
      ...PORTS.map((port) => `link set ${port} master above`),
      ...PORTS.map((port) => `link set ${port} up`),
      'link set above up',
      ...more,
    ],
  };
}

const IN_VLAN = ['link add link above name exit type vlan id 7', ...framesUp('exit')];
const ON_ABOVE = [
  'address add 203.0.113.1/24 dev above',
  `neigh add ${FAR} lladdr ${FAR_MAC} dev above`,
];

/** What the slow way of a flow has seen is marked, and the quick way's is not. */
const flowtable = (devices: string): string => `
table inet others {
  flowtable quick { hook ingress priority 0; devices = { ${devices} }; }
  chain forwarded {
    type filter hook forward priority 0;
    meta l4proto udp flow add @quick
    ip dscp set cs1
  }
}`;
const QUICK = 'ip dscp cs0';

const INTO_POD = {
  to: POD,
  isInward: true,
  inPeer: [`route add ${POD}/32 via ${NODE}`],
} as const;
const ARRIVED = `ip saddr ${PEER} ip daddr ${POD}`;

const SERVICES: Readonly<Record<string, Crossing>> = {
  'IPVS, masquerading': ipvs('-m', `ip saddr ${NODE} ip daddr ${PEER}`, { nft: MASQUERADE }),
  'IPVS, direct': ipvs('-g', `ip saddr ${POD} ip daddr ${SERVICE}`),
  'IPVS, by a tunnel': ipvs('-i', 'ip protocol 4'),
  'IPsec by policy, tunnel mode': ipsec('tunnel', NODE),
  'IPsec by policy, transport mode': ipsec('transport', POD),
  'a queue to user space that nobody listens to (NFQUEUE, bypass)': {
    frames: SEEN,
    nft: chain('filter hook forward priority 0', 'ip dscp set cs2 queue flags bypass to 0'),
  },
  'a queue to a program that changes packets (NFQUEUE)': {
    frames: SEEN,
    nft: chain('filter hook forward priority 0', `ip saddr ${POD} queue to 0`),
    make: (t, { node }) => listenToQueue(t, node, SEEN_TOS),
  },
  'a flow table of nftables': { nft: flowtable('pod0, uplink'), frames: QUICK },
  'a capture on the host interface, datagrams of 8000 bytes': {
    ...{ payloadBytes: LARGE_BYTES, isTracked: true, frames: FRAGMENTS },
    make: (t, { node }) => {
      const command = inNamespace(node.netns.path, 'socat', '-u', 'INTERFACE:pod0', '/dev/null');
      const capture = spawn(...command, { stdio: 'ignore' });
      t.teardown(() => void capture.kill('SIGKILL'));
    },
  },
};

const FILTERS: Readonly<Record<string, Crossing>> = {
  'nft fwd to the uplink': {
    frames: NOT_ROUTED,
    nft: `
table netdev others {
  chain one {
    type filter hook ingress device "pod0" priority 0;
    ip saddr ${POD} ip daddr ${PEER} fwd to "uplink"
  }
}`,
  },
  'a filter that redirects to the uplink (mirred)': {
    frames: NOT_ROUTED,
    tc: [
      'filter add dev pod0 ingress pref 10 protocol ip matchall action mirred egress redirect dev uplink',
    ],
  },
  'a program behind that redirects to the uplink (bpf_redirect_neigh)': {
    frames: NOT_ROUTED,
    make: program('pod0', 'ingress', false, ({ node }) =>
      redirectNeighCode(indexOf(node, 'uplink')),
    ),
  },
  'a program in front that redirects to the uplink': {
    frames: NOT_ROUTED,
    make: program('pod0', 'ingress', true, toUplink),
  },
  'a program in front that ends the chain (TC_ACT_OK), at the host interface': {
    frames: ROUTED,
    make: program('pod0', 'ingress', true, () => verdictCode(OK)),
  },
  'a program in front that ends the chain (TC_ACT_OK), at the uplink': {
    frames: ROUTED,
    make: program('uplink', 'egress', true, () => verdictCode(OK)),
  },
  'mq as the root of the uplink': {
    frames: ROUTED,
    make: (_t, { node }) => void node.tc('qdisc', 'replace', 'dev', 'uplink', 'root', 'mq'),
  },
  'a program at a route (lwt, xmit)': {
    ...{ to: FAR, frames: `ether daddr ${FAR_MAC}` },
    commands: [`neigh add ${OTHER_ROUTER} lladdr ${FAR_MAC} dev uplink`],
    make: (t, { node }) => {
      const path = pin(t, node, load(t, verdictCode(OK), LWT_XMIT).fd, 'lwt');
      const route = [`${FAR}/32`, 'via', OTHER_ROUTER, 'dev', 'uplink'];
      ipWithBpffs(node, 'route', 'add', ...route, 'encap', 'bpf', 'xmit', 'pinned', path);
      t.teardown(() => void node.ip('route', 'del', `${FAR}/32`));
    },
  },
};

const EXITS: Readonly<Record<string, Crossing>> = {
  'a plain route, IPv6': {
    commands: [`-6 neigh add ${PEER6} lladdr ${FAR_MAC} dev uplink`],
    ...{ to: PEER6, frames: `ip6 daddr ${PEER6}` },
  },
  'datagrams of 8000 bytes and connection tracking, IPv6': {
    commands: [`-6 neigh add ${PEER6} lladdr ${FAR_MAC} dev uplink`],
    ...{ to: PEER6, payloadBytes: LARGE_BYTES, isTracked: true, frames: 'ip6 nexthdr 44' },
  },
  'L2TP in UDP': tunnel('L2TP in UDP with a cookie', 'udp dport 1701'),
  'L2TP in IP': tunnel('L2TP in IP without its sublayer', 'ip protocol 115'),
  'IPIP in FOU': tunnel('IPIP in FOU', 'udp dport 5555'),
  'IPIP in GUE': tunnel('IPIP in GUE', 'udp dport 5555'),
  'GRE in FOU': tunnel('GRE in FOU', 'udp dport 5555'),
  'VXLAN by its routes': {
    ...exitOf('exit mtu 1450 type vxlan dstport 4789 external', false),
    commands: [
      ...exitOf('exit mtu 1450 type vxlan dstport 4789 external', true).commands,
      `route add ${FAR}/32 encap ip id 7 dst ${PEER} dev exit`,
    ],
    ...{ payloadBytes: LARGE_BYTES, frames: 'udp dport 4789' },
  },
  'Geneve by its routes': {
    commands: [
      ...exitOf('exit mtu 1450 type geneve external', true).commands,
      `route add ${FAR}/32 encap ip id 7 dst ${PEER} dev exit`,
    ],
    ...{ to: FAR, payloadBytes: 1300, frames: 'udp dport 6081' },
  },
  'MPLS in GRE': {
    commands: [
      ...exitOf(`exit type gre local ${NODE} remote ${PEER}`, false).commands,
      `route add ${FAR}/32 encap mpls 100 dev exit`,
    ],
    ...{ to: FAR, payloadBytes: 1300, frames: 'ip protocol gre' },
  },
  'segment routing over IPv6, put into the packet': {
    commands: [
      `-6 neigh add ${PEER6} lladdr 02:00:00:00:00:03 dev uplink`,
      `-6 route add ${FAR6}/128 encap seg6 mode inline segs ${PEER6} dev uplink`,
    ],
    ...{ to: FAR6, payloadBytes: 1300, frames: 'ip6 nexthdr 43' },
  },
  'WireGuard as the exit': {
    ...{ to: FAR, payloadBytes: 1300, frames: 'udp dport 51820' },
    make: (t, { node, peer }) => {
      const at = (address: string): string[] => [
        `address add ${address}/24 dev end`,
        'link set end up',
      ];
      makeWireguardEnds(t, [
        [node, at('203.0.113.1'), PEER],
        [peer, at(FAR), NODE],
      ]);
    },
  },
  'macvlan on the uplink': {
    ...exitOf('link uplink name exit type macvlan mode bridge', true),
    frames: `ip saddr ${POD} ip daddr ${FAR}`,
  },
  'a VLAN over a bond': {
    ...over('bond mode active-backup miimon 100', IN_VLAN),
    ...{ to: FAR, device: 'port1', frames: 'vlan id 7' },
  },
  'a VLAN over a bridge that filters them, and connection tracking': {
    ...over('bridge vlan_filtering 1', IN_VLAN),
    make: (t, { node }) => {
      const vlan = ['port1', 'above'].map((device) => `bridge vlan add vid 7 dev ${device}`);
      const own = `${vlan[1]} self`;
      meanwhile(t, node, [vlan[0] ?? '', own], []);
    },
    to: FAR,
    payloadBytes: LARGE_BYTES,
    isTracked: true,
    device: 'port1',
    frames: 'vlan id 7',
  },
  'a bridge with two ports': {
    ...over('bridge', ON_ABOVE),
    ...{ to: FAR, device: 'port1' },
    frames: `ip saddr ${POD} ip daddr ${FAR}`,
  },
  'VXLAN as a port of Open vSwitch': switched('vxlan', 'udp dport 4789'),
  'Geneve as a port of Open vSwitch': switched('geneve', 'udp dport 6081'),
};

const INWARD: Readonly<Record<string, Crossing>> = {
  'into the pod, a plain route': { ...INTO_POD, frames: ARRIVED },
  'into the pod, datagrams of 8000 bytes and connection tracking': {
    ...INTO_POD,
    payloadBytes: LARGE_BYTES,
    isTracked: true,
    frames: FRAGMENTS,
  },
  'into the pod, DNAT': {
    ...{ ...INTO_POD, to: NODE, frames: ARRIVED },
    nft: DNAT.replace('10.96.0.10', NODE).replace(`to ${PEER}`, `to ${POD}`),
  },
  'into the pod, a flow table of nftables': {
    ...INTO_POD,
    nft: flowtable('pod0, uplink'),
    frames: QUICK,
  },
  'into the pod, out of a VXLAN of the node': {
    ...INTO_POD,
    inPeer: [
      `link add end mtu 1450 type vxlan id 9 local ${PEER} remote ${NODE} dstport 4789`,
      ...['address add 192.0.2.1/24 dev end', 'link set end up'],
      `route add ${POD}/32 via 192.0.2.2`,
    ],
    commands: [
      `link add end type vxlan id 9 local ${NODE} remote ${PEER} dstport 4789`,
      ...['address add 192.0.2.2/24 dev end', 'link set end up'],
    ],
    ...{ payloadBytes: 1300, frames: `ip saddr 192.0.2.1 ip daddr ${POD}` },
  },
  'into the pod, a program that redirects to the host interface': {
    ...{ ...INTO_POD, frames: NOT_ROUTED },
    make: program('uplink', 'ingress', false, ({ node }) => redirectCode(indexOf(node, 'pod0'))),
  },
};

export const MORE_CROSSINGS: Readonly<Record<string, Crossing>> = {
  ...{ ...SERVICES, ...FILTERS },
  ...{ ...EXITS, ...INWARD },
};
