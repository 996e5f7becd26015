// Which interfaces of a sandbox are ways out of it, of any kind: a kernel with all of them in one
// namespace is not to be had.

import test from 'ava';
import type { CniResult } from '../../../../cni/result.ts';
import type { Session } from '../../../../cni/wiring/session.ts';
import { findOtherWays } from '../../../../cni/wiring/ways.ts';
import type { Link } from '../../../../helper/kernel/links.ts';

const NETNS = '/run/netns/pod';
/**
 * Ids that the pod's namespace has given to the node's and to a third one, and the node's to the
 * pod's.
 */
const [NODE_ID, THIRD_ID, POD_ID] = [0, 1, 5];

function link(index: number, name: string, more: Partial<Link> = {}): Link {
  return {
    ...{ index, name, mtu: 1500, mac: '02:00:00:00:00:07', up: true, loopback: false },
    ...{ numTxQueues: 1, numRxQueues: 1, gsoMaxSizeBytes: 65_536, gsoMaxSegs: 65_535 },
    ...more,
  };
}

function pairEnd(kind: 'veth' | 'netkit', linkIndex: number, linkNetnsId?: number): Partial<Link> {
  return { kind, linkIndex, ...(linkNetnsId !== undefined && { linkNetnsId }) };
}

/** The node's devices: other ends of the pod's interfaces 2 and 3. */
const ON_NODE = [
  link(102, 'eni5c2', pairEnd('veth', 2, POD_ID)),
  link(103, 'veth4a7e', pairEnd('veth', 3, POD_ID)),
  // Of another pod, with the same indexes.
  link(104, 'stranger', pairEnd('veth', 4, POD_ID + 1)),
  link(105, 'netkit0', pairEnd('netkit', 5, POD_ID)),
];

function sessionWith(inPod: readonly Link[]): Session {
  const kernel = {
    listLinks: () => Promise.resolve(inPod),
    findLink: (_rt: unknown, { index }: { readonly index: number }) =>
      Promise.resolve(ON_NODE.find((each) => each.index === index)),
    netnsIdOf: () => Promise.resolve(POD_ID),
  };
  return { kernel, netns: { path: NETNS }, node: {}, pod: {} } as unknown as Session;
}

const LO = link(1, 'lo', { loopback: true });
const ETH0 = link(2, 'eth0', pairEnd('veth', 102, NODE_ID));

/**
 * A second interface, as the kernel describes it in the sandbox: the host's end, a reason, or
 * nothing.
 */
const CASES: readonly (readonly [
  what: string,
  link: Link,
  expected: string | RegExp | undefined,
])[] = [
  ['a pair with the node', link(3, 'v4if0', pairEnd('veth', 103, NODE_ID)), 'veth4a7e'],
  ['a netkit with the node', link(5, 'nk0', pairEnd('netkit', 105, NODE_ID)), 'netkit0'],
  [
    'a pair with another pod',
    link(4, 'x', pairEnd('veth', 104, THIRD_ID)),
    /^the other end of its veth pair/,
  ],
  [
    'a pair with a namespace without such an index',
    link(3, 'x', pairEnd('veth', 999, THIRD_ID)),
    /^the other/,
  ],
  ['a pair within the sandbox', link(3, 'x', pairEnd('veth', 4)), undefined],
  [
    'a virtual function of a network card',
    link(3, 'x'),
    /^it is a device of its own, whose packets/,
  ],
  [
    'macvlan',
    link(3, 'x', { kind: 'macvlan', linkIndex: 2, linkNetnsId: NODE_ID }),
    /^it is of kind macvlan/,
  ],
  [
    'ipvlan',
    link(3, 'x', { kind: 'ipvlan', linkIndex: 2, linkNetnsId: NODE_ID }),
    /^it is of kind ipvlan/,
  ],
  [
    'a VLAN of the node',
    link(3, 'x', { kind: 'vlan', linkIndex: 2, linkNetnsId: NODE_ID }),
    /of kind vlan/,
  ],
  [
    'a tunnel that was made on the node',
    link(3, 'x', { kind: 'vxlan', linkNetnsId: NODE_ID }),
    /kind vxlan/,
  ],
  ['a tap that a process reads', link(3, 'x', { kind: 'tun' }), /^it is of kind tun/],
  ['WireGuard', link(3, 'x', { kind: 'wireguard' }), /^it is of kind wireguard/],
  ['a port of Open vSwitch', link(3, 'x', { kind: 'openvswitch' }), /^it is of kind openvswitch/],
  [
    'macvlan on an interface of the sandbox',
    link(3, 'x', { kind: 'macvlan', linkIndex: 2 }),
    undefined,
  ],
  ['a VLAN on one', link(3, 'x', { kind: 'vlan', linkIndex: 2 }), undefined],
  ['a bridge in the sandbox', link(3, 'br0', { kind: 'bridge' }), undefined],
  [
    'a tunnel that the kernel puts into each namespace',
    link(3, 'tunl0', { kind: 'ipip' }),
    undefined,
  ],
  ['dummy', link(3, 'x', { kind: 'dummy' }), undefined],
  ['a VRF, whose slaves are asked for themselves', link(3, 'x', { kind: 'vrf' }), undefined],
];

