import test from 'ava';
import type { Link } from '../../../../helper/wire/link-message.ts';
import { NO_OUTER_WAYS, type OuterWays } from '../../../../helper/shaping/layers.ts';
import { farEndOf, overheadOf, type Overhead } from '../../../../helper/shaping/overheads.ts';
import { TOLD_FAMILY, TOLD_GRE, TOLD_OPTIONS } from '../../../../helper/wire/aggregate.ts';
import { tunnel, TUNNEL_KINDS } from '../../../kit/tunnel-kinds.ts';
import type { Tunnel } from '../../../../helper/wire/tunnel.ts';
import type { XfrmState } from '../../../../helper/wire/xfrm-message.ts';

const MAC = '02:00:00:00:00:01';
const NO_LIMIT = 0xffff_ffff;
const EXIT = 20;

function link(index: number, rest: Partial<Link> = {}): Link {
  return {
    ...{ index, name: `eth${index}`, mtu: 1500, mac: '', up: true, loopback: false },
    ...{ numTxQueues: 1, numRxQueues: 1, gsoMaxSizeBytes: 65_536, gsoMaxSegs: 65_535, ...rest },
  };
}

const UPLINK = link(2, { mac: MAC });

interface Node extends Partial<OuterWays> {
  readonly below?: readonly Link[];
  readonly uplink?: Link | null;
}

/** What a device with index EXIT is charged on a node with an uplink. */
function charged(
  exit: Partial<Link>,
  { below = [], uplink = UPLINK, ...ways }: Node = {},
): Overhead {
  const own = link(EXIT, exit);
  const links = [...(uplink === null ? [] : [uplink]), ...below, own];
  return overheadOf(own, {
    ...{ ...NO_OUTER_WAYS, ...ways, byIndex: new Map(links.map((each) => [each.index, each])) },
    portsOf: ({ index }) => links.filter(({ masterIndex }) => masterIndex === index),
    ...{ tunOverheadBytes: 74, ...(uplink !== null && { uplink }) },
  });
}

function known(frameBytes: number, told = 0): Overhead {
  return { overhead: { frameBytes, align: 0, mtu: 0, ...(told > 0 && { told }) } };
}

/** By headers: 14 Ethernet, 20 IPv4, 40 IPv6, 8 UDP, 4 GRE and each of its fields. */
const TABLE: Readonly<Record<string, readonly [Partial<Link>, number]>> = {
  'VLAN (802.1Q)': [{ kind: 'vlan', linkIndex: 2 }, 4],
  'VXLAN (RFC 7348)': [tunnel('vxlan'), 14 + 20 + 8 + 8],
  'VXLAN in IPv6': [tunnel('vxlan', { isOuterIpv6: true }), 14 + 40 + 8 + 8],
  'Geneve (RFC 8926)': [tunnel('geneve'), 14 + 20 + 8 + 8],
  'IPIP (RFC 2003)': [tunnel('ipip'), 14 + 20],
  'IPv6 tunnel (RFC 2473)': [tunnel('ip6tnl', { isOuterIpv6: true }), 14 + 40],
  'IPv6 tunnel with its limit': [
    tunnel('ip6tnl', { isOuterIpv6: true, hasEncapsulationLimit: true }),
    14 + 40 + 8,
  ],
  'GRE (RFC 2784)': [tunnel('gre'), 14 + 20 + 4],
  'GRE with key, checksum, sequence (RFC 2890)': [
    tunnel('gre', { greFields: 3 }),
    14 + 20 + 4 + 12,
  ],
  'GRE in IPv6': [
    tunnel('ip6gre', { isOuterIpv6: true, hasEncapsulationLimit: true }),
    14 + 40 + 8 + 4,
  ],
  'IPIP in FOU': [tunnel('ipip', { udp: { type: 'fou', hasRemoteChecksum: false } }), 14 + 20 + 8],
  'GRE in GUE': [
    tunnel('gre', { udp: { type: 'gue', hasRemoteChecksum: false } }),
    14 + 20 + 8 + 4 + 4,
  ],
  'ERSPAN I': [tunnel('erspan', { erspanVersion: 0, greFields: 1 }), 14 + 20 + 4],
  'ERSPAN II': [tunnel('erspan', { erspanVersion: 1, greFields: 2 }), 14 + 20 + 8 + 8],
  'ERSPAN III': [tunnel('erspan', { erspanVersion: 2, greFields: 2 }), 14 + 20 + 8 + 12],
  'ERSPAN II in IPv6': [
    tunnel('ip6erspan', { erspanVersion: 1, greFields: 2, isOuterIpv6: true }),
    14 + 40 + 8 + 8,
  ],
  'MACsec (802.1AE)': [
    { kind: 'macsec', linkIndex: 2, tunnel: { icvBytes: 16, sci: true } },
    8 + 8 + 16,
  ],
  'MACsec without the identifier': [
    { kind: 'macsec', linkIndex: 2, tunnel: { icvBytes: 12, sci: false } },
    20,
  ],
};

