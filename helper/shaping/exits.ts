// On which devices a pod's packets can leave, and which devices hold them there until their
// departure. Pure.
//
// A packet is forwarded to a device by a route, or by a bridge to one of its ports: every such
// device is an exit, and gets a departure program, because the aggregate id does not get any
// further: the kernel clears it when it chooses a device's transmit queue. What holds the packets
// is fq: on the exit itself, or on the devices below it where those do the queueing. The stamp goes
// that far.

import type { Link } from '../wire/link-message.ts';
import type { FrameOverhead } from '../wire/aggregate.ts';
import {
  hasFrames,
  NO_OUTER_WAYS,
  type Certainty,
  type OuterWays,
  type Surroundings,
} from './layers.ts';
import { isTunnel, overheadOf } from './overheads.ts';
import { OPEN_VSWITCH } from './tunnel-layers.ts';
import type { ReachByDevice } from './reaches.ts';

/**
 * `uplink` leads off the node, `pod` into another network namespace of it, `bridge` to its ports.
 */
export type ExitRole = 'uplink' | 'pod' | 'bridge';

export interface Exit {
  readonly ifindex: number;
  readonly name: string;
  /** Driver family; `device` for hardware. */
  readonly kind: string;
  readonly role: ExitRole;
  /**
   * Devices that hold what is stamped here: the exit itself, or those below a bond, team or bridge.
   */
  readonly holders: readonly number[];
  /** Whether it carries Ethernet frames, not bare packets. */
  readonly hasFrames: boolean;
  /** What is added below it to each packet; absent when nothing. */
  readonly overhead?: FrameOverhead;
  /** How good that figure is; absent when it is known. */
  readonly certainty?: Certainty;
}

/** What the exits of a node follow from. */
export interface NodeDevices {
  readonly links: readonly Link[];
  /** How far routes of all tables and families lead over them. */
  readonly reaches: ReachByDevice;
  /** Host interfaces of attachments. */
  readonly hostInterfaces: ReadonlySet<number>;
  /** Names of uplinks; `auto` stands for every device that a route or a bridge leads to. */
  readonly uplinks: readonly string[];
  /**
   * Devices that hold packets already. With `auto` they stay exits while their routes come and go.
   */
  readonly equipped: ReadonlySet<number>;
  /** What is known of the outer packets of tunnels; nothing when absent. */
  readonly outerWays?: OuterWays;
  /** Charged for each packet that a process reads from a tun or tap. */
  readonly tunOverheadBytes?: number;
}

const AUTO = 'auto';

/** Where nothing leaves the node or what leaves meets another exit. */
const NO_EXITS: ReadonlySet<string> = new Set(['dummy', 'ifb', 'nlmon', 'vrf', 'netdevsim']);

/** Masters that transmit through their slaves, each of which has queues of its own. */
const BONDS: ReadonlySet<string> = new Set(['bond', 'team']);
/**
 * Masters that forward between their ports. Open vSwitch has one datapath, whose device is the
 * master of all ports.
 */
const BRIDGES: ReadonlySet<string> = new Set(['bridge', OPEN_VSWITCH]);

/** The node's devices, indexed for the questions below. */
class Topology {
  readonly byIndex: ReadonlyMap<number, Link>;
  readonly #ports = new Map<number, Link[]>();
  /** Ports of Open vSwitch, of all its bridges. */
  readonly #switched: readonly Link[];
  readonly #reaches: ReachByDevice;
  readonly #hostInterfaces: ReadonlySet<number>;
  readonly #equipped: ReadonlySet<number>;

