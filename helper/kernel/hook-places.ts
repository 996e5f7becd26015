// Where programs stand, and what an implementation of hooks promises: shared by both of them.

import fs from 'node:fs';
import type { FilterLists } from './filters.ts';
import type { HookName } from './tcx.ts';

export type { HookName } from './tcx.ts';

/** A place for a program. */
export interface Place {
  readonly ifindex: number;
  readonly hook: HookName;
}

/** A program as far as attaching needs it. */
export interface AttachableProgram {
  readonly fd: number;
  readonly name: string;
}

/** Whoever else stands at a hook: a program, or a filter of another kind than a program. */
export type Occupant =
  | { readonly kind: 'program'; readonly id: number; readonly name: string }
  | { readonly kind: 'filter'; readonly type: string; readonly priority: number };

/** How podpace's program stands at a place. */
export interface Standing {
  readonly programId: number;
  /** What runs before it, in that order. Always empty at the last hooks, where the others are to come first. */
  readonly inFront: readonly Occupant[];
  /** Whether there is a place in front of these. */
  readonly canPass: boolean;
}

/** The programs that podpace has at device hooks. */
export interface Hooks {
  /** How programs are attached on this kernel. */
  readonly kind: 'tcx' | 'clsact';
  /** Id of podpace's program at a place; undefined when there is none. */
  attachedProgramId(place: Place): Promise<number | undefined>;
  /**
   * How podpace's programs stand at many places, in their order; undefined where there is none. `known`: filters that have just
   * been listed, which need not be asked for again.
   */
  standings(places: readonly Place[], known?: FilterLists): Promise<(Standing | undefined)[]>;
  /** Puts a program at a place, replacing podpace's former one there without a gap; a new one comes first, or last. */
  attach(place: Place, program: AttachableProgram): Promise<void>;
  /**
   * The same in front of whoever is there. No packet meets podpace's program twice: one that comes in the gap, between two
   * system calls, or two parts of one, meets none.
   */
  comeFirst(place: Place, program: AttachableProgram): Promise<void>;
  /** Takes podpace's program away; does nothing when there is none. */
  detach(place: Place): Promise<void>;
  /** Lets go of what stood at a device that is gone. */
  forgetDevice(ifindex: number): void;
  /** Devices at whose hooks podpace has left something, living or not. */
  knownPlaces(): Place[];
}

export const HOOK_NAMES: readonly HookName[] = ['ingress', 'egress', 'ingressLast', 'peer', 'peerLast'];

/** Whether podpace's program comes after those of others there, and not before them. */
export function isLast(hook: HookName): boolean {
  return hook === 'ingressLast' || hook === 'peerLast';
}

/** The place that a mark is of; none of another name. */
export function placeFromName(name: string): Place[] {
  const match = /^(\d+)-(ingress|egress|ingressLast|peer|peerLast)$/.exec(name);
  return match === null ? [] : [{ ifindex: Number(match[1]), hook: match[2] as HookName }];
}

/** Whether a name is one that hooks give, to pinned links and to notes on filters. */
export function isHookMark(name: string): boolean {
  return placeFromName(name).length > 0 || /^\d+-clsact$/.test(name);
}

export function nameOfPlace({ ifindex, hook }: Place): string {
  return `${ifindex}-${hook}`;
}

export function placesIn(directory: string): Place[] {
  return fs.existsSync(directory) ? fs.readdirSync(directory).flatMap(placeFromName) : [];
}
