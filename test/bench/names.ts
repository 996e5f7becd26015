// The benches, what they measure and on which systems. The names are fixed, so that runs of
// different days compare.

import { NODE_TRAFFIC_ROWS, type NodeTrafficRow } from '../bed/node-traffic.ts';

/**
 * What stands beside each other. `edt-fifo` is the plain departure step of test/bpf/edt-fifo.bpf.c.
 */
export const SYSTEMS = ['podpace', 'tbf', 'edt-fifo', 'none'] as const;
export type System = (typeof SYSTEMS)[number];

/** Those that have a departure step. */
export const STEPS = ['podpace', 'edt-fifo'] as const satisfies readonly System[];
export type Step = (typeof STEPS)[number];

export const BENCHES = [
  'latency',
  'accuracy',
  'udp',
  'exact',
  'cost',
  'live',
  'memory',
  'ingress',
  'samenode',
  'node',
  'bystanders',
  'wiring',
  'control',
  'scale',
] as const;
export type Bench = (typeof BENCHES)[number];

/**
 * Benches that send real packets, for which the kernel must have fq. In a VM they go by a clock
 * that counts instructions: what they compare differs by a few percent, or by tenths of a
 * millisecond, and no emulated processor keeps time so well.
 */
export const NETWORK_BENCHES: ReadonlySet<Bench> = new Set([
  'latency',
  'accuracy',
  'udp',
  'live',
  'ingress',
  'samenode',
  'node',
  'bystanders',
  'wiring',
]);

/** Benches whose pods podpace can join to their nodes in another way. */
export const WIRED_BENCHES: ReadonlySet<Bench> = new Set([
  'latency',
  'accuracy',
  'udp',
  'live',
  'ingress',
]);

/** One load of a pod under a cap, beside requests and answers. */
export interface LatencyScenario {
  readonly name: string;
  readonly capMbit: number;
  readonly congestionControl: 'cubic' | 'bbr';
  readonly ecn: boolean;
  readonly bulkFlows: number;
  readonly requestFlows: number;
  /** Of each flow. */
  readonly requestsPerSec: number;
}

const ONE_TO_ONE = {
  capMbit: 100,
  ecn: false,
  bulkFlows: 1,
  requestFlows: 1,
  requestsPerSec: 500,
} as const;

const MANY = { ...ONE_TO_ONE, congestionControl: 'cubic', bulkFlows: 32, requestFlows: 8 } as const;

export const LATENCY_SCENARIOS: readonly LatencyScenario[] = [
  { ...ONE_TO_ONE, name: '100M-cubic-1x1', congestionControl: 'cubic' },
  { ...MANY, name: '100M-cubic-32x8' },
  { ...ONE_TO_ONE, name: '100M-bbr-1x1', congestionControl: 'bbr' },
  { ...ONE_TO_ONE, name: '100M-ecn-1x1', congestionControl: 'cubic', ecn: true },
  {
    ...ONE_TO_ONE,
    name: '10M-cubic-1x1',
    congestionControl: 'cubic',
    capMbit: 10,
    requestsPerSec: 200,
  },
  { ...ONE_TO_ONE, name: '1G-cubic-1x1', congestionControl: 'cubic', capMbit: 1000 },
];

/** TCP flows against a cap. */
export interface AccuracyScenario {
  readonly name: string;
  readonly capMbit: number;
  readonly flows: number;
}

const CAPS = [
  ['1M', 1],
  ['10M', 10],
  ['100M', 100],
  ['1G', 1000],
] as const;

export const ACCURACY_SCENARIOS: readonly AccuracyScenario[] = CAPS.flatMap(([name, capMbit]) =>
  [1, 16].map((flows) => ({ name: `${name}-tcp${flows}`, capMbit, flows })),
);

/** Datagrams offered at a multiple of the cap. */
export interface UdpScenario {
  readonly name: string;
  readonly capMbit: number;
  /** Payload offered. */
  readonly offeredMbit: number;
}

export const UDP_SCENARIOS: readonly UdpScenario[] = [10, 100].flatMap((capMbit) =>
  [1, 2].map((times) => ({ name: `${capMbit}M-${times}x`, capMbit, offeredMbit: capMbit * times })),
);

/** A cap that is changed under load. */
export interface LiveScenario {
  readonly name: string;
  /** The caps in turn; the first one is the pod's from the beginning. */
  readonly capsMbit: readonly number[];
}

