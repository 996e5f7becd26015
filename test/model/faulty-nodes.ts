// Nodes with known faults, and whom each fault concerns: rules written down from what the parts of
// the datapath do, not from the code that judges them.

import fc from 'fast-check';
import type { Direction } from '../../helper/protocol/messages.ts';
import {
  LEAF_FQ_OPTIONS,
  type ObservedExit,
  type ObservedQdisc,
} from '../../helper/shaping/holder-qdiscs.ts';
import type { Exit } from '../../helper/shaping/exits.ts';
import { plan, type Desired, type Observed } from '../../helper/shaping/plan.ts';
import type { AttachmentRecord } from '../../helper/shaping/records.ts';
import type { View } from '../../helper/control/view.ts';
import { TC_H_ROOT } from '../../helper/wire/tc-message.ts';
import { desiredOf } from './desired.ts';
import { applyToModel } from './node.ts';

interface PodSpec {
  readonly egress: boolean;
  readonly ingress: boolean;
  readonly routed: boolean;
  readonly netkit: boolean;
  readonly exempt: boolean;
  /** Whether it is a port of the bridge, where there is one. */
  readonly isPort: boolean;
}

const UPLINK_KINDS = ['single', 'multi', 'vlan', 'vxlan', 'wireguard', 'bond'] as const;

interface NodeSpec {
  readonly uplinks: readonly (typeof UPLINK_KINDS)[number][];
  readonly pods: readonly PodSpec[];
  /** Pods without a cap, which podpace knows by nothing but the way into them. */
  readonly neighbours: number;
  readonly hasBridge: boolean;
  readonly isNodeExempt: boolean;
  /**
   * Distance of the ids of two aggregates: with 33 they are in pages of their own, or two in one.
   */
  readonly spacing: number;
  /** Which faults of those that are possible. */
  readonly picks: readonly number[];
}

export const nodeSpecs: fc.Arbitrary<NodeSpec> = fc.record({
  uplinks: fc.array(fc.constantFrom(...UPLINK_KINDS), { minLength: 1, maxLength: 3 }),
  pods: fc.array(
    fc
      .record({
        ...{ egress: fc.boolean(), ingress: fc.boolean(), routed: fc.boolean() },
        ...{ netkit: fc.boolean(), exempt: fc.boolean(), isPort: fc.boolean() },
      })
      .filter(({ egress, ingress, routed }) => egress || ingress || routed),
    { maxLength: 5 },
  ),
  neighbours: fc.nat(2),
  hasBridge: fc.boolean(),
  isNodeExempt: fc.boolean(),
  spacing: fc.constantFrom(1, 33),
  picks: fc.array(fc.nat(10_000), { maxLength: 4 }),
});

/**
 * Directions of attachments, as `c10 egress`, and whether the node is concerned whatever is on it.
 */
interface Concerned {
  readonly directions: ReadonlySet<string>;
  readonly node: boolean;
}

interface State {
  readonly observed: Observed;
  /** Exits that are there still. */
  readonly exits: readonly Exit[];
}

interface Fault {
  readonly name: string;
  /** Of two faults of one place only one is made. */
  readonly place: string;
  /** The device that it is seen at, if it is. */
  readonly device?: number;
  readonly concerns: Concerned;
  readonly make: (state: State) => State;
  /** Devices that are gone with it: nothing else is seen there. */
  readonly takes?: readonly number[];
}

export interface FaultyNode {
  readonly view: View;
  readonly faults: readonly string[];
  readonly concerned: Concerned;
}

const BRIDGE = 60;

function uplinkOf(kind: NodeSpec['uplinks'][number], index: number): Exit {
  const ifindex = 2 + index;
  const hasFrames = kind !== 'wireguard';
  const base = { ifindex, name: `up${index}`, role: 'uplink', hasFrames } as const;
  switch (kind) {
    case 'single':
    case 'multi':
      return { ...base, kind: 'device', holders: [ifindex] };
    case 'bond':
      return { ...base, kind, holders: [ifindex + 80, ifindex + 90] };
    case 'vlan':
      return { ...base, kind, holders: [ifindex], overhead: { frameBytes: 4, align: 0, mtu: 0 } };
    case 'vxlan':
      return { ...base, kind, holders: [ifindex], overhead: { frameBytes: 50, align: 0, mtu: 0 } };
    case 'wireguard':
      return {
        ...{ ...base, kind, holders: [ifindex] },
        overhead: { frameBytes: 74, align: 16, mtu: 1420 },
      };
  }
}