for (const [name, [exit, bytes]] of Object.entries(TABLE)) {
  test(`${name} adds ${bytes} bytes`, (t) => {
    t.deepEqual(charged(exit), known(bytes));
  });
}

for (const [name, { link: exit, bytes, certainty }] of Object.entries(TUNNEL_KINDS)) {
  if (exit === undefined) continue;
  test(`${name} adds ${bytes} bytes`, (t) => {
    t.deepEqual(charged(exit), { ...known(bytes), ...(certainty && { certainty }) });
  });
}

test('devices that hand packets on as they are add nothing, nor does hardware', (t) => {
  for (const kind of [
    'veth',
    'netkit',
    'openvswitch',
    'macvlan',
    'ipvlan',
    'bond',
    'team',
    'bridge',
  ])
    t.deepEqual(charged({ kind, mac: MAC }), {}, kind);
  t.deepEqual(charged({ mac: MAC, mtu: 1400 }), {});
});

test('WireGuard pads to 16 bytes within its MTU (its paper, section 5.4.6)', (t) => {
  t.deepEqual(charged({ kind: 'wireguard', mtu: 1420 }), {
    overhead: { frameBytes: 14 + 20 + 8 + 32, align: 16, mtu: 1420 },
  });
});

test('what only the packet tells is left to it, where a device has no far end of its own', (t) => {
  const external = { kind: 'geneve', tunnel: { isExternal: true } } as const;
  t.deepEqual(charged(external), known(50, TOLD_FAMILY | TOLD_OPTIONS));
  t.deepEqual(charged({ ...external, kind: 'vxlan' }), known(50, TOLD_FAMILY));
  t.deepEqual(charged({ ...external, kind: 'gretap' }), known(38, TOLD_GRE));
  t.deepEqual(charged({ kind: 'bareudp' }), known(42, TOLD_FAMILY));
  t.like(charged({ ...external, kind: 'erspan' }), { certainty: 'estimated' });
});

const STATE: XfrmState = {
  ...{ destination: '192.0.2.9', isIpv6: false, isTunnel: true, cipher: 'rfc4106(gcm(aes))' },
  ...{ icvBytes: 16, isInUdp: false, ifId: 7 },
};
const XFRM: Partial<Link> = { kind: 'xfrm', tunnel: { ifId: 7 } };