  constructor({ links, reaches, hostInterfaces, equipped }: NodeDevices) {
    this.byIndex = new Map(links.map((link) => [link.index, link]));
    this.#reaches = reaches;
    this.#hostInterfaces = hostInterfaces;
    this.#equipped = equipped;
    for (const link of links) {
      if (link.masterIndex === undefined) continue;
      this.#ports.set(link.masterIndex, [...(this.#ports.get(link.masterIndex) ?? []), link]);
    }
    this.#switched = links
      .filter(({ kind }) => kind === OPEN_VSWITCH)
      .flatMap(({ index }) => this.#ports.get(index) ?? []);
  }

  /**
   * Slaves of a bond, ports of a bridge. The kernel does not tell which of Open vSwitch's ports a
   * bridge of its leads to, nor would it help: its flows lead from any bridge to any port.
   */
  portsOf(link: Link): readonly Link[] {
    return this.#ports.get(link.index) ?? (link.kind === OPEN_VSWITCH ? this.#switched : []);
  }

  isRouted({ index }: Link): boolean {
    return this.#reaches.has(index);
  }

  isDefault({ index }: Link): boolean {
    return this.#reaches.get(index) === 'default';
  }

  /**
   * A pod's end on this node: somebody said so, or its other end is elsewhere and what lies there
   * are single hosts.
   */
  isPod(link: Link): boolean {
    if (this.#hostInterfaces.has(link.index)) return true;
    if ((link.kind !== 'veth' && link.kind !== 'netkit') || link.linkNetnsId === undefined)
      return false;
    if (this.#isPortOf(link, BRIDGES)) return true;
    return this.#reaches.get(link.index) === 'host';
  }

  isSlave(link: Link): boolean {
    return this.#isPortOf(link, BONDS);
  }

  isHostInterface({ index }: Link): boolean {
    return this.#hostInterfaces.has(index);
  }

  /** Holds packets already, itself or by its slaves. */
  isEquipped(link: Link): boolean {
    if (!BONDS.has(link.kind ?? '')) return this.#equipped.has(link.index);
    return this.holdersOf(link).some((holder) => this.#equipped.has(holder));
  }

  #isPortOf({ masterIndex }: Link, kinds: ReadonlySet<string>): boolean {
    return kinds.has(this.byIndex.get(masterIndex ?? 0)?.kind ?? '');
  }

  /**
   * Devices that queue what is sent on this one. The depth is bounded: bonds and bridges may not be
   * stacked in circles.
   */
  holdersOf(link: Link, depth = 0): number[] {
    const isMaster = BONDS.has(link.kind ?? '') || BRIDGES.has(link.kind ?? '');
    if (!isMaster || depth > 8) return [link.index];
    return [...new Set(this.portsOf(link).flatMap((port) => this.holdersOf(port, depth + 1)))];
  }
}

/** Why a device can be no exit, however it is configured; undefined when it can. */
function unfitness(link: Link, topology: Topology): string | undefined {
  if (link.loopback) return 'it is the loopback device';
  if (NO_EXITS.has(link.kind ?? ''))
    return `nothing leaves the node by a device of the kind ${link.kind}`;
  return topology.isSlave(link) ? 'it is a slave: name its bond or team' : undefined;
}

/** What overheads follow from. */
function surroundingsOf(
  { links, outerWays = NO_OUTER_WAYS, tunOverheadBytes = 0 }: NodeDevices,
  topology: Topology,
): Surroundings {
  const uplink = links.find((link) => topology.isDefault(link) && link.up && !isTunnel(link));
  return {
    ...{ ...outerWays, byIndex: topology.byIndex, portsOf: (link) => topology.portsOf(link) },
    ...{ tunOverheadBytes, ...(uplink !== undefined && { uplink }) },
  };
}

/**
 * A device that is down passes nothing; one that was up before will be again, and must not need to
 * be found then.
 */
function isCandidate(link: Link, topology: Topology): boolean {
  return unfitness(link, topology) === undefined && (link.up || topology.isEquipped(link));
}

function roleOf(link: Link, topology: Topology, isNamed: boolean): ExitRole {
  if (isNamed || topology.isDefault(link)) return 'uplink';
  if (BRIDGES.has(link.kind ?? '')) return 'bridge';
  return topology.isPod(link) || link.linkNetnsId !== undefined ? 'pod' : 'uplink';
}

/** Devices that a route leads to; with names, those and the ways to other pods of the node. */
function routedLinks(devices: NodeDevices, topology: Topology): Link[] {
  const isAuto = devices.uplinks.includes(AUTO);
  const named = new Set(devices.uplinks);
  return devices.links.filter((link) => {
    if (named.has(link.name) || topology.isHostInterface(link)) return true;
    if (isAuto) return topology.isRouted(link) || topology.isEquipped(link);
    const isPodBridge =
      BRIDGES.has(link.kind ?? '') && topology.portsOf(link).some((port) => topology.isPod(port));
    return topology.isPod(link) || (isPodBridge && topology.isRouted(link));
  });
}

/**
 * Ports that a bridge may forward a pod's frames to: of bridges that have a pod as a port, and of
 * those that are exits.
 */
function bridgedLinks(devices: NodeDevices, topology: Topology, routed: ReadonlySet<Link>): Link[] {
  return devices.links
    .filter(({ kind }) => BRIDGES.has(kind ?? ''))
    .filter(
      (bridge) =>
        routed.has(bridge) ||
        topology.portsOf(bridge).some((port) => topology.isHostInterface(port)),
    )
    .flatMap((bridge) => topology.portsOf(bridge));
}

/** Where caps matter most comes first: what cannot be done there is what one is told. */
const ROLE_ORDER: readonly ExitRole[] = ['uplink', 'bridge', 'pod'];

function inOrder(a: Exit, b: Exit): number {
  return ROLE_ORDER.indexOf(a.role) - ROLE_ORDER.indexOf(b.role) || a.ifindex - b.ifindex;
}

/** Why those devices that were named as uplinks are none, a sentence for each. */
function unusableUplinks(
  named: ReadonlySet<string>,
  links: readonly Link[],
  topology: Topology,
): string[] {
  const byName = new Map(links.map((link) => [link.name, link]));
  return [...named].flatMap((name) => {
    const link = byName.get(name);
    if (link === undefined) return [`The uplink "${name}" is not there`];
    const reason = unfitness(link, topology);
    return reason === undefined ? [] : [`"${name}" can be no uplink: ${reason}`];
  });
}

/**
 * Devices that routes lead off the node by and that were not named; a bridge or bond without ports
 * leads nowhere.
 */
function unnamedLinks(
  { links }: NodeDevices,
  topology: Topology,
  found: ReadonlySet<Link>,
): Link[] {
  return links.filter(
    (link) =>
      topology.isRouted(link) &&
      !found.has(link) &&
      isCandidate(link, topology) &&
      topology.holdersOf(link).length > 0,
  );
}

/** How the uplinks that were named compare with where packets can go. */
export interface UplinkNames {
  /** What is wrong with them, a sentence for each. */
  readonly unusable: readonly string[];
  /** Devices that routes lead to besides: what leaves by them is not held. */
  readonly unnamed: readonly string[];
  /** Uplinks that no route leads to. */
  readonly unrouted: readonly string[];
}

/** All exits of a node, uplinks first, and what there is to say of the names among `uplinks`. */
export function findExits(devices: NodeDevices): UplinkNames & { readonly exits: Exit[] } {
  const topology = new Topology(devices);
  const named = new Set(devices.uplinks.filter((name) => name !== AUTO));
  const routed = new Set(routedLinks(devices, topology));
  const found = new Set([...routed, ...bridgedLinks(devices, topology, routed)]);
  const around = surroundingsOf(devices, topology);
  const exits = devices.links
    .filter((link) => found.has(link) && isCandidate(link, topology))
    .map((link): Exit => {
      return {
        ifindex: link.index,
        name: link.name,
        kind: link.kind ?? 'device',
        role: roleOf(link, topology, named.has(link.name)),
        holders: topology.holdersOf(link),
        hasFrames: hasFrames(link),
        ...overheadOf(link, around),
      };
    });
  // What is a port of something is reached by that.
  const unrouted = devices.links.filter(
    (link) => named.has(link.name) && link.masterIndex === undefined && !topology.isRouted(link),
  );
  return {
    exits: exits.toSorted(inOrder),
    unusable: unusableUplinks(named, devices.links, topology),
    unnamed: named.size === 0 ? [] : unnamedLinks(devices, topology, found).map(({ name }) => name),
    unrouted: unrouted
      .filter((link) => unfitness(link, topology) === undefined)
      .map(({ name }) => name),
  };
}

/**
 * Names of the devices by which something may leave without having met a program of podpace. What
 * leaves by a device below an exit (a slave, a port, the device of a VLAN) has met that of the
 * exit; nothing leaves by loopback and its like.
 */
export function devicesWithoutProgram(
  links: readonly Link[],
  exits: readonly Pick<Exit, 'ifindex' | 'holders'>[],
  hostInterfaces: ReadonlySet<number>,
): string[] {
  const byIndex = new Map(links.map((link) => [link.index, link]));
  const ports = Map.groupBy(links, ({ masterIndex }) => masterIndex);
  const known = new Set(hostInterfaces);
  const below = exits.flatMap(({ ifindex, holders }) => [ifindex, ...holders]);
  for (let index = below.pop(); index !== undefined; index = below.pop()) {
    if (known.has(index)) continue;
    known.add(index);
    below.push(...(ports.get(index) ?? []).map((port) => port.index));
    const link = byIndex.get(index);
    // The other end of a pair is not below it.
    const isPair = link?.kind === 'veth' || link?.kind === 'netkit';
    if (link?.linkIndex !== undefined && link.linkNetnsId === undefined && !isPair)
      below.push(link.linkIndex);
  }
  return links
    .filter(
      ({ index, loopback, kind }) => !known.has(index) && !loopback && !NO_EXITS.has(kind ?? ''),
    )
    .map(({ name }) => name);
}

/** Whether an exit needs the program that stamps for devices below it. */
export function isUpper({ ifindex, holders, overhead }: Exit): boolean {
  return overhead !== undefined || holders.length !== 1 || holders[0] !== ifindex;
}