function recordOf(spec: PodSpec, index: number, spacing: number): AttachmentRecord {
  const ifindex = 10 + index;
  const id = 4096 + spacing * 2 * index;
  const macs = spec.netkit ? {} : { mac: '02:00:00:00:00:01', hostMac: '02:00:00:00:00:02' };
  return {
    ...{ containerId: `c${ifindex}`, ifname: 'eth0', network: 'pods', sandbox: '/run/netns/x' },
    ...{ hostInterface: `dev${ifindex}`, hostInterfaceIndex: ifindex },
    kind: spec.netkit ? 'netkit' : 'veth',
    caps: {
      ...(spec.egress && { egress: { rateBitsPerSec: 1_000_000 * ifindex } }),
      ...(spec.ingress && { ingress: { rateBitsPerSec: 2_000_000 * ifindex } }),
    },
    ...(spec.exempt && { exempt: ['192.0.2.0/24'] }),
    ...(spec.routed && { hostRouting: { addresses: [`10.0.0.${ifindex}`], ...macs } }),
    ...(spec.egress && { egressAggregateId: id }),
    ...(spec.ingress && { ingressAggregateId: id + spacing }),
  };
}

interface Node {
  readonly spec: NodeSpec;
  readonly records: readonly AttachmentRecord[];
  /** All that there are. */
  readonly exits: readonly Exit[];
  readonly healthy: Observed;
}

function hasEgress(record: AttachmentRecord): boolean {
  return record.caps.egress !== undefined;
}

function hasIngress(record: AttachmentRecord): boolean {
  return record.caps.ingress !== undefined;
}

function wantedOf(
  { spec, records }: Pick<Node, 'spec' | 'records'>,
  exits: readonly Exit[],
): Desired {
  const isRouted = records.some(({ hostRouting }) => hostRouting !== undefined);
  const arrivals = exits.filter(({ role, hasFrames }) => role === 'uplink' && hasFrames);
  return desiredOf({
    ...{ attachments: records, exits: records.some(hasEgress) ? exits : [] },
    exempt: spec.isNodeExempt ? ['203.0.113.0/24'] : [],
    arrivals: isRouted ? arrivals.map(({ ifindex }) => ifindex) : [],
  });
}

const noqueue: ObservedQdisc = { kind: 'noqueue', handle: 0, parent: TC_H_ROOT, options: '' };

function emptyNode(indexes: readonly number[], isMulti: (ifindex: number) => boolean): Observed {
  const devices = indexes.map((ifindex): [number, ObservedExit] => [
    ifindex,
    { ifindex, name: `dev${ifindex}`, numTxQueues: isMulti(ifindex) ? 3 : 1, qdiscs: [noqueue] },
  ]);
  return {
    ...{ devices: new Map(devices), programs: new Map(), inFront: new Map() },
    ...{ pages: new Set(), configs: new Map() },
    ...{ hostInterfaces: new Map(), overheads: new Map(), routing: [], exitRecords: [] },
    ...{ goesOnInReceive: false, exemptions: new Map() },
  };
}