test('an xfrm interface adds what the states with its id say: RFC 4303', (t) => {
  const of = (...states: readonly Partial<XfrmState>[]): Overhead =>
    charged(XFRM, { xfrmStates: states.map((state) => ({ ...STATE, ...state })) });
  const esp = (frameBytes: number, align: number): Overhead['overhead'] => ({
    ...{ frameBytes, align, mtu: NO_LIMIT, innerBytes: 2 },
  });
  t.deepEqual(of({}), { overhead: esp(8 + 8 + 16 + 20 + 14, 4) });
  t.deepEqual(of({}, {}), of({}), 'both ways by the same algorithms');
  t.deepEqual(of({ isIpv6: true, isInUdp: true }), { overhead: esp(8 + 8 + 16 + 40 + 8 + 14, 4) });
  t.deepEqual(of({ cipher: 'cbc(aes)' }), { overhead: esp(8 + 16 + 16 + 20 + 14, 16) });
  t.deepEqual(of({ cipher: 'cbc(des3_ede)', icvBytes: 12 }), {
    overhead: esp(8 + 8 + 12 + 20 + 14, 8),
  });
  t.deepEqual(of({ cipher: 'ecb(cipher_null)', icvBytes: 12 }), {
    overhead: esp(8 + 12 + 20 + 14, 4),
  });
  t.deepEqual(of({ isTunnel: false }), { overhead: esp(8 + 8 + 16 + 14, 4) });
  t.deepEqual(of({ cipher: 'new(cipher)' }), { ...of({}), certainty: 'estimated' });
  t.deepEqual(of({}, { cipher: 'cbc(aes)' }), {
    ...of({ cipher: 'cbc(aes)' }),
    certainty: 'estimated',
  });
  t.deepEqual(of(), { ...of({}), certainty: 'estimated' }, 'the usual where there is none');
  t.deepEqual(of({ ifId: 8 }), of());
});

test('a VTI finds its states by mark and far end', (t) => {
  const { ifId: _ifId, ...plain } = STATE;
  const mark = { value: 9, mask: 0xffff_ffff };
  const vti = (outKey: number) => tunnel('vti', { outKey });
  const states = [
    { ...plain, mark, cipher: 'cbc(aes)' },
    STATE,
    { ...plain, destination: '192.0.2.8' },
  ];
  t.like(charged(vti(9), { xfrmStates: states }), { overhead: { align: 16 } });
  t.is(charged(vti(9), { xfrmStates: states }).certainty, undefined);
  t.is(charged(vti(8), { xfrmStates: states }).certainty, 'estimated');
  const high = { ...plain, mark: { value: 0x8000_0001, mask: 0xffff_ffff } };
  t.is(charged(vti(0x8000_0001), { xfrmStates: [high] }).certainty, undefined);
});

test('PPP adds what its sessions say: PPPoE (RFC 2516), or L2TP', (t) => {
  const ppp = { kind: 'ppp', mtu: 1492 };
  t.deepEqual(charged(ppp, { pppoeDevices: ['eth2'] }), known(14 + 6 + 2));
  const vlan = link(3, { name: 'eth2.5', kind: 'vlan', linkIndex: 2, mac: MAC });
  t.deepEqual(
    charged(ppp, { pppoeDevices: ['eth2.5', 'eth2.5'], below: [vlan] }),
    known(14 + 6 + 2 + 4),
  );
  t.deepEqual(charged(ppp), { ...known(22), certainty: 'estimated' });
  const l2tpTunnels = [{ id: 1, version: 2, isInUdp: true, isOuterIpv6: false }];
  const l2tpSessions = [{ tunnelId: 1, isPpp: true, cookieBytes: 0, hasSequence: false }];
  t.deepEqual(charged(ppp, { l2tpTunnels, l2tpSessions }), known(14 + 20 + 8 + 6 + 2 + 2));
});

test('a device of L2TP (RFC 3931) has no kind, and is known by its session', (t) => {
  const exit: Partial<Link> = { name: 'l2tpeth0', mac: MAC, isUnbacked: true, mtu: 1400 };
  const of = (more: object, isInUdp: boolean, isOuterIpv6 = false, mtu = 1400): Overhead =>
    charged(
      { ...exit, mtu },
      {
        l2tpTunnels: [{ id: 1, version: 3, isInUdp, isOuterIpv6 }],
        l2tpSessions: [
          {
            ...{
              tunnelId: 1,
              ifname: 'l2tpeth0',
              isPpp: false,
              cookieBytes: 0,
              hasSequence: false,
            },
            ...more,
          },
        ],
      },
    );
  t.deepEqual(of({ cookieBytes: 8 }, true), known(14 + 20 + 8 + 4 + 4 + 8 + 4));
  t.deepEqual(of({ cookieBytes: 4 }, false, true), known(14 + 40 + 4 + 4 + 4));
  t.deepEqual(
    of({}, false, false, 1500 - 38),
    known(14 + 20 + 4),
    'its MTU tells that it has no sublayer',
  );
  t.deepEqual(of({}, false, false, 1500 - 42), known(14 + 20 + 8));
  t.like(of({ tunnelId: 2 }, true), { certainty: 'estimated' });
  t.deepEqual(charged(exit), { ...known(100), certainty: 'estimated' }, 'no session, but an MTU');
});