export const LIVE_SCENARIOS: readonly LiveScenario[] = [
  { name: '100M-10M-100M', capsMbit: [100, 10, 100] },
];

/** Loads of a pod with a cap on what it receives. */
export interface IngressScenario {
  readonly name: string;
  readonly ingressMbit?: number;
  readonly egressMbit?: number;
  readonly ecn: boolean;
  /** Of one flow, beside the bulk; 0 for none. */
  readonly requestsPerSec: number;
}

const INGRESS = { ecn: false, requestsPerSec: 0 } as const;

export const INGRESS_SCENARIOS: readonly IngressScenario[] = [
  { ...INGRESS, name: '20M', ingressMbit: 20 },
  { ...INGRESS, name: '20M-ecn', ingressMbit: 20, ecn: true },
  { ...INGRESS, name: '20M-rr', ingressMbit: 20, requestsPerSec: 200 },
  // The other direction by itself, and both at once.
  { ...INGRESS, name: '20M-egress', egressMbit: 20 },
  { ...INGRESS, name: '20M-both', ingressMbit: 20, egressMbit: 20 },
];

/** How two pods of a node are joined; the sender has the cap. */
export interface SamenodeScenario {
  readonly name: string;
  readonly capMbit: number;
  readonly wiring: 'routed' | 'bridge' | 'netkit';
}

export const SAMENODE_SCENARIOS: readonly SamenodeScenario[] = [
  { name: '2M-veth', capMbit: 2, wiring: 'routed' },
  { name: '2M-bridge', capMbit: 2, wiring: 'bridge' },
  { name: '2M-netkit', capMbit: 2, wiring: 'netkit' },
];

/** Who sends without a cap on a node that has one for somebody else. */
export interface BystanderScenario {
  readonly name: string;
  readonly sender: 'host' | 'uncapped' | 'exempt';
}

export const BYSTANDER_SCENARIOS: readonly BystanderScenario[] = [
  { name: 'host', sender: 'host' },
  { name: 'uncapped-pod', sender: 'uncapped' },
  { name: 'exempt', sender: 'exempt' },
];

/** How a pod without a cap is joined to its node; `host`: the node itself sends. */
export interface WiringScenario {
  readonly name: string;
  /** Keys of podpace's plugin; absent for what it has not made. */
  readonly keys?: WiringKeys;
  readonly isNode?: true;
}

/** Keys of podpace's plugin that say how it joins a pod to its node. */
export interface WiringKeys {
  readonly device: 'veth' | 'netkit';
  readonly hostRouting: boolean;
}

export const WIRING_SCENARIOS: readonly WiringScenario[] = [
  { name: 'host', isNode: true },
  { name: 'ptp' },
  { name: 'veth', keys: { device: 'veth', hostRouting: false } },
  { name: 'veth-routing', keys: { device: 'veth', hostRouting: true } },
  { name: 'netkit', keys: { device: 'netkit', hostRouting: false } },
  { name: 'netkit-routing', keys: { device: 'netkit', hostRouting: true } },
];

/** The ways of wiring that are podpace's own, by name. */
export const WIRINGS: ReadonlyMap<string, WiringKeys> = new Map(
  WIRING_SCENARIOS.flatMap(({ name, keys }) => (keys === undefined ? [] : [[name, keys] as const])),
);

/** One TCP flow of a pod under a cap, by the way that its packets take. */
export interface WiredCapScenario {
  readonly name: string;
  readonly capMbit: number;
  readonly keys: WiringKeys & { readonly congestionControl?: string };
  /** Of the socket itself (SO_MAX_PACING_RATE). */
  readonly paceMbit?: number;
  readonly isAqmOff?: true;
  /** 20 ms and 1 % of loss on the way. */
  readonly isLossy?: true;
  /** Whose step holds the cap, the plain one behind Debian's ptp; absent: podpace's alone. */
  readonly steps?: readonly Step[];
}

const [STACK, ROUTED, NETKIT_ROUTED] = [
  { device: 'veth', hostRouting: false },
  { device: 'veth', hostRouting: true },
  { device: 'netkit', hostRouting: true },
] as const;