/** A node on which everything is as it has to be. */
function healthyNode(spec: NodeSpec): Node {
  const records = spec.pods.map((pod, index) => recordOf(pod, index, spec.spacing));
  const uplinks = spec.uplinks.map(uplinkOf);
  const wayInto = (ifindex: number): Exit => ({
    ...{ ifindex, name: `dev${ifindex}`, kind: 'veth', role: 'pod' },
    ...{ holders: [ifindex], hasFrames: true },
  });
  const pods = [
    ...records.map(({ hostInterfaceIndex }) => hostInterfaceIndex),
    ...Array.from({ length: spec.neighbours }, (_, index) => 40 + index),
  ];
  const ports = records.filter((_, index) => spec.pods[index]?.isPort === true);
  const bridge: Exit = {
    ...{ ifindex: BRIDGE, name: 'bridge', kind: 'bridge', role: 'bridge', hasFrames: true },
    holders: ports.map(({ hostInterfaceIndex }) => hostInterfaceIndex),
  };
  const exits = [...uplinks, ...(spec.hasBridge ? [bridge] : []), ...pods.map(wayInto)];
  const indexes = new Set(exits.flatMap(({ ifindex, holders }) => [ifindex, ...holders]));
  const multi = new Set(
    spec.uplinks.flatMap((kind, index) => (kind === 'multi' ? [2 + index] : [])),
  );
  const empty = emptyNode([...indexes], (ifindex) => multi.has(ifindex) || ifindex > 80);
  const healthy = plan(wantedOf({ spec, records }, exits), empty).steps.reduce(applyToModel, empty);
  return { spec, records, exits, healthy };
}

// Whom what concerns.

function named(records: readonly AttachmentRecord[], direction: Direction): string[] {
  const hasCap = direction === 'egress' ? hasEgress : hasIngress;
  return records.filter(hasCap).map(({ containerId }) => `${containerId} ${direction}`);
}

function concerning(...directions: readonly (readonly string[])[]): Concerned {
  return { directions: new Set(directions.flat()), node: false };
}

function changed(change: (observed: Observed) => Partial<Observed>): Fault['make'] {
  return ({ observed, exits }) => ({ exits, observed: { ...observed, ...change(observed) } });
}

function withoutKey<K, V>(map: ReadonlyMap<K, V>, key: K): Map<K, V> {
  return new Map([...map].filter(([other]) => other !== key));
}

/** What is observed by a key: the devices, the programs and so on. */
type MapName = 'devices' | 'programs' | 'inFront' | 'configs' | 'overheads' | 'exemptions';
type KeyOf<Name extends MapName> = Parameters<Observed[Name]['get']>[0];
type ValueOf<Name extends MapName> = NonNullable<ReturnType<Observed[Name]['get']>>;

function lacking<Name extends MapName | 'hostInterfaces'>(
  name: Name,
  key: Parameters<Observed[Name]['get']>[0],
): Fault['make'] {
  return changed((observed) => ({
    [name]: withoutKey<unknown, unknown>(observed[name], key),
  }));
}

function having<Name extends MapName>(
  name: Name,
  key: KeyOf<Name>,
  value: ValueOf<Name>,
): Fault['make'] {
  return changed((observed) => ({
    [name]: new Map<unknown, unknown>([...observed[name], [key, value]]),
  }));
}

/** Something that is there is changed. */
function altered<Name extends 'devices' | 'configs'>(
  name: Name,
  key: number,
  change: (value: ValueOf<Name>) => ValueOf<Name>,
): Fault['make'] {
  return (state) => {
    const value = state.observed[name].get(key);
    if (value === undefined) throw new Error(`nothing in ${name} at ${key}`);
    return having(name, key, change(value as ValueOf<Name>))(state);
  };
}

/** Every way in which the qdiscs of a device can be wrong. */
function qdiscFaults(
  device: number,
  { healthy }: Node,
  concerns: Concerned,
  whenForeign: Concerned,
): Fault[] {
  const put = (
    change: (qdiscs: readonly ObservedQdisc[]) => readonly ObservedQdisc[],
  ): Fault['make'] =>
    altered('devices', device, (found) => ({ ...found, qdiscs: change(found.qdiscs) }));
  const root = (kind: string): ObservedQdisc => ({ ...noqueue, kind, handle: 0x1_0000 });
  const base = { place: `${device}/qdisc`, device, concerns };
  const isFq = healthy.devices.get(device)?.qdiscs.every(({ kind }) => kind === 'fq') ?? false;
  const paced = { ...LEAF_FQ_OPTIONS, pacing: true };
  return [
    { ...base, name: `${device}: the kernel's default qdisc`, make: put(() => [noqueue]) },
    { ...base, name: `${device}: another qdisc`, make: put(() => [root('pfifo')]) },
    { ...base, name: `${device}: a shaper`, make: put(() => [root('htb')]), concerns: whenForeign },
    {
      ...{ ...base, name: `${device}: a tuned fq`, concerns: whenForeign },
      make: put(() => [{ ...root('fq'), isTuned: true }]),
    },
    isFq
      ? {
          ...{ ...base, name: `${device}: fq with other options` },
          make: put((qdiscs) => qdiscs.map((qdisc) => ({ ...qdisc, fq: paced }))),
        }
      : { ...base, name: `${device}: no second leaf`, make: put((qdiscs) => qdiscs.slice(0, -1)) },
  ];
}