test('of a kind that is not known it is estimated by the room it asks for, or else by its MTU, within 0 and 120', (t) => {
  const of = (exit: Partial<Link>, node?: Node): Overhead =>
    charged({ kind: 'newtun', ...exit }, node);
  const estimated = (bytes: number): Overhead => ({
    ...(bytes > 0 && known(bytes)),
    certainty: 'estimated',
  });
  t.deepEqual(of({ headroomBytes: 62, tailroomBytes: 16, mtu: 1000 }), estimated(78));
  t.deepEqual(of({ headroomBytes: 500 }), estimated(120));
  t.deepEqual(
    of({ mac: MAC, mtu: 1450 }),
    estimated(50),
    'with frames the inner header is part of the packet',
  );
  t.deepEqual(of({ mtu: 1480 }), estimated(20 + 14));
  t.deepEqual(of({ mac: MAC, mtu: 9000 }), estimated(0));
  t.deepEqual(of({ mac: MAC, mtu: 100 }), estimated(120));
  const jumbo = link(3, { mac: MAC, mtu: 9000 });
  t.deepEqual(of({ mac: MAC, mtu: 8950, linkIndex: 3 }, { below: [jumbo] }), estimated(50));
  t.deepEqual(of({ mac: MAC, mtu: 1450 }, { uplink: null }), estimated(50), 'as over Ethernet');
  t.deepEqual(of({ kind: 'toString', mac: MAC, mtu: 1450 }), estimated(50));
});

test('what a process reads is charged what is configured', (t) => {
  t.deepEqual(charged({ kind: 'tun' }), { ...known(74), certainty: 'unknown' });
});

test('where some packets have more than others it is estimated', (t) => {
  const udp = { type: 'gue', hasRemoteChecksum: true } as const;
  t.deepEqual(charged(tunnel('ipip', { udp })), {
    ...known(14 + 20 + 8 + 4 + 8),
    certainty: 'estimated',
  });
  t.like(charged({ kind: 'macsec', linkIndex: 2, tunnel: { icvBytes: 16 } }), {
    certainty: 'estimated',
  });
});

test('a tunnel on a tunnel is charged for both', (t) => {
  const vlan = link(3, { kind: 'vlan', linkIndex: 2, mac: MAC });
  const gre = link(4, { kind: 'gre', tunnel: { remote: '192.0.2.7', greFields: 1 } });
  const wireguard = link(5, { kind: 'wireguard', mtu: 1420 });
  const below = [vlan, gre, wireguard];
  const on = (index: number): Node => ({ below, routed: new Map([[EXIT, index]]) });
  t.deepEqual(charged(tunnel('vxlan'), on(3)), known(50 + 4));
  t.deepEqual(
    charged(tunnel('vxlan', { linkIndex: 3 }), on(4)),
    known(50 + 4),
    'what is tied is not routed',
  );
  t.deepEqual(charged(tunnel('ipip'), on(4)), known(20 + 20 + 8 + 14));
  t.deepEqual(charged(tunnel('vxlan'), on(5)), {
    overhead: { frameBytes: 74, align: 16, mtu: 1420, innerBytes: 36 },
  });
  t.deepEqual(charged({ kind: 'wireguard' }, { uplink: vlan }), {
    overhead: { frameBytes: 78, align: 16, mtu: 1500 },
  });
  t.deepEqual(charged({ kind: 'macvlan', linkIndex: 3 }, { below }), known(4));
  const tun = link(6, { kind: 'tun' });
  t.deepEqual(charged(tunnel('ipip'), { below: [tun], routed: new Map([[EXIT, 6]]) }), {
    ...known(20 + 74),
    certainty: 'unknown',
  });
});