function listing(...names: readonly string[]): CniResult {
  return { interfaces: names.map((name) => ({ name, sandbox: NETNS })) };
}

for (const [what, second, expected] of CASES) {
  test(`a second interface: ${what}`, async (t) => {
    const session = sessionWith([LO, ETH0, second]);
    const ways = [
      await findOtherWays(session, 'eth0', listing('eth0', second.name), 'add'),
      await findOtherWays(session, 'eth0', listing('eth0', second.name), 'check'),
      // As the first of a pod it need not be listed.
      await findOtherWays(session, 'eth0', {}, 'add'),
    ];
    for (const { pairs, unheld } of ways) {
      t.deepEqual(
        pairs.map(({ host }) => host.name),
        typeof expected === 'string' ? [expected] : [],
      );
      t.deepEqual(
        unheld.map(({ podInterface }) => podInterface),
        expected instanceof RegExp ? [second.name] : [],
      );
      if (expected instanceof RegExp) t.regex(unheld[0]?.reason ?? '', expected);
    }
  });
}

test('of a second attachment, and in CHECK, only what the list names in this sandbox is taken', async (t) => {
  const session = sessionWith([
    LO,
    ETH0,
    link(3, 'net1', pairEnd('veth', 103, NODE_ID)),
    link(6, 'vf0'),
  ]);
  const namesOf = async (...call: [string, CniResult, 'add' | 'check']): Promise<string[]> => {
    const { pairs, unheld } = await findOtherWays(session, ...call);
    return [...pairs.map(({ pod }) => pod.name), ...unheld.map(({ podInterface }) => podInterface)];
  };
  t.deepEqual(await namesOf('net1', listing('net1'), 'add'), []);
  t.deepEqual(await namesOf('net1', listing('net1', 'vf0'), 'add'), ['vf0']);
  t.deepEqual(await namesOf('eth0', listing('eth0'), 'check'), []);
  t.deepEqual(await namesOf('eth0', listing('eth0', 'net1'), 'check'), ['net1']);
  t.deepEqual(await namesOf('eth0', listing('eth0'), 'add'), ['net1', 'vf0']);
  // Without any sandbox, names are the pod's; with one, those without are the node's.
  t.deepEqual(await namesOf('net1', { interfaces: [{ name: 'net1' }, { name: 'vf0' }] }, 'add'), [
    'vf0',
  ]);
  const mixed = [
    { name: 'net1', sandbox: NETNS },
    { name: 'eth0' },
    { name: 'vf0', sandbox: '/run/netns/y' },
  ];
  t.deepEqual(await namesOf('net1', { interfaces: mixed }, 'add'), []);
});