/** Ways in which a program can be wrong at its place. */
function programFaults(device: number, hook: string, concerns: Concerned): Fault[] {
  const place = `${device}-${hook}`;
  const base = { place, device, concerns };
  const occupants = [{ kind: 'program', id: 77, name: 'other' }] as const;
  const inFrontOf = (canPass: boolean): Fault => ({
    ...base,
    name: `${place}: another program in front, ${canPass ? '' : 'not '}to be passed`,
    make: having('inFront', place, { occupants, canPass }),
  });
  const redirectFrom = (from: 'ingress' | 'egress'): Fault => ({
    ...{ ...base, name: `${place}: a filter redirects`, place: `${place}/filter` },
    make: altered('devices', device, (found) => {
      const target = { ifindex: 99, name: 'other', comesBack: false };
      const redirect = { hook: from, type: 'u32', priority: 1, ...target };
      return { ...found, redirects: [...(found.redirects ?? []), redirect] };
    }),
  });
  return [
    { ...base, name: `${place}: no program`, make: lacking('programs', place) },
    {
      ...{ ...base, name: `${place}: a program of another podpaced` },
      make: having('programs', place, 'stale'),
    },
    ...(hook.endsWith('Last') ? [] : [true, false].map(inFrontOf)),
    ...(hook === 'ingress' || hook === 'egress' ? [redirectFrom(hook)] : []),
  ];
}

/** Off the node every pod may send by every way. */
function uplinkFaults(node: Node): Fault[] {
  const { records, exits, healthy } = node;
  const senders = concerning(named(records, 'egress'));
  const refused = { ...senders, node: true };
  const receivers = concerning(
    records.flatMap(({ hostRouting, containerId }) =>
      hostRouting === undefined ? [] : [`${containerId} ingress`],
    ),
  );
  const uplinks = exits.filter(({ role }) => role === 'uplink');
  const hasSenders = records.some(hasEgress);
  return [
    ...uplinks.flatMap(({ ifindex, holders, overhead }) => [
      ...holders
        .flatMap((holder) => qdiscFaults(holder, node, senders, refused))
        // Without a cap it only matters what would have one refused.
        .filter(({ concerns }) => hasSenders || concerns.node),
      ...(hasSenders ? programFaults(ifindex, 'egress', senders) : []),
      ...(healthy.programs.has(`${ifindex}-ingressLast`)
        ? programFaults(ifindex, 'ingressLast', receivers)
        : []),
      ...(overhead === undefined || !hasSenders ? [] : overheadFaults(ifindex, senders)),
    ]),
    {
      ...{ name: 'no uplink', place: 'uplinks', concerns: refused },
      takes: uplinks.flatMap(({ ifindex, holders }) => [ifindex, ...holders]),
      make: (state) => ({ ...state, exits: state.exits.filter(({ role }) => role !== 'uplink') }),
    },
  ];
}

function overheadFaults(device: number, concerns: Concerned): Fault[] {
  const base = { place: `${device}/overhead`, device, concerns };
  const wrong = { frameBytes: 1, align: 0, mtu: 0 };
  return [
    { ...base, name: `${device}: no overhead`, make: lacking('overheads', device) },
    { ...base, name: `${device}: another overhead`, make: having('overheads', device, wrong) },
  ];
}