test('where both pad, the coarser padding counts, and says so when that is not exact', (t) => {
  const wireguard = link(5, { kind: 'wireguard', mtu: 1420 });
  const xfrm = link(6, { kind: 'xfrm', tunnel: { ifId: 7 } });
  const node = { below: [wireguard, xfrm], xfrmStates: [STATE] };
  const onWireguard = charged({ ...XFRM, linkIndex: 5 }, node);
  t.deepEqual(onWireguard, {
    overhead: { frameBytes: 74, align: 16, mtu: 1420, innerBytes: 2 + 52 },
  });
  // 60 bytes and ESP's padding length and next header, to a multiple of 4; then what WireGuard puts
  // in front.
  const onXfrm = charged({ kind: 'wireguard', mtu: 1300, linkIndex: 6 }, node);
  const added = 32 + 8 + 20 + 2;
  t.deepEqual(onXfrm, { overhead: { frameBytes: added + 2 + 52 + 14, align: 16, mtu: 1300 } });
  const cbc = { below: [wireguard], xfrmStates: [{ ...STATE, cipher: 'cbc(aes)', icvBytes: 12 }] };
  t.is(charged({ ...XFRM, linkIndex: 5 }, cbc).certainty, 'estimated');
});

test('a bridge of Open vSwitch is charged what all ports that lead off the node add', (t) => {
  const bridge = { kind: 'openvswitch', mac: MAC, masterIndex: EXIT } as const;
  const port = (index: number, kind: string, tunnel?: Tunnel) =>
    link(index, { kind, mac: MAC, masterIndex: EXIT, ...(tunnel && { tunnel }) });
  const own = link(30, bridge);
  const [vxlan, geneve] = [
    port(31, 'vxlan', { isExternal: true }),
    port(32, 'geneve', { isExternal: true }),
  ];
  const switched = (...below: readonly Link[]) =>
    charged({ kind: 'openvswitch', mac: MAC }, { below: [own, ...below] });
  t.deepEqual(switched(), {});
  t.deepEqual(switched(port(33, 'veth')), {});
  t.deepEqual(switched(vxlan), { ...known(50), certainty: 'estimated' });
  t.deepEqual(switched(vxlan, geneve), { ...known(50), certainty: 'estimated' });
  t.deepEqual(switched(vxlan, port(33, 'veth')), { certainty: 'estimated' });
});

test('masters are charged what all of their ports add', (t) => {
  const port = (index: number, kind: string) =>
    link(index, { kind, masterIndex: EXIT, mac: MAC, linkIndex: 2 });
  const of = (...kinds: readonly string[]): Overhead =>
    charged({ kind: 'bond', mac: MAC }, { below: kinds.map((kind, at) => port(30 + at, kind)) });
  t.deepEqual(of('vlan', 'vlan'), known(4));
  t.deepEqual(of('vlan', 'veth'), {});
  t.deepEqual(of(), {});
});

test('devices that lead to each other, or to nowhere, end', (t) => {
  const other = link(3, tunnel('gre'));
  const routed = new Map([
    [EXIT, 3],
    [3, EXIT],
  ]);
  t.deepEqual(charged(tunnel('ipip'), { below: [other], routed }), known(20 + 24 + 14));
  t.deepEqual(charged(tunnel('ipip'), { routed: new Map([[EXIT, EXIT]]) }), known(34));
  t.deepEqual(charged(tunnel('ipip'), { uplink: null }), known(34));
  t.deepEqual(charged({ kind: 'vlan', linkIndex: 2, linkNetnsId: 3 }), known(4));
  const bond = link(40, { kind: 'bond', masterIndex: EXIT });
  t.deepEqual(charged({ kind: 'bond', masterIndex: 40 }, { below: [bond] }), {});
});

test('a far end is asked for where nothing says the way to it', (t) => {
  t.is(farEndOf(link(1, tunnel('ipip'))), '192.0.2.9');
  t.is(farEndOf(link(1, tunnel('ipip', { linkIndex: 2 }))), undefined);
  t.is(farEndOf(link(1, { ...tunnel('ipip'), linkIndex: 2 })), undefined);
  t.is(farEndOf(link(1, { ...tunnel('ipip'), linkIndex: 0 })), '192.0.2.9');
  t.is(farEndOf(link(1, { kind: 'wireguard' })), undefined);
});