export const WIRED_CAP_SCENARIOS: readonly WiredCapScenario[] = [
  { name: 'queue-100M', capMbit: 100, keys: STACK, isAqmOff: true, steps: STEPS },
  { name: 'queue-100M-routing', capMbit: 100, keys: ROUTED, isAqmOff: true },
  { name: 'queue-100M-netkit-routing', capMbit: 100, keys: NETKIT_ROUTED, isAqmOff: true },
  { name: 'pace-400M', capMbit: 600, keys: STACK, paceMbit: 400 },
  { name: 'pace-400M-routing', capMbit: 600, keys: ROUTED, paceMbit: 400 },
  { name: 'pace-400M-netkit-routing', capMbit: 600, keys: NETKIT_ROUTED, paceMbit: 400 },
  {
    name: 'lossy-cubic',
    capMbit: 50,
    keys: { ...NETKIT_ROUTED, congestionControl: 'cubic' },
    isLossy: true,
  },
  {
    name: 'lossy-bbr',
    capMbit: 50,
    keys: { ...NETKIT_ROUTED, congestionControl: 'bbr' },
    isLossy: true,
  },
];

/** Names of the scenarios that a kernel without netkit cannot do. */
export const NETKIT_SCENARIOS: ReadonlySet<string> = new Set([
  ...SAMENODE_SCENARIOS.filter(({ wiring }) => wiring === 'netkit').map(({ name }) => name),
  ...[...WIRING_SCENARIOS, ...WIRED_CAP_SCENARIOS].flatMap(({ name, keys }) =>
    keys?.device === 'netkit' ? [name] : [],
  ),
]);

/** What a pod sends to the node itself: 10M-tcp-v4-direct and so on. */
export interface NodeScenario extends NodeTrafficRow {
  readonly name: string;
  readonly capMbit: number;
}

export const NODE_SCENARIOS: readonly NodeScenario[] = NODE_TRAFFIC_ROWS.map((row) => {
  const { protocol, family, way } = row;
  return { ...row, capMbit: 10, name: `10M-${protocol}-v${family}-${way}`.toLowerCase() };
});

/** Senders at once on one aggregate. */
export const EXACT_SCENARIOS = [
  { name: '1-thread', senders: 1 },
  { name: '2-threads', senders: 2 },
  { name: '4-threads', senders: 4 },
] as const;

export const COST_SCENARIOS = ['unclassified', 'sparse', 'bulk'] as const;
export type CostScenario = (typeof COST_SCENARIOS)[number];

/** Attachments with a cap in each direction. */
export const MEMORY_SCENARIOS = [{ name: '1000', attachments: 1000 }] as const;

/** Who adds pods in the bench of CNI calls, and what any Node executable takes. */
export type ControlSystem = 'podpace' | 'go-chain' | 'empty-executable' | 'baseline';

/**
 * Calls of CNI plugins. `add`, `del`: of the node's only pod; `tenth`: of one beside nine others.
 * `del-again`: of a pod that is gone, as the first plugin of its list.
 */
export const CONTROL_SCENARIOS = [
  'add',
  'del',
  'del-again',
  'del-again-chained',
  'add-del',
  'add-10-at-once',
  'add-tenth',
  'del-tenth',
  'version',
  'check',
  'status',
] as const;
export type ControlScenario = (typeof CONTROL_SCENARIOS)[number];

/** Attachments with a cap in each direction, on a node whose helper is asked. */
export const SCALE_SCENARIOS = [
  { name: '1000', attachments: 1000 },
  { name: '4000', attachments: 4000 },
] as const;
export type ScaleScenario = (typeof SCALE_SCENARIOS)[number];

const SCENARIOS: Readonly<Record<Bench, readonly { readonly name: string }[]>> = {
  latency: LATENCY_SCENARIOS,
  accuracy: ACCURACY_SCENARIOS,
  udp: UDP_SCENARIOS,
  exact: EXACT_SCENARIOS,
  cost: COST_SCENARIOS.map((name) => ({ name })),
  live: LIVE_SCENARIOS,
  memory: MEMORY_SCENARIOS,
  ingress: INGRESS_SCENARIOS,
  samenode: SAMENODE_SCENARIOS,
  node: NODE_SCENARIOS,
  bystanders: BYSTANDER_SCENARIOS,
  wiring: [...WIRING_SCENARIOS, ...WIRED_CAP_SCENARIOS],
  control: CONTROL_SCENARIOS.map((name) => ({ name })),
  scale: SCALE_SCENARIOS,
};

/** Names of a bench's scenarios, in their order. */
export const scenariosOf = (bench: Bench): readonly string[] =>
  SCENARIOS[bench].map(({ name }) => name);