/** Into pods of others and to the ports of a bridge every pod may send. */
function otherWays(node: Node): Fault[] {
  const { records, exits } = node;
  if (!records.some(hasEgress)) return [];
  const senders = concerning(named(records, 'egress'));
  const own = new Set(records.map(({ hostInterfaceIndex }) => hostInterfaceIndex));
  return exits
    .filter(({ role, ifindex }) => role !== 'uplink' && !own.has(ifindex))
    .flatMap(({ ifindex, role }) => [
      ...programFaults(ifindex, 'egress', senders),
      ...(role === 'bridge' ? [] : qdiscFaults(ifindex, node, senders, senders)),
    ]);
}

/** Where packets come to a pod's host interface, and where they leave by it into the pod. */
function podFaults(node: Node, record: AttachmentRecord): Fault[] {
  const { records, exits, healthy } = node;
  const { hostInterfaceIndex: device, containerId, kind, hostRouting } = record;
  const bridge = exits.find(({ role }) => role === 'bridge');
  const others = records.filter((other) => other !== record);
  const intoPod = concerning(named([record], 'ingress'), named(others, 'egress'));
  // A bridge one of whose ports holds nothing lets everything through, also what this pod sends.
  const whenForeign =
    bridge?.holders.includes(device) === true
      ? concerning(named([record], 'ingress'), named(records, 'egress'))
      : intoPod;
  const isShaped = hasIngress(record) || records.some(hasEgress);
  const [first, last] =
    kind === 'netkit' ? (['peer', 'peerLast'] as const) : (['ingress', 'ingressLast'] as const);
  const gone: Fault = {
    ...{
      name: `${device}: gone`,
      place: `${device}`,
      concerns: concerning(named([record], 'egress'), named([record], 'ingress')),
    },
    takes: [device],
    make: ({ observed, exits: left }) => ({
      observed: { ...observed, devices: withoutKey(observed.devices, device) },
      exits: left
        .filter(({ ifindex }) => ifindex !== device)
        .map((exit) => ({ ...exit, holders: exit.holders.filter((holder) => holder !== device) })),
    }),
  };
  return [
    gone,
    ...(isShaped ? qdiscFaults(device, node, intoPod, whenForeign) : []),
    ...(healthy.programs.has(`${device}-egress`) ? programFaults(device, 'egress', intoPod) : []),
    ...(hasEgress(record)
      ? programFaults(device, first, concerning(named([record], 'egress')))
      : []),
    ...(hostRouting === undefined
      ? []
      : programFaults(device, last, concerning([`${containerId} egress`]))),
    ...entryFaults(record),
  ];
}

/** What the maps hold of a pod. */
function entryFaults(record: AttachmentRecord): Fault[] {
  const { hostInterfaceIndex: ifindex, containerId, hostRouting, exempt } = record;
  const ids = { egress: record.egressAggregateId, ingress: record.ingressAggregateId };
  const [out, into] = [named([record], 'egress'), named([record], 'ingress')];
  const [sends, receives, both] = [concerning(out), concerning(into), concerning(out, into)];
  const entry = (change: object): Fault['make'] =>
    changed(({ hostInterfaces }) => {
      const found = hostInterfaces.get(ifindex) ?? { egressId: 0, ingressId: 0 };
      return { hostInterfaces: new Map([...hostInterfaces, [ifindex, { ...found, ...change }]]) };
    });
  const place = `${ifindex}/entry`;
  const host: Fault[] = [
    { name: `${place}: none`, place, concerns: both, make: lacking('hostInterfaces', ifindex) },
    { name: `${place}: another sender`, place, concerns: sends, make: entry({ egressId: 5999 }) },
    {
      ...{ name: `${place}: another receiver`, place, concerns: receives },
      make: entry({ ingressId: 5999 }),
    },
  ];
  const aggregates = (['egress', 'ingress'] as const).flatMap((direction): Fault[] => {
    const id = ids[direction];
    if (id === undefined) return [];
    const base = { place: `${id}/config`, concerns: direction === 'egress' ? sends : receives };
    const own: Fault = {
      ...{ ...base, name: `${id}: no list of exempt addresses`, place: `${id}/exempt` },
      make: lacking('exemptions', id),
    };
    return [
      { ...base, name: `${id}: no configuration`, make: lacking('configs', id) },
      {
        ...{ ...base, name: `${id}: another rate` },
        make: altered('configs', id, (config) => ({ ...config, rateBytesPerSec: 1 })),
      },
      ...(exempt === undefined ? [] : [own]),
    ];
  });
  const routing = hostRouting === undefined ? [] : (['routedPods', 'podAddresses'] as const);
  const routes = routing.map((map): Fault => {
    const direction = map === 'routedPods' ? 'egress' : 'ingress';
    const isOwn = (key: Buffer, value: Buffer): boolean =>
      (map === 'routedPods' ? key : value)[0] === ifindex;
    return {
      ...{ name: `${ifindex}: nothing in ${map}`, place: `${ifindex}/${map}` },
      concerns: concerning([`${containerId} ${direction}`]),
      make: changed((observed) => ({
        routing: observed.routing.filter(
          (each) => each.map !== map || !isOwn(each.key, each.value),
        ),
      })),
    };
  });
  return [...host, ...aggregates, ...routes];
}

