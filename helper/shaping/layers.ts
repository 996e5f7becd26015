// What one device does to a packet that is sent on it, and where the result goes: the parts that
// overheads are made of. Pure.

import type { Link } from '../wire/link-message.ts';
import type { L2tpSession, L2tpTunnel } from '../wire/l2tp-message.ts';
import type { XfrmState } from '../wire/xfrm-message.ts';

/**
 * How good the figure is; known when absent. Of `unknown` ones the kernel knows nothing: a process
 * makes the outer headers.
 */
export type Certainty = 'estimated' | 'unknown';

/** What has to be known of a node besides its devices. */
export interface OuterWays {
  /**
   * By the index of a tunnel: the device that packets to its far end are routed to, as the kernel
   * says.
   */
  readonly routed: ReadonlyMap<number, number>;
  readonly xfrmStates: readonly XfrmState[];
  readonly l2tpTunnels: readonly L2tpTunnel[];
  readonly l2tpSessions: readonly L2tpSession[];
  /** Names of the devices that sessions of PPPoE are on. */
  readonly pppoeDevices: readonly string[];
}

export const NO_OUTER_WAYS: OuterWays = {
  ...{ routed: new Map(), xfrmStates: [], l2tpTunnels: [], l2tpSessions: [], pppoeDevices: [] },
};

/** What an overhead follows from. */
export interface Surroundings extends OuterWays {
  readonly byIndex: ReadonlyMap<number, Link>;
  /** Slaves of a bond, ports of a bridge. */
  readonly portsOf: (link: Link) => readonly Link[];
  /**
   * Where outer packets go of which nothing else is known: a device with a default route that is no
   * tunnel.
   */
  readonly uplink?: Link;
  /** Charged for each packet that a process reads from a tun or tap. */
  readonly tunOverheadBytes: number;
}

/**
 * What is done to a packet: so many bytes are added, or it is filled up to a multiple, but not
 * beyond the MTU.
 */
export type Step = { readonly add: number } | { readonly padTo: number; readonly mtu: number };

/** What one device does. */
export interface Layer {
  readonly steps: readonly Step[];
  /**
   * What becomes of the result: it is a `packet` of IP that is sent on the device below with that
   * one's headers, a `frame` of the device below that has them, or as it is on the wire (`done`).
   */
  readonly goesOnAs: 'packet' | 'frame' | 'done';
  /** When it is not the usual one. */
  readonly below?: Link | undefined;
  readonly told?: number;
  readonly certainty?: Certainty | undefined;
}

export const ETHERNET = 14;
/** As text. Tunnels of layer 3 have none, or an IP address in its place. */
const ETHERNET_MAC_LENGTH = '00:00:00:00:00:00'.length;
export const IPV4 = 20;
export const IPV6 = 40;
export const UDP = 8;
export const USUAL_MTU = 1500;
export const NO_LIMIT = 0xffff_ffff;

/** Whether a device carries Ethernet frames, not bare packets. */
export function hasFrames({ mac, kind }: Link): boolean {
  return mac.length === ETHERNET_MAC_LENGTH && kind !== 'netkit';
}

export function packet(bytes: number, more: Partial<Layer> = {}): Layer {
  return { steps: [{ add: bytes }], goesOnAs: 'packet', ...more };
}

export function frame(bytes: number, more: Partial<Layer> = {}): Layer {
  return { steps: [{ add: bytes }], goesOnAs: 'frame', ...more };
}

/** The most that the steps add. */
export function lengthOf(steps: readonly Step[]): number {
  return steps.reduce((sum, step) => sum + ('add' in step ? step.add : step.padTo - 1), 0);
}

/** The device that the result of a layer is sent on, where that can be told. */
export function belowOf(link: Link, layer: Layer, around: Surroundings): Link | undefined {
  const { byIndex, routed, uplink } = around;
  if (layer.below !== undefined) return layer.below;
  // Of a device that was moved here the one below is elsewhere, and its index there may be
  // another's here.
  if (link.linkNetnsId !== undefined) return undefined;
  const tied = byIndex.get(link.tunnel?.linkIndex ?? link.linkIndex ?? 0);
  return tied ?? byIndex.get(routed.get(link.index) ?? 0) ?? (uplink === link ? undefined : uplink);
}