/** What all pods share. */
function sharedFaults({ records, spec, healthy }: Node): Fault[] {
  const [senders, receivers] = [named(records, 'egress'), named(records, 'ingress')];
  const inPage = (page: number): string[] =>
    records.flatMap(({ containerId, egressAggregateId, ingressAggregateId }) =>
      Object.entries({ egress: egressAggregateId, ingress: ingressAggregateId })
        .filter(([, id]) => id !== undefined && Math.floor((id - 4096) / 64) === page)
        .map(([direction]) => `${containerId} ${direction}`),
    );
  const nodeList: Fault = {
    ...{ name: 'another node list', place: 'node/exempt' },
    concerns: concerning(senders, receivers),
    make: having('exemptions', 0, 'other'),
  };
  return [
    ...[...healthy.pages].map((page): Fault => ({
      ...{ name: `no page ${page}`, place: `page ${page}`, concerns: concerning(inPage(page)) },
      make: changed(({ pages }) => ({
        pages: new Set([...pages].filter((other) => other !== page)),
      })),
    })),
    {
      ...{ name: 'nothing behind deliver', place: 'continuations' },
      concerns: concerning(receivers),
      make: changed(() => ({ goesOnInReceive: false })),
    },
    ...(spec.isNodeExempt ? [nodeList] : []),
  ];
}

function pick(faults: readonly Fault[], picks: readonly number[]): Fault[] {
  const chosen = new Map<string, Fault>();
  for (const index of picks) {
    const fault = faults[index % faults.length];
    if (fault !== undefined && !chosen.has(fault.place)) chosen.set(fault.place, fault);
  }
  const taken = new Set([...chosen.values()].flatMap(({ takes = [] }) => takes));
  return [...chosen.values()].filter(({ device }) => device === undefined || !taken.has(device));
}

/** Of a node whose uplinks are found by their routes. */
const NO_NAMES = { unusable: [], unnamed: [], unrouted: [] };

/** The node that a specification means, with its faults, and whom they concern. */
export function faultyNode(spec: NodeSpec): FaultyNode {
  const node = healthyNode(spec);
  const possible = [
    ...uplinkFaults(node),
    ...otherWays(node),
    ...node.records.flatMap((record) => podFaults(node, record)),
    ...sharedFaults(node),
  ];
  const faults = pick(possible, spec.picks);
  const state = faults.reduce<State>((before, { make }) => make(before), {
    observed: node.healthy,
    exits: node.exits,
  });
  const desired = wantedOf(node, state.exits);
  return {
    view: {
      ...{ desired, observed: state.observed, plan: plan(desired, state.observed) },
      ...{ exits: desired.exits, nodeExits: state.exits, strictUplinks: [], uplinkNames: NO_NAMES },
      hasHostRouting: node.records.some(({ hostRouting }) => hostRouting !== undefined),
    },
    faults: faults.map(({ name }) => name),
    concerned: {
      directions: new Set(faults.flatMap(({ concerns }) => [...concerns.directions])),
      node: faults.some(({ concerns }) => concerns.node),
    },
  };
}
